"""What the settings page and `python -m store doctor` look at."""
