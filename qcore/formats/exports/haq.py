"""HAQ's strategy: a list of [weight bits, activation bits] in layer order.

Format of mit-han-lab/haq (Wang et al. 2019), read from lib/env/linear_quantize_env.py (commit
20e4ed3): `_set_mixed_precision` takes one pair for each QConv2d and QLinear, in the order of
model.modules(); -1 leaves a tensor unquantized, as HAQ does with the input image.
"""

import json

from qcore.allocation import FLOAT_BITS, ModelSpec
from qcore.formats.config import BitConfig
from qcore.formats.exports.base import Export
from qcore.formats.exports.widths import shortened, unfit

FLOAT_MARK = -1
KINDS = ("conv2d", "linear")


def carries(config: BitConfig) -> str | None:
    """Why HAQ cannot hold a configuration.

    Its symmetric weights have no 1-bit grid, it has two kinds of layers, and it gives signed inputs
    one bit less than it is told, so that none of one bit is left.
    """
    reason = unfit(config, (*range(2, 9), FLOAT_BITS), (*range(1, 9), FLOAT_BITS))
    if reason is not None:
        return reason
    for layer in config.model.layers:
        if layer.kind not in KINDS:
            return (
                "its list counts two-dimensional convolutions and linear layers only; layer "
                f"{shortened(layer.name)} is of kind {layer.kind}."
            )
        grid = config.state.get(layer.name, {}).get("activation_grid")
        signed = grid is not None and (float(grid[1]) < 0 or float(grid[3]) != 0)
        if signed and config.allocation[layer.name].activation == 1:
            return (
                f"the input of layer {shortened(layer.name)} has both signs and 1 bit, which HAQ "
                "would leave in float. Give it 2 bits or more."
            )
    return None


def order(model: ModelSpec) -> tuple[str, ...]:
    """The layers in the order of HAQ's list, that of `modules()`; as they run where not known."""
    return model.defined or model.names


def render(config: BitConfig) -> bytes:
    """The list as JSON, layers in the order in which the network defines them."""
    pairs = [
        [FLOAT_MARK if width == FLOAT_BITS else width for width in (bits.weight, bits.activation)]
        for bits in (config.allocation[name] for name in order(config.model))
    ]
    return (json.dumps(pairs) + "\n").encode()


EXPORT = Export(
    "haq",
    "HAQ strategy",
    ".haq.json",
    "application/json",
    render,
    carries=carries,
    runs_in="HAQ",
    note="Bits only, without names: one pair a layer, in the order in which the network defines "
    "its modules, as HAQ goes by it (of networks added before that order was kept: as they run). "
    "The format was checked, HAQ itself not run.",
)
