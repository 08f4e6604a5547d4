"""Who may come in, and what a browser is told about each answer: layers around the server."""
