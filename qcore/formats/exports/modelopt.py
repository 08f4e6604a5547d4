"""A quantization configuration for NVIDIA ModelOpt: quantizer name patterns with their widths.

Format of nvidia-modelopt 0.47, modelopt/torch/quantization/config.py: an ordered list of entries
{"quantizer_name": pattern, "cfg": {"num_bits", "axis"}, "enable"}; later entries win. Patterns are
`fnmatch` ones, so special characters of layer names are put into brackets.
"""

import json
import re
from typing import Any

from qcore.allocation import FLOAT_BITS
from qcore.formats.config import BitConfig
from qcore.formats.exports.base import Export
from qcore.formats.exports.widths import unfit


def carries(config: BitConfig) -> str | None:
    """Why ModelOpt cannot hold a configuration: its symmetric grids have no 1-bit form."""
    known = (*range(2, 9), FLOAT_BITS)
    return unfit(config, known, known)


def literal(name: str) -> str:
    """A pattern that matches just this name."""
    return re.sub(r"([*?[])", r"[\1]", name)


def render(config: BitConfig) -> bytes:
    """The dictionary as JSON; pass it to `modelopt.torch.quantization.quantize`."""
    entries: list[dict[str, Any]] = [{"quantizer_name": "*", "enable": False}]
    for name in config.model.names:
        bits, place = config.allocation[name], literal(name)
        for kind, width, axis in (("weight", bits.weight, 0), ("input", bits.activation, None)):
            if width != FLOAT_BITS:
                cfg = {"num_bits": width, "axis": axis}
                entries.append({"quantizer_name": f"{place}.{kind}_quantizer", "cfg": cfg})
    document = {"quant_cfg": entries, "algorithm": "max"}
    return (json.dumps(document, indent=1) + "\n").encode()


EXPORT = Export(
    "modelopt",
    "NVIDIA ModelOpt",
    ".modelopt.json",
    "application/json",
    render,
    carries=carries,
    runs_in="NVIDIA ModelOpt",
    note="Bits only, weights and activations of 2 to 8 bits or float; ModelOpt measures the ranges "
    "anew: mtq.quantize(model, json.load(open(file)), forward_loop).",
)
