"""Tidy tables of what was measured and predicted. Pure: stored facts in, DataFrames out.

Every number's column says its unit. Costs are kept in base units (B, bit-ops) so that they stay
exact; `scaled` turns them into what a reader wants to see.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pages.shared.columns import (
    ACTIVATION_BITS,
    LOSSES,
    OBJECTIVE,
    SEARCH_N,
    SEARCH_SCORE,
    SMALLER,
    SPLITS,
    TEST_N,
    WEIGHT_BITS,
    column_of,
    cost_columns,
)
from pages.shared.judged import CLASSIFIER, Words, words_of
from pages.shared.points_table import fitting
from pages.shared.text import mean_text, scale_of
from qcore.allocation import BitAllocation, ModelSpec, width_text
from qcore.costs import COSTS, costs_of, costs_of_many
from qcore.costs.budget import Budget
from qcore.costs.formulas import CostModel
from qcore.costs.price_table import bits_matrices
from qcore.costs.smaller import smaller_text
from qcore.front import best_within, front_points
from qcore.problem import TUNED, Scores
from store import Run, StoredPoint


def picks(
    frame: pd.DataFrame,
    limits: Mapping[str, float],
    value: str = OBJECTIVE,
    costs: Mapping[str, CostModel] = COSTS,
) -> pd.DataFrame:
    """The best row of each method within the budget, by the one picking rule of `qcore.front`.

    Args:
        frame: Table with "method", the cost columns and the value's column.
        limits: Cost name to its limit, in the cost's unit; nothing fits a limit on a cost that the
            table does not have.
        value: Column to rank by, lower is better: OBJECTIVE, or DAMAGE.
        costs: The costs there are.

    Returns:
        Rows of `frame`, at most one per method, in the order methods appear.
    """
    chosen: list[int] = []
    columns = cost_columns(costs, frame)
    if not set(limits) <= set(columns):
        return frame.iloc[:0].reset_index(drop=True)
    for _, rows in frame.groupby("method", sort=False):
        priced = {name: rows[column].tolist() for name, column in columns.items()}
        best = best_within(priced, rows[value].tolist(), limits)
        if best is not None:
            chosen.append(int(rows.index[best]))
    return frame.loc[chosen].reset_index(drop=True)


def front_of(rows: pd.DataFrame, cost: CostModel, value: str = OBJECTIVE) -> pd.DataFrame:
    """Rows on the front of a value (OBJECTIVE or DAMAGE) against a cost, by rising cost."""
    return rows.iloc[front_points(rows[column_of(cost)].tolist(), rows[value].tolist())]


def thin(frame: pd.DataFrame, most: int = 5000) -> pd.DataFrame:
    """At most this many rows, drawn with a fixed seed, so that a plot stays quick."""
    return frame if len(frame) <= most else frame.sample(most, random_state=0).sort_index()


def bits_frame(chosen: pd.DataFrame, model: ModelSpec) -> pd.DataFrame:
    """One row per (method, weights or activations, layer) of the chosen allocations.

    Returns:
        Columns: method, part ("weights" or "activations"), layer, position (1-based, execution
        order), bits, kind, "Weights, elements", "MACs per sample", "Bytes, B": of the weights,
        or of one sample's input activation.
    """
    columns = ["method", "part", "layer", "position", "bits", "kind"]
    facts = ["Weights, elements", "MACs per sample", "Bytes, B"]
    rows = []
    for method, allocation in zip(chosen["method"], chosen["allocation"], strict=True):
        for position, layer in enumerate(model.layers, start=1):
            bits = allocation[layer.name]
            for part, cost, width in (
                ("weights", "weight_bytes", bits.weight),
                ("activations", "activation_bytes_sum", bits.activation),
            ):
                size = COSTS[cost].layer_cost(layer, bits)
                head = (method, part, layer.name, position, width, layer.kind)
                rows.append((*head, layer.weights, layer.macs, size))
    return pd.DataFrame(rows, columns=[*columns, *facts])


def layers_frame(allocation: BitAllocation, model: ModelSpec) -> pd.DataFrame:
    """The allocation as a table a person reads: one row per layer."""
    rows = []
    total = costs_of(model, allocation)
    for layer in model.layers:
        bits = allocation[layer.name]
        size = COSTS["weight_bytes"].layer_cost(layer, bits)
        ops = COSTS["bit_ops"].layer_cost(layer, bits)
        rows.append(
            {
                "Layer": layer.name,
                "Kind": layer.kind,
                "Weight bits": width_text(bits.weight),
                "Activation bits": width_text(bits.activation),
                "Weights, elements": layer.weights,
                "Weights, B": size,
                "Share of weights, %": round(100 * size / max(1, total["weight_bytes"]), 1),
                "Compute, bit-ops": ops,
                "Share of compute, %": round(100 * ops / max(1, total["bit_ops"]), 1),
            }
        )
    return pd.DataFrame(rows)


def scaled(frame: pd.DataFrame, costs: Mapping[str, CostModel] = COSTS) -> pd.DataFrame:
    """Return the frame with the columns of these costs in readable units, renamed to say so."""
    out = frame.copy()
    for cost in costs.values():
        column = column_of(cost)
        if column in out and len(out):
            factor, unit = scale_of(cost, float(out[column].max()))
            out[column] = (out[column] / factor).round(2)
            out = out.rename(columns={column: f"{cost.title}, {unit}"})
    return out


def picks_table(
    chosen: pd.DataFrame,
    words: Words = CLASSIFIER,
    costs: Mapping[str, CostModel] = COSTS,
    model: ModelSpec | None = None,
) -> pd.DataFrame:
    """What stands under the front: method, score with its 95 % interval, costs.

    Each split has its own column, for figures of one are never held against those of another; the
    test split's is empty for points that were not reported.

    Args:
        chosen: Rows of `points_frame`.
        words: What figures are called.
        costs: The costs there are.
        model: The network, for how many times smaller its weights are; None leaves that out.
    """
    rows = []
    size = COSTS["weight_bytes"]
    for row in chosen.to_dict("records"):
        lost = {f"Lost against float, {words.lost}": _loss_text(row)} if words.has_loss else {}
        scores = {
            f"{words.title}, {split}, {words.symbol}": _score_text(row, *columns)
            for split, columns in SPLITS.items()
        }
        rows.append(
            {
                "Method": row["method"],
                **lost,
                **scores,
                **{name: mean_text(row[name]) for name in (WEIGHT_BITS, ACTIVATION_BITS)},
                **({SMALLER: smaller_text(size, model, row[column_of(size)])} if model else {}),
                **{column: row[column] for column in cost_columns(costs, chosen).values()},
                "Run": row["run"],
            }
        )
    return scaled(pd.DataFrame(rows), costs)


def _score_text(row: Mapping[str, Any], score: str, low: str, high: str) -> str:
    return f"{row[score]:.2f} ({row[low]:.1f} to {row[high]:.1f})" if pd.notna(row[score]) else ""


def _loss_text(row: Mapping[str, Any]) -> str:
    for split, (lost, low, high) in LOSSES.items():
        if pd.notna(row[lost]):
            return f"{row[lost]:.2f} ({row[low]:.2f} to {row[high]:.2f}), {split}"
    return "not known"


def splits_words(chosen: pd.DataFrame, words: Words = CLASSIFIER) -> str:
    """Say how many samples each split of `picks_table` has, and when the test split is read."""
    parts = ["Brackets hold 95 % intervals."]
    for name, column in (("search", SEARCH_N), ("test", TEST_N)):
        counts = sorted({int(n) for n in chosen[column].dropna()})
        if counts:
            many = " or ".join(f"{n:,}" for n in counts)
            parts.append(f"The {name} split has {many} {words.samples}.")
    if chosen[TEST_N].isna().any():
        parts.append(
            f"Test {words.samples} are looked at for reported points only; the cells of others are "
            "empty."
        )
    return " ".join(parts)


def budget_of(run: Run, costs: Mapping[str, CostModel] = COSTS) -> Budget:
    """A run's budget without limits on costs that are no longer there."""
    return Budget({name: limit for name, limit in run.spec.limits.items() if name in costs}, costs)


