"""Writes the table of docs/exports.md: every format that runs, its size and how well it agrees.

    python -m benchmarks.networks.exports

Networks: the bundled resnet8 and mobilenet, weights of 2, 3, 4 and 8 bits and inputs of 4, 8 and 32
bits in turn; for torchao, which takes linear layers alone, the classifier's weights of 4 bits.
Reference: the fake-quantized PyTorch network, on 64 images of the search split.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import torch

from qcore import apply_bits
from qcore.allocation import FLOAT_BITS, BitAllocation, LayerBits
from qcore.costs import costs_of
from qcore.data import load_data
from qcore.errors import ExportRefused
from qcore.formats.config import BitConfig
from qcore.formats.exports import EXPORTS, write
from qcore.models.zoo import load_model
from qcore.prepare import prepare
from qcore.run_spec import RunSpec
from store.jobs.export import render

ROOT = Path(__file__).parents[2]
DOCUMENT, RESULTS = ROOT / "docs/exports.md", ROOT / "benchmarks/results/exports.json"
NETWORKS = ("resnet8", "mobilenet")
FORMATS = ("packed", "onnx", "onnx8", "onnx2", "qonnx", "brevitas", "torchao")
STORED = {"brevitas": "none: a script", "torchao": "linear ones: a byte each"}
"""What a file holds of the weights, where its report does not count them."""

LINEAR_BITS = 4
"""Weight bits of the classifier for torchao, which takes linear layers alone."""
IMAGES = 64
WEIGHTS, INPUTS = (2, 3, 4, 8), (4, 8, 32)
START, END = "<!-- table -->", "<!-- end of table -->"
HEAD = (
    "| network | format | bytes | weights stored | largest difference | median difference | "
    "same class | n | optimised: largest difference | optimised: same class |"
)


def config_of(name: str, only_linear: bool = False) -> BitConfig:
    """A configuration of a bundled network, mixed or of its linear layers alone, as measured."""
    ready = prepare(RunSpec(name, "fashion-mnist", "portfolio", activation_bits=INPUTS))
    allocation = BitAllocation(
        {
            layer: LayerBits(WEIGHTS[index % 4], INPUTS[index % 3])
            for index, layer in enumerate(ready.model.names)
        }
    )
    if only_linear:
        bits = {
            x.name: LINEAR_BITS if x.kind == "linear" else FLOAT_BITS for x in ready.model.layers
        }
        allocation = BitAllocation({n: LayerBits(b, FLOAT_BITS) for n, b in bits.items()})
    point = next(ready.score([allocation]))
    return ready.config(point, {"data": "fashion-mnist"})


@torch.no_grad()
def rebuilt(config: BitConfig) -> dict[str, Any]:
    """How closely the network that the Brevitas script makes agrees with what was measured."""
    text = write(EXPORTS["brevitas"], config)
    names: dict[str, Any] = {"__name__": "script"}
    exec(compile(text, "apply_brevitas.py", "exec"), names)  # our own file
    images = next(
        load_data("fashion-mnist", calibration=1024, search=IMAGES).search.batches(IMAGES)
    )[0]
    wanted = apply_bits(load_model(config.model.name), config)(images)
    got = names["apply"](load_model(config.model.name))(images)
    difference = (got - wanted).abs()
    return {
        "format": "brevitas",
        "bytes": len(text),
        "n": IMAGES,
        "max_abs_diff": float(difference.max()),
        "median_abs_diff": float(difference.median()),
        "argmax_agreement": float((got.argmax(1) == wanted.argmax(1)).float().mean()),
    }


def report_of(config: BitConfig, name: str) -> dict[str, Any]:
    """A format's own report; of Brevitas, whose file is a script, what running it gives."""
    return rebuilt(config) if name == "brevitas" else dict(render(config, name).report)


def main() -> None:
    """Measure every format and rewrite the table."""
    rows, lines = [], [HEAD, re.sub(r"[^|]+", "---", HEAD)]
    for network in NETWORKS:
        mixed, linear = config_of(network), config_of(network, only_linear=True)
        for name in FORMATS:
            config = linear if name == "torchao" else mixed
            promised = costs_of(config.model, config.allocation)["weight_bytes"]
            try:
                report = report_of(config, name)
            except ExportRefused as error:
                sys.exit(f"{network} {name}: {error}")
            print(network, name, json.dumps(report))
            rows.append({"network": network, "weight_bytes": promised, **report})
            stored = report.get("weight_bytes", report.get("weight_bytes_stored"))
            words = f"{stored:,} B of {promised:,} B" if stored else STORED.get(name, "float32")
            other = report.get("optimised", {})
            difference = other.get("max_abs_diff")
            lines.append(
                f"| {network} | {EXPORTS[name].title} | {report['bytes']:,} | {words} | "
                f"{report['max_abs_diff']:.2g} | {report['median_abs_diff']:.2g} | "
                f"{100 * report['argmax_agreement']:.1f} % | {report['n']} | "
                + (
                    "not run | not run |"
                    if difference is None
                    else f"{difference:.2g} | {100 * other['argmax_agreement']:.1f} % |"
                )
            )
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    text = DOCUMENT.read_text(encoding="utf-8")
    before, rest = text.split(START)
    table = "\n".join([START, "", *lines, "", END])
    DOCUMENT.write_text(before + table + rest.split(END)[1], encoding="utf-8")


if __name__ == "__main__":
    main()
