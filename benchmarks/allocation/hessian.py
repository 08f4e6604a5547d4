"""How well Hutchinson's trace is known, layer by layer: its standard error beside it.

    python -m benchmarks.allocation.hessian

The traces that `exact: hessian` of `benchmarks.allocation.allocators` allocates by: 16 probes on
256 calibration images. A layer whose trace is within two standard errors of zero has no known place
in the order of layers. Written to benchmarks/results/hessian.json; networks on file are left alone.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from benchmarks.allocation.allocators import Bench
from qcore.sensitivity.hessian import hutchinson_traces

RESULTS = Path(__file__).parents[1] / "results" / "hessian.json"
MODELS = ("mobilenet",)


def traces(name: str) -> list[dict[str, Any]]:
    """One row for each layer, in execution order."""
    bench = Bench(name)
    found = hutchinson_traces(bench.evaluator)
    return [
        {
            "layer": layer.name,
            "depthwise": layer.depthwise,
            "weights": layer.weights,
            "trace": found[layer.name][0],
            "error": found[layer.name][1],
        }
        for layer in bench.found.spec.layers
    ]


def verdict(name: str, rows: list[dict[str, Any]]) -> list[str]:
    """How many layers of each kind have an unknown trace."""
    lines = []
    for kind, depthwise in (("depthwise", True), ("other", False)):
        own = [row for row in rows if row["depthwise"] is depthwise]
        lost = [row for row in own if row["trace"] < 2 * row["error"]]
        if own:
            lines.append(
                f"{name}: {len(lost)} of {len(own)} {kind} layers have a trace within two "
                "standard errors of zero"
            )
    return lines


def main() -> None:
    """Measure what is missing and print the verdicts."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    torch.set_num_threads(1)
    found: dict[str, list[dict[str, Any]]] = {}
    if RESULTS.exists():
        found = json.loads(RESULTS.read_text())
    for name in MODELS:
        if name not in found:
            found[name] = traces(name)
            RESULTS.write_text(json.dumps(found, indent=1) + "\n")
        print("\n".join(verdict(name, found[name])))


if __name__ == "__main__":
    main()
