"""A Python script that rebuilds the network from Brevitas layers with the measured scales."""

from pathlib import Path

import numpy as np

from qcore.formats.config import BitConfig
from qcore.formats.exports.base import Export, needs_state
from qcore.formats.exports.standalone import fill
from qcore.formats.exports.widths import without_groups, without_halves

TEMPLATE = Path(__file__).parent / "templates" / "brevitas.py"
WIDEST = 8


def carries(config: BitConfig) -> str | None:
    """The reason where Brevitas has no layer or no integer for what the configuration holds."""
    missing = (
        needs_state(config)
        or without_halves(config, "its integer layers have")
        or without_groups(config, "its integer layers have")
    )
    if missing:
        return missing
    for layer in config.model.layers:
        bits = config.allocation[layer.name]
        if layer.kind.startswith("conv_transpose") and layer.groups > 1 and bits.weight != 32:
            return (
                f"layer {layer.name!r} is a transposed convolution with groups, for which Brevitas "
                "keeps no scale per channel. Leave its weights at 32 bits."
            )
        if layer.kind == "tied_embedding":
            return (
                f"layer {layer.name!r} is an embedding and a linear layer at once, for which "
                "Brevitas has no layer. Take the script that needs torch alone."
            )
        arrays = config.state.get(layer.name, {})
        if "weight_codes" in arrays and int(np.abs(arrays["weight_codes"]).max()) > 2**WIDEST:
            return f"the levels of layer {layer.name!r} reach beyond {WIDEST} bits."
        if "activation_grid" in arrays and arrays["activation_grid"][3] != 0:
            return (
                f"the input of layer {layer.name!r} has two free levels (1 bit, both signs), and "
                "Brevitas' zero point is a whole number. Give it 2 bits or more."
            )
    return None


def render(config: BitConfig) -> bytes:
    """The script as bytes; `python NAME.brevitas.py --help` explains it."""
    return fill(TEMPLATE, config)


EXPORT = Export(
    name="brevitas",
    title="Brevitas (Python script)",
    suffix=".brevitas.py",
    mime="text/x-python",
    render=render,
    carries=carries,
    runs_in="Brevitas",
    note="Run it beside your float network with torch and brevitas installed: the same logits, "
    "ready for Brevitas' training and exports. One-bit weights become two-bit integers; layers "
    "that pad or standardise by themselves are refused.",
)
