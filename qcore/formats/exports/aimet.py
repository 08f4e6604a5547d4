"""Encodings for Qualcomm's AIMET: widths with the very ranges that were measured.

Format of aimet-torch 2.42, where it was loaded by hand (docs/exports.md says how): the file that
`sim.export` calls *_torch.encodings and `sim.load_encodings` reads: {"param_encodings":
{"conv1.weight": [one entry a channel]}, "activation_encodings": {"conv1": {"input": {"0":
entry}}}}, widths from 4 bits. Fold batch-norms first, as AIMET does.
"""

import json
from typing import Any

import numpy as np

from qcore.allocation import FLOAT_BITS
from qcore.formats.config import BitConfig
from qcore.formats.exports.base import Export
from qcore.formats.exports.widths import shortened, unfit

VERSION = "0.6.1"
KNOWN = (*range(4, 17), FLOAT_BITS)


def carries(config: BitConfig) -> str | None:
    """Why AIMET cannot hold a configuration: fewer than 4 bits, or no ranges to write."""
    reason = unfit(config, KNOWN, KNOWN)
    if reason is not None:
        return f"AIMET's encodings start at 4 bits, of whole numbers: {reason}"
    for name, bits in config.allocation.items():
        state = config.state.get(name, {})
        lacks = (bits.weight != FLOAT_BITS and "weight_step" not in state) or (
            bits.activation != FLOAT_BITS and "activation_grid" not in state
        )
        if lacks:
            return (
                f"encodings are made of ranges, and those of layer {shortened(name)} were not "
                "measured; measure the configuration first."
            )
        if bits.activation != FLOAT_BITS and float(state["activation_grid"][3]) != 0:
            return f"the input grid of layer {shortened(name)} has no code for zero."
    return None


def render(config: BitConfig) -> bytes:
    """The encodings as JSON."""
    weights: dict[str, list[dict[str, Any]]] = {}
    inputs: dict[str, Any] = {}
    for name in config.model.names:
        bits, state = config.allocation[name], config.state.get(name, {})
        if bits.weight != FLOAT_BITS:
            low = -(2 ** (bits.weight - 1))
            weights[f"{name}.weight"] = [
                # a negative step puts the extra code on the positive side
                _entry(bits.weight, abs(float(step)), low if step > 0 else low + 1)
                for step in np.asarray(state["weight_step"])
            ]
        if bits.activation != FLOAT_BITS:
            step, low, _, _ = (float(value) for value in state["activation_grid"])
            inputs[name] = {"input": {"0": _entry(bits.activation, step, int(low))}}
    document = {
        "version": VERSION,
        "activation_encodings": inputs,
        "param_encodings": weights,
        "excluded_layers": [],
    }
    return (json.dumps(document, indent=1, allow_nan=False) + "\n").encode()


def _entry(bits: int, scale: float, low: int) -> dict[str, Any]:
    """One grid of 2^bits codes from `low` on; AIMET's asymmetric form holds either sign of step."""
    return {
        "bitwidth": bits,
        "dtype": "int",
        "is_symmetric": "False",
        "max": scale * (low + 2**bits - 1),
        "min": scale * low,
        "offset": low,
        "scale": scale,
    }


EXPORT = Export(
    "aimet",
    "AIMET encodings",
    ".aimet.encodings",
    "application/json",
    render,
    carries=carries,
    runs_in="Qualcomm AIMET",
    note="Widths from 4 bits, with the measured grids of folded weights and of inputs; the bias "
    "correction and the codes that a rounding chose are not in it. AIMET gives most inputs no "
    "quantizer: add them first, as docs/exports.md shows, then sim.load_encodings(file, "
    "partial=False).",
)
