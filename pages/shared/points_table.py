"""The table of measured points: one row per distinct one, with losses, bits and costs. Pure.

Every number's column says its unit. Costs are kept in base units (B, bit-ops) so that they stay
exact; `frames.scaled` turns them into what a reader wants to see.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from pages.shared.columns import (
    ACTIVATION_BITS,
    LOSSES,
    POINT_COLUMNS,
    SEARCH_LOSS,
    TEST_DIVERGENCE,
    TEST_DIVERGENCE_ERROR,
    TEST_GAINED,
    TEST_LOSS_ERROR,
    TEST_LOST,
    WEIGHT_BITS,
    column_of,
)
from pages.shared.judged import words_of
from qcore.allocation import (
    BitAllocation,
    ModelSpec,
    stored_bits,
    stored_matrix,
)
from qcore.costs import COSTS, applicable, costs_of, costs_of_many, mean_weight_bits
from qcore.costs.formulas import CostModel
from qcore.costs.price_table import bits_matrices
from qcore.graded import Graded
from qcore.paired import Paired, against_float, loss_intervals
from qcore.problem import PTQ, TUNED, Point, Scores
from qcore.run_spec import method_label
from qcore.searches import SEARCHES
from store import Run, StoredPoint


def points_frame(
    points: Iterable[StoredPoint],
    runs: Mapping[int, Run],
    model: ModelSpec,
    costs: Mapping[str, CostModel] = COSTS,
    floats: tuple[Scores | None, Scores | None] = (None, None),
    aim: str = "",
) -> pd.DataFrame:
    """One row per distinct (method, weights stage, allocation).

    Two methods that found the same allocation share its test scores and its configuration: they
    were measured with the same weights on the same images.

    Args:
        points: Stored points of `runs`, all of one setting; those that do not name exactly the
            model's layers are left out.
        runs: Run id to run.
        model: The model all points belong to.
        costs: What they are priced by.
        floats: The float network's scores on the search and on the test split, where known.
        aim: Objective that all points are judged by; "" is that of each point's own run.

    Returns:
        Columns: point, run, method, stage, digest, allocation, config_point (id of the point whose
        configuration can be taken away, or -1), whether weights were trained, the objective and
        its value, scores and losses against the float network, mean bits and one column per cost
        that all of these points have; in order of method, then point.
    """
    usable = fitting(points, model)
    kept: dict[tuple[str, tuple[str, str]], StoredPoint] = {}
    tested: dict[tuple[str, str], Scores] = {}
    ready: dict[tuple[str, str], int] = {}
    for stored in usable:
        key = stored.point.stage, stored.point.allocation.digest
        spec = runs[stored.run_id].spec
        label = method_label(
            spec.search, key[0], _aim(spec.objective, stored.point), bool(spec.rules)
        )
        kept[label, key] = stored
        if stored.point.test is not None:
            tested[key] = stored.point.test
        if stored.has_config:
            ready[key] = stored.id
    places = {search.title: place for place, search in enumerate(SEARCHES.values())}
    order = sorted(
        kept, key=lambda item: (places.get(item[0].split(",")[0], 99), item[0], kept[item].id)
    )
    rows, factors = [], []
    for method, key in order:
        stored = kept[method, key]
        point = stored.point
        spec = runs[stored.run_id].spec
        head = (stored.id, stored.run_id, method, *key, point.allocation, ready.get(key, -1))
        objective = aim or spec.objective
        judged = (_aim(objective, point), point.search.value(objective))
        trained = point.stage not in (PTQ, TUNED)
        factor = words_of(spec.judge, [stored]).factor
        scores = (*_scores(point.search, factor), *_scores(tested.get(key), factor))
        factors.append(factor)
        rows.append((*head, trained, *judged, *scores))
    if not rows:
        return with_costs([], POINT_COLUMNS, model, costs)
    columns = POINT_COLUMNS[: POINT_COLUMNS.index(SEARCH_LOSS)]
    out = pd.DataFrame(rows, columns=list(columns))
    searched = [kept[each].point.search for each in order]
    looked_at = [tested.get(key) for _, key in order]
    return out.assign(
        **_losses(searched, floats[0], factors, LOSSES["search split"]),
        **_losses(looked_at, floats[1], factors, LOSSES["test split"], (TEST_LOST, TEST_GAINED)),
        **_divergences(looked_at, factors),
        **_priced(out, runs, model, costs),
    )


def _priced(
    rows: pd.DataFrame,
    runs: Mapping[int, Run],
    model: ModelSpec,
    costs: Mapping[str, CostModel],
) -> dict[str, np.ndarray]:
    """`facts_of_all`, each point as its run's rules count shared tensors."""
    allocations = rows["allocation"].tolist()
    ruled = [any(rule.tie for rule in runs[run].spec.rules) for run in rows["run"]]
    if not any(ruled):
        return facts_of_all(allocations, model, costs)
    parts: dict[str, np.ndarray] = {}
    for run in dict.fromkeys(rows["run"]):
        at = np.flatnonzero(rows["run"] == run)
        mine = runs[run].spec.priced(model)
        for name, values in facts_of_all([allocations[i] for i in at], mine, costs).items():
            parts.setdefault(name, np.full(len(rows), np.nan))[at] = values
    return parts


