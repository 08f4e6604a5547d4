"""The writers that need torch and the float model; nothing torch-free may import them."""
