"""HAQ's strategy: a list of [weight bits, activation bits] in layer order.

Format of mit-han-lab/haq (Wang et al. 2019), lib/env/linear_quantize_env.py: -1 leaves a tensor
unquantized, as HAQ does with the input image.
"""

import json

from qcore.allocation import FLOAT_BITS
from qcore.config import BitConfig
from qcore.exports.base import Export
from qcore.exports.widths import unfit

FLOAT_MARK = -1


def carries(config: BitConfig) -> str | None:
    """Why HAQ cannot hold a configuration: its symmetric weights have no 1-bit grid."""
    return unfit(config, (*range(2, 9), FLOAT_BITS), (*range(1, 9), FLOAT_BITS))


def render(config: BitConfig) -> bytes:
    """The list as JSON, layers in execution order."""
    pairs = [
        [FLOAT_MARK if width == FLOAT_BITS else width for width in (bits.weight, bits.activation)]
        for bits in (config.allocation[name] for name in config.model.names)
    ]
    return (json.dumps(pairs) + "\n").encode()


EXPORT = Export(
    "haq",
    "HAQ strategy",
    ".haq.json",
    "application/json",
    render,
    carries=carries,
    note="Bits only, without names: one pair a layer, in the order the layers run. HAQ goes by the "
    "order in which modules are defined; for most networks that is the same.",
)
