"""The Configs page: what is kept, imports from other tools, verification."""
