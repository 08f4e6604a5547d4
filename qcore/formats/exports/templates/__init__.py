"""Scripts that are handed out as files; they need torch alone, and import nothing of bitdial."""
