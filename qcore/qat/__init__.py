"""Quantization-aware training (QAT): weights learn under fake quantization."""
