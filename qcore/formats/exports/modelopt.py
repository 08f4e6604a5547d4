"""A quantization configuration for NVIDIA ModelOpt: quantizer name patterns with their widths.

Format of nvidia-modelopt 0.47, modelopt/torch/quantization/config.py: an ordered list of entries
{"quantizer_name": pattern, "cfg": {"num_bits", "axis"}, "enable"}; later entries win. Patterns are
`fnmatch` ones, so special characters of layer names are put into brackets. Queries, keys and values
of one block that have one width are one entry, as kernels that compute the three at once need them.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from qcore.allocation import FLOAT_BITS
from qcore.formats.config import BitConfig
from qcore.formats.exports.base import Export
from qcore.formats.exports.widths import shortened, unfit

FUSED = re.compile(r"((?:.*\.)?)([qkv])((?:_proj|_lin)?)", re.DOTALL)
"""What stands before and behind the letter of a query, key or value."""


def carries(config: BitConfig) -> str | None:
    """Why ModelOpt cannot hold a configuration: its symmetric grids have no 1-bit form."""
    known = (*range(2, 9), FLOAT_BITS)
    return unfit(config, known, known)


def literal(name: str) -> str:
    """A pattern that matches just this name."""
    return re.sub(r"([*?[])", r"[\1]", name)


def fused(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Pattern of each block's queries, keys and values to their names, where it has all three."""
    found: dict[str, list[str]] = {}
    for name in names:
        parts = FUSED.fullmatch(name)
        if parts is not None:
            found.setdefault(f"{literal(parts[1])}[qkv]{literal(parts[3])}", []).append(name)
    return {place: tuple(three) for place, three in found.items() if len(three) == 3}


def render(config: BitConfig) -> bytes:
    """The dictionary as JSON; pass it to `modelopt.torch.quantization.quantize`."""
    entries: list[dict[str, Any]] = [{"quantizer_name": "*", "enable": False}]
    for place, names in _places(config).items():
        bits = config.allocation[names[0]]
        for kind, width, axis in (("weight", bits.weight, 0), ("input", bits.activation, None)):
            if width != FLOAT_BITS:
                cfg = {"num_bits": width, "axis": axis}
                entries.append({"quantizer_name": f"{place}.{kind}_quantizer", "cfg": cfg})
    document = {"quant_cfg": entries, "algorithm": "max"}
    return (json.dumps(document, indent=1) + "\n").encode()


def _places(config: BitConfig) -> dict[str, tuple[str, ...]]:
    """Patterns to the layers that they match, in the order of the network."""
    joined = {
        name: (place, names)
        for place, names in fused(config.model.names).items()
        if len({config.allocation[each] for each in names}) == 1
        for name in names
    }
    return dict(joined.get(name, (literal(name), (name,))) for name in config.model.names)


def report(config: BitConfig) -> Mapping[str, Any]:
    """Blocks whose queries, keys and values have widths of their own."""
    apart = [
        ", ".join(f"{shortened(name)} {config.allocation[name].text}" for name in names)
        for names in fused(config.model.names).values()
        if len({config.allocation[name] for name in names}) > 1
    ]
    return {"not_fused": apart} if apart else {}


EXPORT = Export(
    "modelopt",
    "NVIDIA ModelOpt",
    ".modelopt.json",
    "application/json",
    render,
    carries=carries,
    report=report,
    runs_in="NVIDIA ModelOpt",
    note="Bits only, weights and activations of 2 to 8 bits or float; ModelOpt measures the ranges "
    "anew: mtq.quantize(model, json.load(open(file)), forward_loop).",
)
