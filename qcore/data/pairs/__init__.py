"""Pairs of files as data: an image, and the map or picture that a network should give for it."""
