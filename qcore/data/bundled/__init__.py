"""Data that come with networks of this program: made from a seed, or shipped."""
