"""Sounds as data: WAV files in a folder, as samples or as the features that a network takes."""
