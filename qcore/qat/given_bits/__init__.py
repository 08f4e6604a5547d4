"""Weights trained at given bits: quantization-aware training (QAT) as it is mostly done."""
