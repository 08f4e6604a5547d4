"""The arithmetic that searches share: exact fronts, exchanges, genes, draws. Torch-free."""
