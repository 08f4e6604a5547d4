"""What GGUF calls tensors and types, and what the head of a GGUF file says. Torch-free."""
