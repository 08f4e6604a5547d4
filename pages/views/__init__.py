"""One script per page, run by app.py's navigation."""
