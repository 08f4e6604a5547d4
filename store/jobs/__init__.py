"""Work that ends with a file or a verdict: add a network, export, verify."""
