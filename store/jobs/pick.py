"""The smallest allocation of a model that is shown to lose at most so much: without a browser.

What Explore shows with "Lose at most": per method the points that the test split has seen are
confirmed one after another, from the dearest of the front down (`qcore.paired.confirmed`), and the
promises of all methods hold together with 95 % confidence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qcore.costs import costs_of
from qcore.errors import InvalidParams
from qcore.front import SLACK
from qcore.graded import Graded
from qcore.judges import Judge, Measure, read_judge
from qcore.paired import Paired, against_float, confirmed, one_sided, shared_level
from qcore.problem import Point, Scores
from qcore.run_spec import method_label
from qcore.setting import Setting
from store.database import Store
from store.runs import points, queue
from store.runs.points import StoredPoint

UNITS = ("points", "nats")
"""Loss of the score, percent points of accuracy for classes; or divergence from the float network.

Other judges have their own units for both, as dB; the words on the command line stay these.
"""


@dataclass(frozen=True, slots=True)
class Pick:
    """A method's smallest point that is shown to lose no more than was asked.

    Attributes:
        method: Title of the search, and whether the point was tuned after it.
        stored: The point.
        cost: What it costs, in the unit of the cost that was to be small.
        loss: How its answers on the test samples compare with the float network's; None where
            they cannot lose any of their score.
        bound: What its loss stays below, in the unit that was asked for.
    """

    method: str
    stored: StoredPoint
    cost: int
    loss: Paired | Graded | None
    bound: float


def comparable(store: Store, model: str, runs: Sequence[int] = ()) -> list[queue.Run]:
    """The runs to pick from: those named, or of a model the most that share their images.

    Raises:
        InvalidParams: there are none, or those named were measured on different images.
    """
    known = [run for run in queue.all_runs(store, model=model) if run.evaluations]
    known = [run for run in known if not runs or run.id in runs]
    groups: dict[Setting, list[queue.Run]] = {}
    for run in known:
        groups.setdefault(Setting.of(run.spec).measuring, []).append(run)
    if not groups:
        which = f"runs {', '.join(map(str, runs))}" if runs else "runs"
        raise InvalidParams(
            f"There are no {which} of {model} with points; `python -m store list` lists what is."
        )
    if runs and len(groups) > 1:
        raise InvalidParams(
            "These runs were measured on different samples, or judged otherwise, so their losses "
            "cannot be held against each other; name runs of one data set, of equal numbers of "
            "samples and of one judge."
        )
    return max(groups.values(), key=lambda group: sum(run.evaluations for run in group))


def smallest(
    store: Store,
    runs: Sequence[queue.Run],
    within: float,
    *,
    unit: str = "points",
    cost: str = "weight_bytes",
    limits: Mapping[str, float] | None = None,
) -> list[Pick]:
    """Each method's smallest point that is shown to lose at most so much, the smallest first.

    Args:
        store: The database.
        runs: Of `comparable`.
        within: The loss that is accepted, in `unit`.
        unit: One of UNITS.
        cost: Name of the cost that is to be small.
        limits: Cost name to its limit, for costs that are limited besides.

    Raises:
        InvalidParams: an unknown cost or a loss that is none, or nothing is known of the model.
    """
    model = points.model_facts(store, runs[0].spec.model)
    wrong = [name for name in (cost, *(limits or {})) if name not in store.costs]
    if wrong:
        raise InvalidParams(f"Unknown cost {wrong[0]!r}; known: {', '.join(store.costs)}.")
    if not np.isfinite(within) or within < 0:
        raise InvalidParams(f"A loss that is accepted is a number from 0 up; got {within}.")
    if model is None:
        raise InvalidParams(f"Nothing is known of {runs[0].spec.model}'s layers; search it first.")
    measured = read_judge(runs[0].spec.judge)
    images = runs[0].spec.images
    float_point = points.float_point(store, model.name, images, measured)
    reference = None if float_point is None else float_point.test
    by_id = {run.id: run for run in runs}
    _check_unit(measured, unit, float_point)
    methods: dict[str, list[StoredPoint]] = {}
    for stored in points.points_of(store, sorted(by_id)):
        if set(stored.point.allocation) == set(model.names):
            spec = by_id[stored.run_id].spec
            stage = stored.point.stage
            name = method_label(spec.search, stage, spec.objective, bool(spec.rules))
            methods.setdefault(name, []).append(stored)
    level, found = shared_level(len(methods)), []
    for name, mine in methods.items():
        prices = [
            costs_of(by_id[stored.run_id].spec.priced(model), stored.point.allocation, store.costs)
            for stored in mine
        ]
        pairs = [_paired(stored.point.test, reference, measured) for stored in mine]
        bounds = np.array(
            [_bound(s.point.test, pair, unit, level) for s, pair in zip(mine, pairs, strict=True)]
        )
        values = [s.point.search.value(by_id[s.run_id].spec.objective) for s in mine]
        places, promised = confirmed([float(p[cost]) for p in prices], values, bounds)
        for place, bound in reversed(list(zip(places, promised, strict=True))):
            fits = all(prices[place][n] <= v * (1 + SLACK) for n, v in (limits or {}).items())
            loss = pairs[place]
            if bound <= within * (1 + SLACK) and fits:
                found.append(Pick(name, mine[place], prices[place][cost], loss, bound))
                break
    return sorted(found, key=lambda pick: pick.cost)


def measure_of(judge: Judge, scores: Scores) -> Measure:
    """What a score is: the judge's on labels, else likeness to the float network."""
    return judge.match if scores.accuracy is None else judge.score


def _check_unit(judge: Judge, unit: str, float_point: Point | None) -> None:
    if unit != "points" or float_point is None or judge.hits:
        return
    measure = measure_of(judge, float_point.search)
    if float_point.search.accuracy is None and not measure.share:
        raise InvalidParams(
            f"Without labels the {measure.name} of the float network with itself has no end, so "
            f"none of it is lost; give --unit nats, which limits the {judge.divergence_name}."
        )


def _paired(
    scores: Scores | None, reference: Scores | None, judge: Judge
) -> Paired | Graded | None:
    if scores is None:
        return None
    return against_float(scores, reference, measure_of(judge, scores).factor)


def _bound(scores: Scores | None, pair: Paired | Graded | None, unit: str, level: float) -> float:
    if scores is None:
        return float("nan")
    if unit == "points":
        return float("nan") if pair is None else pair.bound(level)
    error = float("nan") if scores.kl_error is None else scores.kl_error
    return scores.kl + one_sided(level) * error
