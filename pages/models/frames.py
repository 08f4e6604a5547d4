"""Tables of the Models page: networks, layers, what stays in float, splits."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from pages.shared.judged import CLASSIFIER, Words
from qcore.allocation import ModelSpec
from qcore.judges import Judge
from qcore.models.catalog import judge_of
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
    judges = any(_judge(entry).name != "classes" for entry in entries)
    for entry in entries:
        spec, scores = specs.get(entry.name), floats.get(entry.name)
        rows.append(
            {
                "Network": entry.name,
                "From": source_words(entry),
                "Input": input_words(entry),
                "Classes": entry.classes if _judge(entry).name == "classes" else None,
                **({"Judge": _judge(entry).title} if judges else {}),
                "Layers": None if spec is None else len(spec.layers),
                "Weights, million": None if spec is None else _millions(spec),
                "Float accuracy, % (test)": _headline(scores, _judge(entry)),
                **({"Other float scores (test)": _other(scores, _judge(entry))} if judges else {}),
                "95 % interval": "" if scores is None else _interval(scores, _judge(entry)),
                f"Test {'samples' if judges else 'images'}": None if scores is None else scores.n,
            }
        )
    return pd.DataFrame(rows)


def _millions(spec: ModelSpec) -> float:
    return sum(layer.weights for layer in spec.layers) / 1e6


def input_words(entry: ModelEntry) -> str:
    """What a network takes: an image's sizes, or its inputs by name."""
    inputs = () if entry.card is None else entry.card.inputs
    if inputs:
        return "; ".join(each.words for each in inputs)
    return "x".join(map(str, entry.input_shape))


def _judge(entry: ModelEntry) -> Judge:
    return judge_of(entry.name)


def _headline(scores: Scores | None, judge: Judge) -> float | None:
    if scores is None or scores.accuracy is None or judge.name != "classes":
        return None
    return 100 * scores.accuracy


def _other(scores: Scores | None, judge: Judge) -> str:
    """What is no accuracy of classes: its name, value and unit."""
    if scores is None or scores.accuracy is None or judge.name == "classes":
        return ""
    return f"{judge.score.name} {judge.score.write(scores.accuracy)}"


def _interval(scores: Scores, judge: Judge) -> str:
    if scores.accuracy is None:
        return "no labels"
    low, high = judge.score.span(scores.interval)
    return f"{low:.1f} to {high:.1f}"


def layers_frame(model: ModelSpec) -> pd.DataFrame:
    """One row per layer that gets bits, in execution order."""
    one, whole = ("a sample", "the inputs") if model.inputs else ("an image", "the image")
    return pd.DataFrame(
        {
            "Layer": [layer.name for layer in model.layers],
            "Kind": ["depthwise" if x.depthwise else x.kind for x in model.layers],
            "Weights": [layer.weights for layer in model.layers],
            "Output channels": [layer.channels for layer in model.layers],
            f"Multiply-accumulates {one}": [layer.macs for layer in model.layers],
            f"Input values {one}": [layer.inputs for layer in model.layers],
            "Reads": [", ".join(layer.producers) or whole for layer in model.layers],
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
            "Why it stays in float": model.why_float(name),
        }
        for name, count in sorted(model.left_in_float.items(), key=lambda item: -item[1])
    ]
    columns = ["Parameter", "Values", "Share of all, %", "Why it stays in float"]
    return pd.DataFrame(rows, columns=columns)


def splits_text(report: Mapping[str, Any], words: Words = CLASSIFIER) -> str:
    """The splits of a check in one line: sizes, how they were drawn, and their digest."""
    splits = report["splits"]
    return (
        f"{splits['calibration']:,} calibration, {splits['search']:,} search and "
        f"{splits['test']:,} test {words.samples}, drawn with seed 0; "
        f"digest {str(report['digest'])[:12]}."
    )


def share_text(scores: Mapping[str, Any], words: Words = CLASSIFIER) -> str:
    """A score with its interval and n: "91.2 % (90.1 to 92.2, n = 1,000)"."""
    value = words.factor * scores["value"]
    low, high = words.measure.span((scores["low"], scores["high"]))
    return f"{words.value(value)} ({low:.1f} to {high:.1f}, n = {scores['n']:,})"
