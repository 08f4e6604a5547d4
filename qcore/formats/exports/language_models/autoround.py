"""AutoRound's `layer_config`: full layer names with bits, scales per channel or group of inputs.

Read from intel/auto-round: docs/step_by_step.md, "Mixed Bits Usage" (commit 006d7f0), and what
`set_layer_config` does with it. A name that the network has is taken as it is; group_size -1 is a
scale per channel, else inputs with one scale; 16 bits leave a layer alone. It sets layers with a
side that is no multiple of 32 to 16 bits by itself, so those are refused.
"""

import json
from typing import Any

from qcore.allocation import FLOAT_BITS, stored_bits
from qcore.formats.config import BitConfig
from qcore.formats.exports.base import Export
from qcore.formats.exports.widths import shortened, some, uneven, unfit, with_groups
from qcore.widths import group_inputs

WIDTHS = (2, 3, 4, 5, 6, 8)
SIDE = 32


def carries(config: BitConfig) -> str | None:
    """Why AutoRound cannot hold a configuration: its layers, widths and sides, inputs."""
    bits = config.allocation
    mine = [layer for layer in config.model.layers if bits[layer.name].weight != FLOAT_BITS]
    if not mine:
        return "no layer is quantized."
    others = [f"{shortened(each.name)} ({each.kind})" for each in mine if each.kind != "linear"]
    if others:
        return f"it quantizes linear layers only: {some(others)}. Leave them at 32 bits."
    odd = [shortened(each.name) for each in mine if each.channels % SIDE or each.in_channels % SIDE]
    if odd:
        return (
            f"it leaves layers in float whose inputs or outputs are no multiple of {SIDE}: "
            f"{some(odd)}. Leave them at 32 bits."
        )
    return unfit(config, (*with_groups(WIDTHS), FLOAT_BITS), (FLOAT_BITS,)) or uneven(config)


def entry(width: int) -> dict[str, Any]:
    """What `layer_config` says of a layer."""
    if width == FLOAT_BITS:
        return {"bits": 16, "act_bits": 16, "data_type": "float"}
    size = group_inputs(width) or -1
    bits = stored_bits(width)
    return {"bits": bits, "group_size": size, "sym": True, "data_type": "int", "act_bits": 16}


def render(config: BitConfig) -> bytes:
    """The dictionary as JSON; layers that are no linear ones are not in it."""
    chosen = {
        layer.name: entry(config.allocation[layer.name].weight)
        for layer in config.model.layers
        if layer.kind == "linear"
    }
    return (json.dumps(chosen, indent=1) + "\n").encode()


EXPORT = Export(
    "autoround",
    "AutoRound layer_config",
    ".autoround.json",
    "application/json",
    render,
    carries=carries,
    runs_in="AutoRound",
    note="Bits only, linear layers, weights of 2, 3, 4, 5, 6 or 8 bits, in groups too: "
    "AutoRound(model, layer_config=json.load(open(file))). Its own format packs 2, 3, 4 "
    "and 8 bits, its format mlx 5 and 6 too. The format was checked, AutoRound itself not run.",
)
