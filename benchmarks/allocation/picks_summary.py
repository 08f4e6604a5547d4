"""What follows from the picks that `benchmarks.picks` measured. Pure.

Differences in points of test accuracy, paired: the same images answer for both sides, and at every
budget. Their 95 % intervals are over the images: what an image says is first averaged over budgets
(and over methods and networks where those are put together). Networks, methods and budgets are
those listed, not a sample of others; neither are the images searched on, of which there is one set.
"""

import itertools
from dataclasses import asdict
from typing import Any

import numpy as np

from benchmarks.allocation.picked import BUDGETS, METHODS, MODELS, RULES, Record
from benchmarks.allocation.picks_promises import failures, first_made, on_halves, total
from benchmarks.allocation.picks_seeds import EVERY, seeds
from qcore.paired import LEVEL
from qcore.problem import Z95

DRAWS = 2000
"""Of points for the intervals of rank correlations, and of images where the truth is known."""

PROMISES = 200
SPLITS = 500
"""Halves drawn for each front beside the 200 promises."""

NEAR = 1.5
"""Points of loss within which tested points are ranked."""


def summary(record: Record) -> dict[str, Any]:
    """Everything that is told; JSON data."""
    return {
        "rules": rules(record),
        "ranks": ranks(record),
        "promises": promises_kept(record),
        "known truth": known_truth(record),
        "seeds": seeds(record),
    }


