"""The Searches page: launch searches, follow them, look inside each."""
