"""Single samples with what a network and its quantized self answer to them, to be looked at."""
