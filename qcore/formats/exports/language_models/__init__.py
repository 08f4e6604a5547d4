"""Exports for the tools that quantize language models: one module a tool. Torch-free."""
