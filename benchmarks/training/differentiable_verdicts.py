"""What the cells of `differentiable` say: verdicts, the common table and its figure."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Cell = dict[str, Any]
FIGURE = Path(__file__).parents[1] / "results" / "differentiable.svg"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


def verdicts(rows: Sequence[Cell], model: str) -> list[str]:
    """A line for every claim that has been measured; failures too."""
    own = [row for row in rows if row.get("model") == model]
    return [
        *_toy([row for row in rows if row["claim"] == "D3"]),
        *_learned([row for row in own if row["claim"] == "D6"]),
        *_stable([row for row in own if row["claim"] == "D7"]),
        *_activations([row for row in own if row["claim"] == "D8"]),
        *_low([row for row in own if row["claim"] == "M4"]),
    ]


def paired(
    rows: Sequence[Cell], same: Sequence[str], key: str, first: str, second: str
) -> dict[tuple[Any, ...], list[float]]:
    """Points of accuracy by which `first` beats `second`, seed by seed, for each setting."""
    found = {(*(r[n] for n in same), r["seed"], r[key]): r["accuracy"] for r in rows}
    gains: dict[tuple[Any, ...], list[float]] = {}
    for (*setting, seed, value), accuracy in sorted(found.items(), key=str):
        other = found.get((*setting, seed, second))
        if value == first and other is not None:
            gains.setdefault(tuple(setting), []).append(100 * (accuracy - other))
    return gains


def line(words: str, gains: Sequence[float], least: float = 0.0) -> str:
    """Passes where the mean, and most of the seeds, reach `least` points."""
    enough = sum(gain >= least for gain in gains) * 2 > len(gains)
    verdict = "passes" if np.mean(gains) >= least and enough else "FAILS"
    listed = ", ".join(f"{gain:+.2f}" for gain in gains)
    return f"{verdict}: {words}: {np.mean(gains):+.2f} points (needs {least:+.1f}; seeds: {listed})"


def _toy(rows: Sequence[Cell]) -> list[str]:
    lines = []
    for rate in sorted({row["rate"] for row in rows}, reverse=True):
        mean = {
            kind: float(np.mean([r["error"] for r in rows if (r["kind"], r["rate"]) == key]))
            for kind in sorted({row["kind"] for row in rows})
            if (key := (kind, rate))
        }
        own = mean.pop("step-range", None)
        if own is None or not mean:
            continue
        verdict = "passes" if own <= min(mean.values()) else "FAILS"
        listed = ", ".join(f"{kind} {error:.2g}" for kind, error in mean.items())
        lines.append(f"{verdict}: D3 at rate {rate:g}: step-range {own:.2g}; {listed}")
    return lines


def _learned(rows: Sequence[Cell]) -> list[str]:
    same = ("bits", "epochs", "epoch_images", "rate")
    lines = []
    for first in ("dq from four", "dq from exact"):
        for second in ("uniform + LSQ", "exact + LSQ", "portfolio", "portfolio, tuned"):
            for setting, gains in paired(rows, same, "method", first, second).items():
                lines.append(line(f"D6 at {setting[0]} bits, {first} over {second}", gains))
    for row in rows:
        unused = row.get("unused", {}).get("weight_bytes", 0)
        if unused < 0:
            lines.append(f"FAILS: D5 {row['method']}, seed {row['seed']}, is over its budget")
    left = [
        row["unused"]["weight_bytes"] for row in rows if "weight_bytes" in row.get("unused", {})
    ]
    if left and min(left) >= 0:
        lines.append(
            f"passes: D5 all {len(left)} runs of dq are within their bytes; the fullest uses "
            f"{100 * (1 - min(left)):.2f} % of them"
        )
    return lines


def _stable(rows: Sequence[Cell]) -> list[str]:
    """For each length of training: never is one compared with another."""
    lines = []

    def length_of(row: Cell) -> tuple[int, int, str]:
        return row["epochs"], row["epoch_images"], row.get("clipping", "all")

    for length in sorted(set(map(length_of, rows))):
        at = [row for row in rows if length_of(row) == length]
        clipped = "clipped as published" if length[2] == "published" else "all clipped"
        lines.extend(_stable_at(at, f"D7, {length[0]} epochs of {length[1]:,}, {clipped}"))
    return lines


def _stable_at(rows: Sequence[Cell], claim: str) -> list[str]:
    lines = []
    kinds: dict[str, list[float]] = {}
    for row in rows:
        kinds.setdefault(row["kind"], []).append(100 * row["accuracy"])
    for kind, values in kinds.items():
        lines.append(
            f"{claim}, {kind}: {np.mean(values):.2f} % on average, {np.std(values):.2f} points of "
            f"deviation, worst {min(values):.2f} %, over {len(values)} rates and seeds"
        )
    own = kinds.get("step-range")
    for kind, values in kinds.items():
        if own is not None and kind != "step-range":
            better = np.std(own) <= np.std(values) and min(own) >= min(values)
            verdict = "passes" if better else "FAILS"
            lines.append(f"{verdict}: {claim}, step-range steadier than {kind}")
    for kind in ("bits-range", "bits-step"):
        for setting, gains in paired(rows, ("rate",), "kind", "step-range", kind).items():
            lines.append(line(f"{claim}, at rate {setting[0]:g}, step-range over {kind}", gains))
    return lines


def _activations(rows: Sequence[Cell]) -> list[str]:
    lines = []
    for seed in sorted({row["seed"] for row in rows}):
        by_limit = {row["limit"]: row for row in rows if row["seed"] == seed}
        if len(by_limit) < 2:
            continue
        largest, total = by_limit["activation_bytes_max"], by_limit["activation_bytes_sum"]
        bits = [[pair[1] for pair in row["allocation"].values()] for row in (largest, total)]
        spread = [sum(b < 4 for b in row) for row in bits]
        passes = spread[0] < spread[1]
        lines.append(
            f"{'passes' if passes else 'FAILS'}: D8 seed {seed}: below four bits are {spread[0]} "
            f"inputs under the largest-activation limit and {spread[1]} under the total one"
        )
    return lines


def _low(rows: Sequence[Cell]) -> list[str]:
    lines = []
    words = {1: "binary", 2: "ternary"}
    same = ("weight_bits", "epochs", "epoch_images")
    others = {
        "ste": -0.5, "proxquant": 0.0, "proxquant, weak": 0.0, "gd-tanh": 0.0, "gd-softmax": -0.3
    }  # fmt: skip
    for second, least in others.items():
        for setting, gains in paired(rows, same, "method", "md-tanh-s", second).items():
            lines.append(line(f"M4 {words[setting[0]]}, MD-tanh-S over {second}", gains, least))
    for bits in (1, 2):
        for method in ("md-tanh-s", "md-softmax-s", "gd-tanh"):
            at = [r for r in rows if r["weight_bits"] == bits and r["method"] == method]
            gaps = [100 * r["gap"] for r in at if r.get("gap") is not None]
            if gaps:
                verdict = "passes" if np.mean(gaps) <= 0.5 else "FAILS"
                off = 100 * np.mean([r["off_level"] for r in at])
                lines.append(
                    f"{verdict}: M3 {words[bits]} {method}: soft minus hard {np.mean(gaps):+.2f} "
                    f"points before the tail (needs <= 0.5), {off:.2f} % off their levels"
                )
    return lines


def table(rows: Sequence[Cell], model: str) -> list[str]:
    """Accuracy and bytes of every method, mean over seeds."""
    lines = ["", "| Method | Weight bytes | Test accuracy, % | Worst seed | Seeds |"]
    lines.append("|---|---|---|---|---|")
    for name, group in sorted(_groups(rows, model, ("D6", "M4")).items()):
        values = [100 * row["accuracy"] for row in group]
        size = np.mean([row["costs"]["weight_bytes"] for row in group])
        lines.append(
            f"| {name} | {size:,.0f} | {np.mean(values):.2f} | {min(values):.2f} | {len(group)} |"
        )
    return lines


def _groups(rows: Sequence[Cell], model: str, claims: Sequence[str]) -> dict[str, list[Cell]]:
    groups: dict[str, list[Cell]] = {}
    for row in rows:
        if row.get("model") != model or "costs" not in row or row["claim"] not in claims:
            continue
        suffix = f"{row['bits']} bits" if row["claim"] == "D6" else ""
        if row["claim"] == "M4":
            suffix = {1: "binary", 2: "ternary"}[row["weight_bits"]]
        groups.setdefault(f"{row['method']}, {suffix}", []).append(row)
    return groups


def draw(rows: Sequence[Cell], model: str) -> str | None:
    """Test accuracy against weight bytes of what had equal bytes, as SVG; None where none had."""
    groups = _groups(rows, model, ("D6",))
    if not groups:
        return None
    points = [
        (row["costs"]["weight_bytes"] / 1000, 100 * row["accuracy"], name)
        for name, group in groups.items()
        for row in group
    ]
    x, y = _scale([p[0] for p in points], 60, 560), _scale([p[1] for p in points], 380, 20)
    names = sorted(groups)
    parts = ['<svg xmlns="http://www.w3.org/2000/svg" width="860" height="430" font-size="12">']
    # a ground of its own: the text is black wherever the picture is shown
    parts.append('<rect width="860" height="430" fill="#fff"/>')
    parts.append('<path d="M60 20V380H560" fill="none" stroke="#666"/>')
    for value in _ticks([p[0] for p in points]):
        parts.append(f'<path d="M{x(value):.0f} 20V380" stroke="#ddd"/>')
        parts.append(f'<text x="{x(value):.0f}" y="396" text-anchor="middle">{value:g}</text>')
    for value in _ticks([p[1] for p in points]):
        parts.append(f'<path d="M60 {y(value):.0f}H560" stroke="#ddd"/>')
        parts.append(f'<text x="54" y="{y(value) + 4:.0f}" text-anchor="end">{value:g}</text>')
    for size, accuracy, name in points:
        colour = COLOURS[names.index(name) % len(COLOURS)]
        parts.append(f'<circle cx="{x(size):.1f}" cy="{y(accuracy):.1f}" r="4" fill="{colour}"/>')
    for place, name in enumerate(names):
        colour, top = COLOURS[place % len(COLOURS)], 30 + 22 * place
        parts.append(f'<circle cx="590" cy="{top - 4}" r="4" fill="{colour}"/>')
        parts.append(f'<text x="602" y="{top}">{name}</text>')
    parts.append('<text x="280" y="420">weights, kB</text>')
    parts.append('<text x="4" y="12">test accuracy, %</text></svg>')
    return "\n".join(parts)


def _scale(values: Sequence[float], low: float, high: float) -> Callable[[float], float]:
    span = max(max(values) - min(values), 1e-9)
    least, span = min(values) - 0.04 * span, 1.08 * span
    return lambda v: low + (high - low) * (v - least) / span


def _ticks(values: Sequence[float]) -> list[float]:
    """Round numbers within the values, some five of them."""
    span = max(max(values) - min(values), 1e-9)
    step = min((1, 2, 5, 0.5, 0.2, 0.1, 10), key=lambda size: abs(span / size - 5))
    first = int(np.ceil(min(values) / step))
    return [round(n * step, 6) for n in range(first, int(max(values) / step) + 1)]
