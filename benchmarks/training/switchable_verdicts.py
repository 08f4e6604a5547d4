"""What the cells of `benchmarks.training.switchable` say about each claim: pass or fail, per seed.

Differences are taken between cells of one seed, one size of epoch and one length of training.
Limits are those of a miniature: wider than what two seeds differ by.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

Cell = dict[str, Any]
Take = Callable[[Cell], float]

SAME = ("seed", "epoch_images", "training_images")
"""What two cells that are compared have alike, beside how long they were trained."""

QUANTIZERS = ("clip", "lsq", "dorefa")
"""SP-Nets speaks of three."""

SWITCHES = ("2/2", "3/3", "4/4", "8/8")
MOST_BYTES = 0.55
"""Of those that clips take, what nested codes may."""


def verdicts(rows: Sequence[Cell], model: str) -> list[str]:
    """A line for every claim that has been measured."""
    rows = [row for row in rows if row["name"]["model"] == model]
    cells = [{**r["name"], **r["result"], "cpu_seconds": r["cpu_seconds"]} for r in rows]
    found: list[str] = []
    for claim in (_s1, _s2, _s3, _s4, _s5, _b1, _b2, _b3, _b4, _b5, _sizes):
        found.extend(claim(cells))
    return found


def _line(words: str, gains: Sequence[float], least: float, worst: float | None = None) -> str:
    mean = float(np.mean(gains))
    good = mean >= least and (worst is None or min(gains) >= worst)
    each = "" if worst is None else f", every seed {worst:+.1f}"
    listed = ", ".join(f"{gain:+.2f}" for gain in gains)
    verdict = "passes" if good else "FAILS"
    return f"{verdict}: {words}: {mean:+.2f} points (needs {least:+.1f}{each}; seeds: {listed})"


def _matching(cells: Sequence[Cell], **wanted: Any) -> list[Cell]:
    return [c for c in cells if all(c.get(key) == value for key, value in wanted.items())]


def _gains(first: Sequence[Cell], second: Sequence[Cell], take: Take) -> dict[tuple, list[float]]:
    """Differences in points between cells of one seed, by (images per epoch, epochs, of which)."""
    gains: dict[tuple, list[float]] = {}
    for one in first:
        for other in second:
            same = all(one.get(k) == other.get(k) for k in SAME)
            if same and _length(one) == _length(other):
                key = (one["epoch_images"], _length(one), one.get("training_images", 0))
                gains.setdefault(key, []).append(100 * (take(one) - take(other)))
    return gains


def _length(cell: Cell) -> int:
    if cell["system"] in ("bitmixer", "specialists"):
        return int(cell["input_epochs"] + cell["network_epochs"] + cell["layer_epochs"])
    return int(cell.get("epochs", 0))


def _sp(cells: Sequence[Cell], **wanted: Any) -> list[Cell]:
    settings = {"system": "spnets", "quantizer": "clip", "private_norms": True, "outputs": 0.0}
    return _matching(cells, **{**settings, **wanted})


def _words(key: tuple, quantizer: str = "clip") -> str:
    learned = "" if quantizer == "clip" else f"{quantizer}, "
    few = 0 < key[2] <= key[0]
    return f"{learned}{key[1]} epochs of {f'all {key[2]:,} shipped' if few else f'{key[0]:,}'}"


def _s1(cells: Sequence[Cell]) -> Iterator[str]:
    for quantizer in QUANTIZERS:
        private = _sp(cells, quantizer=quantizer)
        shared = _sp(cells, quantizer=quantizer, private_norms=False)
        for width in SWITCHES:
            least, worst = (3.0, 1.5) if width == "2/2" else (-0.5, None)
            for key, found in _gains(private, shared, _at(width)).items():
                words = f"S1 private over shared norms at {width}, {_words(key, quantizer)}"
                yield _line(words, found, least, worst)


def _s2(cells: Sequence[Cell]) -> Iterator[str]:
    for quantizer in QUANTIZERS:
        named = None if quantizer == "clip" else quantizer
        for width in (2, 3, 4, 8):
            name = f"{width}/{width}"
            own = _matching(cells, system="alone", width=width, quantizer=named)
            for key, found in _gains(_sp(cells, quantizer=quantizer), own, _at(name)).items():
                words = f"S2 the switch {name} over a network of its own, {_words(key, quantizer)}"
                yield _line(words, found, -1.0 if width == 2 else -2.0)


def _s3(cells: Sequence[Cell]) -> Iterator[str]:
    for quantizer in QUANTIZERS:
        distilled, plain = (_sp(cells, quantizer=quantizer, outputs=part) for part in (0.5, 0.0))
        for width in SWITCHES:
            for key, found in _gains(distilled, plain, _at(width)).items():
                words = f"S3 distillation over labels at {width}, {_words(key, quantizer)}"
                yield _line(words, found, 0.0)


def _s5(cells: Sequence[Cell]) -> Iterator[str]:
    nested, clip = _sp(cells, quantizer="nested"), _sp(cells)
    for width in SWITCHES:
        for key, found in _gains(nested, clip, _at(width)).items():
            words = f"S5 nested codes over a clip for each width at {width}, {_words(key)}"
            yield _line(words, found, -1.0 if width == "2/2" else -0.5)
    if nested and clip:
        own, other = (cells[0]["payload"]["all"]["total"] for cells in (nested, clip))
        verdict = "passes" if own <= MOST_BYTES * other else "FAILS"
        yield (
            f"{verdict}: S5 all switches in {own / other:.3f} of the bytes (at most {MOST_BYTES}): "
            f"{own:,} B for {other:,} B"
        )


def _at(width: str) -> Take:
    """Accuracy of a switch, or of a network of its own."""

    def take(cell: Cell) -> float:
        value = cell["accuracy"]
        return float(value[width] if isinstance(value, Mapping) else value)

    return take


def _s4(cells: Sequence[Cell]) -> Iterator[str]:
    for cell in _matching(cells, system="spnets", quantizer="sign"):
        values = list(cell["accuracy"].values())
        falling = all(b <= a + 0.01 for a, b in pairwise(values))
        verdict = "passes" if falling and values[-1] > 0.7 else "FAILS"
        listed = ", ".join(f"{n} {100 * v:.2f}" for n, v in cell["accuracy"].items())
        yield f"{verdict}: S4 seed {cell['seed']}, one-bit weights, fewer input bits: {listed}"


def _mixers(cells: Sequence[Cell], **wanted: Any) -> list[Cell]:
    return _matching(cells, **{"system": "bitmixer", "direct": False, "mixed": None, **wanted})


def _b1(cells: Sequence[Cell]) -> Iterator[str]:
    pair = _mixers(cells, norms="pair")
    for other, least in (("shared", 2.0), ("producer", -1.0)):
        for figure in ("mean", "fifth_percentile", "minimum"):
            gains = _gains(pair, _mixers(cells, norms=other), lambda c, f=figure: c[f])  # type: ignore[misc]
            for key, found in gains.items():
                words = f"B1 {figure} of random bits, transitional over {other}, {_words(key)}"
                yield _line(words, found, least)
    for cell in pair:
        gap = 100 * (cell["minimum"] - cell["uniform_on_the_same"]["2/2"])
        yield _line(f"B1 seed {cell['seed']}, worst random over uniform 2 bits", [gap], -2.0)


def _b2(cells: Sequence[Cell]) -> Iterator[str]:
    staged, direct = _mixers(cells, norms="pair"), _mixers(cells, direct=True)
    for figure in ("mean", "minimum"):
        gains = _gains(staged, direct, lambda c, f=figure: c[f])  # type: ignore[misc]
        for key, found in gains.items():
            yield _line(f"B2 {figure}, three stages over direct, {_words(key)}", found, 0.0)


def _b3(cells: Sequence[Cell]) -> Iterator[str]:
    for cell in _matching(cells, system="specialists"):
        gains = [100 * (row["accuracy"] - row["alone"]) for row in cell["front"]]
        words = f"B3 seed {cell['seed']}, frozen network over networks of their own"
        yield _line(words, gains, -2.0).replace("seeds:", "allocations:")


def _b4(cells: Sequence[Cell]) -> Iterator[str]:
    runs = sorted(_matching(cells, system="gradfreebits"), key=lambda c: int(c["budget"]))
    for cell in _mixers(cells, norms="pair"):
        own = [r for r in runs if (r["seed"], r["epoch_images"]) ==
               (cell["seed"], cell["epoch_images"])]  # fmt: skip
        if len(own) < len(cell.get("budgets", [None])):
            continue
        pairs = zip(cell["budgets"], own, strict=True)
        gains = [100 * (a["accuracy"] - b["accuracy"]) for a, b in pairs]
        words = f"B4 seed {cell['seed']}, 12 budgets of one network over 12 GradFreeBits runs"
        yield _line(words, gains, -1.0).replace("seeds:", "budgets:")
        spent = sum(run["cpu_seconds"] for run in own)
        verdict = "passes" if cell["cpu_seconds"] < spent else "FAILS"
        yield f"{verdict}: B4 time: {cell['cpu_seconds']:.0f} CPU-s against {spent:.0f} CPU-s"


def _b5(cells: Sequence[Cell]) -> Iterator[str]:
    # as many passes over images: each of its steps makes one for every allocation
    coupled = [
        {**c, "epoch_images": c["epoch_images"] * (1 + c["mixed"])}
        for c in _matching(cells, system="bitmixer")
        if c.get("mixed")
    ]
    takes: dict[str, Take] = {
        "mean": lambda c: float(c["mean"]),
        "minimum": lambda c: float(c["minimum"]),
        "uniform 2/2": lambda c: float(c["uniform"]["2/2"]),
    }
    for other in ("producer", "pair"):
        for figure, take in takes.items():
            for key, found in _gains(coupled, _mixers(cells, norms=other), take).items():
                words = f"B5 {figure}, RFQuant's training over {other} norms, {_words(key)}"
                yield _line(words, found, 0.0)


def _sizes(cells: Sequence[Cell]) -> Iterator[str]:
    seen = set()
    for cell in cells:
        kind = cell.get("norms", cell.get("private_norms"))
        if "payload" not in cell or (cell["system"], kind, cell.get("quantizer")) in seen:
            continue
        seen.add((cell["system"], kind, cell.get("quantizer")))
        name = f"{cell['system']} {cell.get('norms', cell.get('quantizer'))}"
        if kind is False:
            name += " (shared norms)"
        parts = cell["payload"]
        yield (
            f"size: {name}: all {parts['all']['total']:,} B (norms {parts['all']['norms']:,} B), "
            f"float network {parts['float']['total']:,} B"
        )