def _aim(objective: str, point: Point) -> str:
    """What a point is judged by: the objective, where its images allow it."""
    return "loss" if objective == "loss" and point.search.loss is not None else "kl"


def _losses(
    scores: Sequence[Scores | None],
    reference: Scores | None,
    factors: Sequence[float],
    columns: tuple[str, str, str],
    counted: tuple[str, ...] = (),
) -> dict[str, np.ndarray]:
    """Losses against the float network with their intervals; NaN where they are not known."""
    pairs = [
        None if each is None else against_float(each, reference, factor)
        for each, factor in zip(scores, factors, strict=True)
    ]
    known = [at for at, pair in enumerate(pairs) if isinstance(pair, Paired)]
    rows = [(p.n, p.lost, p.gained) for p in pairs if isinstance(p, Paired)]
    n, lost, gained = np.array(rows, np.float64).reshape(-1, 3).T
    found = [100 * (lost - gained) / np.maximum(n, 1), *loss_intervals(n, lost, gained)]
    table = {name: np.full(len(pairs), np.nan) for name in (*columns, *counted)}
    for name, values in zip(table, (*found, lost, gained), strict=False):
        table[name][known] = values
    for at, pair in enumerate(pairs):
        if isinstance(pair, Graded):
            for name, value in zip(columns, (pair.points, *pair.interval), strict=True):
                table[name][at] = value
    return table


def _divergences(
    scores: Sequence[Scores | None], factors: Sequence[float]
) -> dict[str, list[float]]:
    """Divergence on the test split and standard errors, of graded losses too; NaN where unknown."""
    errors = [None if each is None else each.kl_error for each in scores]
    changes = [None if each is None else each.change_error for each in scores]
    graded = zip(changes, factors, strict=True)
    return {
        TEST_DIVERGENCE: [np.nan if each is None else each.kl for each in scores],
        TEST_DIVERGENCE_ERROR: [np.nan if each is None else each for each in errors],
        TEST_LOSS_ERROR: [np.nan if each is None else factor * each for each, factor in graded],
    }


def fitting(points: Iterable[StoredPoint], model: ModelSpec) -> list[StoredPoint]:
    """The points that can be compared: of exactly this model's layers, on the whole split."""
    names = set(model.names)
    return [
        stored
        for stored in points
        if stored.point.images is None and set(stored.point.allocation) == names
    ]


def with_costs(
    rows: Sequence[Mapping[str, object]],
    columns: Sequence[str],
    model: ModelSpec,
    costs: Mapping[str, CostModel] = COSTS,
) -> pd.DataFrame:
    """A table of rows with `allocation_facts`: these columns, then the costs that all rows have.

    Without rows there are the columns of all costs that apply to the model.
    """
    priced = [column_of(cost) for cost in applicable(model, costs).values()]
    kept = [column for column in priced if all(column in row for row in rows)]
    return pd.DataFrame(list(rows), columns=[*columns, *kept])


def _scores(scores: Scores | None, factor: float) -> tuple[float, float, float, float]:
    if scores is None:
        return (np.nan,) * 4
    low, high = scores.interval
    return factor * scores.headline, factor * low, factor * high, scores.n


def allocation_facts(
    allocation: BitAllocation, model: ModelSpec, costs: Mapping[str, CostModel] = COSTS
) -> dict[str, float]:
    """Mean bits and every cost that an allocation has, by column name.

    Weight bits are averaged over weights, activation bits over input elements.
    """
    inputs = sum(layer.inputs for layer in model.layers)
    bits = sum(x.inputs * stored_bits(allocation[x.name].activation) for x in model.layers)
    priced = costs_of(model, allocation, costs)
    return {
        WEIGHT_BITS: mean_weight_bits(model, allocation),
        ACTIVATION_BITS: bits / max(1, inputs),
        **{column_of(costs[name]): value for name, value in priced.items()},
    }


def facts_of_all(
    allocations: Sequence[BitAllocation],
    model: ModelSpec,
    costs: Mapping[str, CostModel] = COSTS,
) -> dict[str, np.ndarray]:
    """`allocation_facts` of many allocations at once; the costs that all of them have."""
    weight, activation = bits_matrices(model.layers, allocations)
    weights = np.array([layer.weights for layer in model.layers], np.int64)
    inputs = np.array([layer.inputs for layer in model.layers], np.int64)
    priced = costs_of_many(model, weight, activation, costs)
    return {
        WEIGHT_BITS: stored_matrix(weight) @ weights / max(1, int(weights.sum())),
        ACTIVATION_BITS: stored_matrix(activation) @ inputs / max(1, int(inputs.sum())),
        **{column_of(costs[name]): values for name, values in priced.items()},
    }
