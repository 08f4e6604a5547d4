"""The network as a picture that every page may show: a shared part, not a page."""
