"""Figures from tables, one file a kind of picture; no data is fetched here and nothing is drawn."""
