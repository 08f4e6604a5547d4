"""Single samples with what a network and its quantized self answer, as pages show them."""
