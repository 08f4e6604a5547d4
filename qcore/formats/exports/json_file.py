"""The configuration itself: what `load_bits` reads back, quantizer state included."""

from qcore.formats.config import BitConfig, dump_bits
from qcore.formats.exports.base import Export


def render(config: BitConfig) -> bytes:
    """The JSON document as bytes."""
    return dump_bits(config).encode()


EXPORT = Export("json", "Configuration (JSON)", ".bits.json", "application/json", render)