def mean_interval(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval of the mean of each column over its rows, by the normal distribution.

    Args:
        columns: float (n, k), n in the hundreds or more.

    Returns:
        Lower and upper ends, float64 (k,) each.
    """
    half = Z95 * columns.std(axis=0, ddof=1) / np.sqrt(len(columns))
    return columns.mean(axis=0) - half, columns.mean(axis=0) + half


def rules(record: Record) -> list[dict[str, Any]]:
    """Test loss of the picks by either rule, and what the new rule saves.

    The mean is over the budgets, for "all" over methods and networks too, image by image; its
    interval is over the images.

    Returns:
        For each network and method, and "all" of each: loss of the picks by either rule, points,
        on the test images and as the search split has it; what the new rule saves on the test
        images (positive: it loses less) with its interval; budgets, and at how many picks differ.
    """
    names, saved, facts = [], [], []
    for model, method in itertools.product(MODELS, METHODS):
        reference = record.tests.get((model, 0, "float"))
        tested = [bits for bits in BUDGETS if _both(record, model, method, bits)]
        if reference is None or not tested:
            continue
        rows = np.array([_both(record, model, method, bits) for bits in tested], float)
        picks = [[record.pick(model, 0, method, rule, bits) for rule in RULES] for bits in tested]
        said = np.mean([[pick["accuracy"] for pick in pair if pick] for pair in picks], axis=0)
        names.append((model, method))
        saved.append(100 * (rows[:, 1] - rows[:, 0]).mean(axis=0))
        facts.append(
            {
                "test": 100 * (reference.mean() - rows.mean(axis=(0, 2))),
                "search": 100 * (record.floats.get(model, np.nan) - said),
                "budgets": len(tested),
                "differ": sum(old != new for old, new in picks),
            }
        )
    if not names:
        return []
    groups = [[at] for at in range(len(names))]
    labels = list(names)
    for model in (*dict.fromkeys(model for model, _ in names), EVERY):
        groups.append([at for at, name in enumerate(names) if model in (name[0], EVERY)])
        labels.append((model, EVERY))
    columns = np.array([np.mean([saved[at] for at in group], axis=0) for group in groups]).T
    low, high = mean_interval(columns)
    found = []
    for place, ((model, method), group) in enumerate(zip(labels, groups, strict=True)):
        row: dict[str, Any] = {"model": model, "method": method}
        for split in ("test", "search"):
            row[split] = np.mean([facts[at][split] for at in group], axis=0).tolist()
        row["saved"] = float(columns[:, place].mean())
        row["interval"] = [float(low[place]), float(high[place])]
        for count in ("budgets", "differ"):
            row[count] = sum(facts[at][count] for at in group)
        found.append(row)
    return found


def _both(record: Record, model: str, method: str, bits: float) -> list[np.ndarray]:
    """What the picks of both rules name right; empty where one was not tested."""
    found = [record.right(model, 0, method, rule, bits) for rule in RULES]
    known = [right for right in found if right is not None]
    return known if len(known) == len(found) else []


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation of two vectors; equal values share the mean of their ranks."""
    places = []
    for values in (a, b):
        _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
        places.append((np.cumsum(counts) - (counts - 1) / 2)[inverse])
    if min(np.ptp(each) for each in places) == 0:
        return float("nan")
    return float(np.corrcoef(places[0], places[1])[0, 1])


def ranks(record: Record) -> list[dict[str, Any]]:
    """How test loss ranks with what either rule looks at, over the tested points near the float.

    Returns:
        For each network: points, and the correlation with the loss of search accuracy and with
        search KL, each with its interval over the points; 1 is the same order.
    """
    found = []
    for model in MODELS:
        reference = record.tests.get((model, 0, "float"))
        points = {
            point["digest"]: point
            for method in METHODS
            for point in record.searches.get((model, 0, method), {"points": []})["points"]
            if (model, 0, point["digest"]) in record.tests
        }
        if reference is None or not points:
            continue
        rows = np.array(
            [
                (100 * (reference.mean() - right.mean()), -point["accuracy"], point["kl"])
                for point in points.values()
                for right in [record.tests[model, 0, point["digest"]]]
            ]
        )
        rows = rows[rows[:, 0] < NEAR]
        rng = np.random.default_rng(0)
        row: dict[str, Any] = {"model": model, "points": len(rows)}
        for column, rule in enumerate(RULES, start=1):
            draws = [rows[rng.integers(0, len(rows), len(rows))] for _ in range(DRAWS)]
            values = [spearman(draw[:, 0], draw[:, column]) for draw in draws]
            ends = np.nanquantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
            row[rule] = spearman(rows[:, 0], rows[:, column])
            row[f"{rule} interval"] = ends.tolist()
        found.append(row)
    return found


def fronts_of(record: Record) -> dict[str, dict[str, np.ndarray]]:
    """Network to method to its front, where it was tested."""
    found = {model: {method: record.front(model, method) for method in METHODS} for model in MODELS}
    return {
        model: {method: front for method, front in fronts.items() if len(front)}
        for model, fronts in found.items()
        if any(len(front) for front in fronts.values())
    }


def promises_kept(record: Record) -> dict[str, Any]:
    """The 200 promises, one front after another, and many more of each network."""
    fronts = fronts_of(record)
    flat = [front for each in fronts.values() for front in each.values()]
    found: dict[str, Any] = {}
    if flat:
        found[EVERY] = asdict(first_made(flat, PROMISES, np.random.default_rng(0)))
    for model, each in fronts.items():
        rng = np.random.default_rng(1)
        parts = [total(on_halves(front, SPLITS, rng)) for front in each.values()]
        found[model] = asdict(total(parts))
    return found


def known_truth(record: Record) -> dict[str, Any]:
    """How often promises on 5,000 images fail where what is true is known; see `failures`."""
    found = {}
    for model, fronts in fronts_of(record).items():
        rows = failures(fronts, 5000, DRAWS, np.random.default_rng(2))
        shares = {
            kind: [float(row["share"]) for row in rows if row["kind"] == kind]
            for kind in ("asked", "hardest")
        }
        found[model] = {
            "asked": float(np.mean(shares["asked"])),
            "asked worst": max(shares["asked"]),
            "hardest": float(np.mean(shares["hardest"])) if shares["hardest"] else None,
            "hardest worst": max(shares["hardest"], default=None),
            "limits": len(shares["hardest"]),
        }
    return found
