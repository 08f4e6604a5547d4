"""Facts about a float network: its layers, its graph, and the rewriting that shows them all."""
