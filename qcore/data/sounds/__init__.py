"""Sounds as data: files in a folder, as samples or as the features that a network takes."""
