"""Tables of the Models page: networks, layers, what stays in float, splits."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from qcore.allocation import ModelSpec
from qcore.models.entries import ModelEntry
from qcore.problem import Scores

SOURCES = {
    "bundled": "comes with bitdial, trained",
    "torchvision": "torchvision, ImageNet",
    "timm": "timm, with your weights",
    "huggingface": "your Hugging Face folder",
    "onnx": "your ONNX file",
    "factory": "your code",
    "pt2": "your .pt2 file",
}
"""What the page calls where a network comes from."""


def source_words(entry: ModelEntry) -> str:
    """Where a network comes from, in a few words."""
    card = entry.card
    if card is None:
        return SOURCES[entry.source]
    if card.source in ("bundled", "torchvision"):
        whose = "with your weights" if card.weights else "untrained"
        return f"{card.source} {card.architecture}, {whose}"
    return SOURCES[card.source]


def networks_frame(
    entries: Sequence[ModelEntry],
    specs: Mapping[str, ModelSpec | None],
    floats: Mapping[str, Scores | None],
) -> pd.DataFrame:
    """One row per network.

    Args:
        entries: What is listed.
        specs: Name to its layers, or None where they are not known yet.
        floats: Name to the float network's scores on the test split, or None.
    """
    rows = []
    for entry in entries:
        spec, scores = specs.get(entry.name), floats.get(entry.name)
        rows.append(
            {
                "Network": entry.name,
                "From": source_words(entry),
                "Input": "x".join(map(str, entry.input_shape)),
                "Classes": entry.classes,
                "Layers": None if spec is None else len(spec.layers),
                "Weights, million": None if spec is None else _millions(spec),
                "Float accuracy, % (test)": _headline(scores),
                "95 % interval": "" if scores is None else _interval(scores),
                "Test images": None if scores is None else scores.n,
            }
        )
    return pd.DataFrame(rows)


def _millions(spec: ModelSpec) -> float:
    return sum(layer.weights for layer in spec.layers) / 1e6


def _headline(scores: Scores | None) -> float | None:
    return None if scores is None or scores.accuracy is None else 100 * scores.accuracy


def _interval(scores: Scores) -> str:
    if scores.accuracy is None:
        return "no labels"
    low, high = scores.interval
    return f"{100 * low:.1f} to {100 * high:.1f}"


def layers_frame(model: ModelSpec) -> pd.DataFrame:
    """One row per layer that gets bits, in execution order."""
    return pd.DataFrame(
        {
            "Layer": [layer.name for layer in model.layers],
            "Kind": ["depthwise" if x.depthwise else x.kind for x in model.layers],
            "Weights": [layer.weights for layer in model.layers],
            "Output channels": [layer.channels for layer in model.layers],
            "Multiply-accumulates an image": [layer.macs for layer in model.layers],
            "Input values an image": [layer.inputs for layer in model.layers],
            "Reads": [", ".join(layer.producers) or "the image" for layer in model.layers],
        }
    )


def left_frame(model: ModelSpec) -> pd.DataFrame:
    """One row per parameter that stays in float, largest first, with its share and why."""
    everything = sum(layer.weights for layer in model.layers) + sum(model.left_in_float.values())
    rows = [
        {
            "Parameter": name,
            "Values": count,
            "Share of all, %": 100 * count / max(1, everything),
            "Why it stays in float": why(name, model.warnings),
        }
        for name, count in sorted(model.left_in_float.items(), key=lambda item: -item[1])
    ]
    columns = ["Parameter", "Values", "Share of all, %", "Why it stays in float"]
    return pd.DataFrame(rows, columns=columns)


def why(parameter: str, warnings: Sequence[str]) -> str:
    """Why a parameter stays in float: the warning that names it, or what kind of thing it is."""
    owner = parameter.rpartition(".")[0]
    for sentence in warnings:
        if sentence.startswith((f"{parameter} ", f"{owner} ")):
            return sentence
    leaf = parameter.rpartition(".")[2]
    if leaf == "bias":
        return "a bias: too small to matter"
    return "not a weight of a convolution or linear layer (a norm, an embedding, a scale)"


def splits_text(report: Mapping[str, Any]) -> str:
    """The splits of a check in one line: sizes, how they were drawn, and their digest."""
    splits = report["splits"]
    return (
        f"{splits['calibration']:,} calibration, {splits['search']:,} search and "
        f"{splits['test']:,} test images, drawn with seed 0; "
        f"digest {str(report['digest'])[:12]}."
    )


def share_text(scores: Mapping[str, Any]) -> str:
    """A share with its interval and n: "91.2 % (90.1 to 92.2, n = 1,000)"."""
    return (
        f"{100 * scores['value']:.1f} % ({100 * scores['low']:.1f} to {100 * scores['high']:.1f}, "
        f"n = {scores['n']:,})"
    )
