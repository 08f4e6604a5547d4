"""Post-training quantization (PTQ): a trained network at given bits, without training."""
