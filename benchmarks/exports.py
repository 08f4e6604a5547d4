"""Writes the table of docs/exports.md: every format that runs, its size and how well it agrees.

    python -m benchmarks.exports

Networks: the bundled resnet8 and mobilenet, weights of 2, 3, 4 and 8 bits and inputs of 4, 8 and 32
bits in turn. Reference: the fake-quantized PyTorch network, on 64 images of the search split.
"""

import json
import re
import sys
from pathlib import Path

from qcore.allocation import BitAllocation, LayerBits
from qcore.config import BitConfig
from qcore.costs import costs_of
from qcore.errors import ExportRefused
from qcore.exports import EXPORTS
from qcore.prepare import prepare
from qcore.problem import RunSpec
from store.export_job import render

ROOT = Path(__file__).parent.parent
DOCUMENT, RESULTS = ROOT / "docs/exports.md", ROOT / "benchmarks/results/exports.json"
NETWORKS, FORMATS = ("resnet8", "mobilenet"), ("packed", "onnx", "onnx8", "onnx2", "qonnx")
WEIGHTS, INPUTS = (2, 3, 4, 8), (4, 8, 32)
START, END = "<!-- table -->", "<!-- end of table -->"
HEAD = (
    "| network | format | bytes | weights stored | largest difference | median difference | "
    "same class | n | optimised: largest difference | optimised: same class |"
)


def config_of(name: str) -> BitConfig:
    """A mixed configuration of a bundled network, with the state that was measured."""
    ready = prepare(RunSpec(name, "fashion-mnist", "portfolio", activation_bits=(4, 8, 32)))
    allocation = BitAllocation(
        {
            layer: LayerBits(WEIGHTS[index % 4], INPUTS[index % 3])
            for index, layer in enumerate(ready.model.names)
        }
    )
    point = next(ready.score([allocation]))
    return ready.config(point, {"data": "fashion-mnist"})


def main() -> None:
    """Measure every format and rewrite the table."""
    rows, lines = [], [HEAD, re.sub(r"[^|]+", "---", HEAD)]
    for network in NETWORKS:
        config = config_of(network)
        promised = costs_of(config.model, config.allocation)["weight_bytes"]
        for name in FORMATS:
            try:
                report = render(config, name).report
            except ExportRefused as error:
                sys.exit(f"{network} {name}: {error}")
            print(network, name, json.dumps(report))
            rows.append({"network": network, "weight_bytes": promised, **report})
            stored = report.get("weight_bytes", report.get("weight_bytes_stored"))
            words = f"{stored:,} B of {promised:,} B" if stored else "float32"
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
