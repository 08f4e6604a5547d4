"""GPTQModel's `dynamic`: patterns of module names with what is set for them.

Read from ModelCloud/GPTQModel, gptqmodel/quantization/config.py (`QuantizeConfig`, `dynamic_get`):
keys are regular expressions that `re.match` is asked for; "+:" sets values, "-:" leaves a module in
float and is looked at first; the first that matches counts. `bits` are 2, 3, 4 or 8; group_size -1
is a scale per channel, else inputs with one scale; the head takes part where `lm_head` is true.
"""

import json
import re
from typing import Any

from qcore.allocation import FLOAT_BITS, stored_bits
from qcore.formats.config import BitConfig
from qcore.formats.exports.base import Export
from qcore.formats.exports.widths import shortened, some, uneven, unfit, with_groups
from qcore.widths import group_inputs

WIDTHS = (2, 3, 4, 8)
HEAD = "lm_head"


def carries(config: BitConfig) -> str | None:
    """Why GPTQModel cannot hold a configuration: its layers, its widths, its inputs."""
    bits = config.allocation
    mine = [layer for layer in config.model.layers if bits[layer.name].weight != FLOAT_BITS]
    if not mine:
        return "no layer is quantized."
    others = [f"{shortened(each.name)} ({each.kind})" for each in mine if each.kind != "linear"]
    if others:
        return f"it quantizes linear layers only: {some(others)}. Leave them at 32 bits."
    return unfit(config, (*with_groups(WIDTHS), FLOAT_BITS), (FLOAT_BITS,)) or uneven(config)


def dynamic(config: BitConfig) -> dict[str, dict[str, Any]]:
    """The dictionary: one pattern a linear layer, those that stay float first."""
    left: dict[str, dict[str, Any]] = {}
    chosen: dict[str, dict[str, Any]] = {}
    for layer in config.model.layers:
        if layer.kind != "linear":
            continue
        width, place = config.allocation[layer.name].weight, f"^{re.escape(layer.name)}$"
        if width == FLOAT_BITS:
            left[f"-:{place}"] = {}
        else:
            size = group_inputs(width) or -1
            chosen[f"+:{place}"] = {"bits": stored_bits(width), "group_size": size, "sym": True}
    return left | chosen


def render(config: BitConfig) -> bytes:
    """Arguments of `QuantizeConfig` as JSON."""
    names = [name for name in config.model.names if name.rpartition(".")[2] == HEAD]
    head = any(config.allocation[name].weight != FLOAT_BITS for name in names)
    widths = [
        stored_bits(bits.weight) for bits in config.allocation.values() if bits.weight != FLOAT_BITS
    ]
    document = {
        "bits": max(widths),
        "group_size": -1,
        "sym": True,
        "lm_head": head,
        "dynamic": dynamic(config),
    }
    return (json.dumps(document, indent=1) + "\n").encode()


EXPORT = Export(
    "gptqmodel",
    "GPTQModel dynamic",
    ".gptqmodel.json",
    "application/json",
    render,
    carries=carries,
    runs_in="GPTQModel",
    note="Bits only, linear layers, weights of 2, 3, 4 or 8 bits, in groups too: "
    "QuantizeConfig(**json.load(open(file))). The format was checked, GPTQModel itself not run.",
)