def _admitted(points: Sequence[StoredPoint], model: ModelSpec, budget: Budget) -> list[bool]:
    """Which points are within a budget; each of exactly the model's layers."""
    allocations = [stored.point.allocation for stored in points]
    if not budget.limits or not allocations:
        return [True] * len(allocations)
    weight, activation = bits_matrices(model.layers, allocations)
    priced = costs_of_many(model, weight, activation, budget.costs)
    if not set(budget.limits) <= set(priced):  # a table has no row for some of them
        return [budget.admits(costs_of(model, one, budget.costs)) for one in allocations]
    fits = np.all([priced[name] <= limit for name, limit in budget.limits.items()], axis=0)
    return [bool(each) for each in fits]


def history_frame(
    points: Sequence[StoredPoint],
    run: Run,
    model: ModelSpec,
    costs: Mapping[str, CostModel] = COSTS,
) -> pd.DataFrame:
    """How a run got better: one row per evaluation, in order; tuned copies are left out.

    Returns:
        Columns: "Evaluation", SEARCH_SCORE, "Within budget", "Best so far, %": the score of the
        best by the run's objective (None until a point fits the budget).
    """
    rows: list[tuple[int, float, bool, float | None]] = []
    best: float | None = None
    least = np.inf
    measured = [p for p in fitting(points, model) if p.point.stage != TUNED]
    admitted = _admitted(measured, model, budget_of(run, costs))
    factor = words_of(run.spec.judge, measured).factor
    for count, (stored, fits) in enumerate(zip(measured, admitted, strict=True), start=1):
        scores = stored.point.search
        score, value = factor * scores.headline, scores.value(run.spec.objective)
        if fits and value < least:
            best, least = score, value
        rows.append((count, score, fits, best))
    return pd.DataFrame(
        rows, columns=["Evaluation", SEARCH_SCORE, "Within budget", "Best so far, %"]
    )


def best_scores(
    points: Iterable[StoredPoint],
    run: Run,
    model: ModelSpec,
    costs: Mapping[str, CostModel] = COSTS,
) -> Scores | None:
    """Search-split scores of a run's best point by its objective within its budget, or None."""
    usable = fitting(points, model)
    admitted = _admitted(usable, model, budget_of(run, costs))
    inside = [stored.point for stored, fits in zip(usable, admitted, strict=True) if fits]
    best = min(inside, key=lambda point: point.search.value(run.spec.objective), default=None)
    return None if best is None else best.search
