"""What the formula of a decoder's memory counts."""

from benchmarks.networks import decoder_memory
from qcore.models.decoder import Decoder, DecoderSizes


def test_the_formula_counts_the_weights_that_a_decoder_has():
    sizes = DecoderSizes(60, 16, 32, 2, 4, 2, 24)
    weights = sum(p.numel() for p in Decoder(sizes).parameters() if p.dim() > 1)
    assert decoder_memory.parameters(sizes) == weights
    parts = decoder_memory.computed(sizes, 10)
    assert parts["network"] == 4 * weights
    assert parts["between_blocks"] == 10 * 128 * 16 * 4
    more = decoder_memory.computed(sizes, 20)
    assert decoder_memory.peak(more) - decoder_memory.peak(parts) == parts["between_blocks"]
