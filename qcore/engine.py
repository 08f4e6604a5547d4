"""Drives a search: scores what it asks for, reports every event, keeps the limits, obeys stop.

Torch-free and database-free: scoring is a callable, and whoever drives passes closures for events
and stopping. Given the points of an earlier attempt it replays them instead of scoring again, so
running the generator anew from its seed brings a search back to where it was.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qcore.allocation import BitAllocation
from qcore.costs import applicable, costs_of
from qcore.errors import InfeasibleBudget, InvalidParams
from qcore.front import front_points
from qcore.problem import Ask, Point, PointKey, Problem, Progress, Window, window_key
from qcore.search import Search


@dataclass(frozen=True, slots=True)
class Reported:
    """A front point after its one look at the test split."""

    point: Point


Event = Point | Progress | Reported

Score = Callable[[Sequence[BitAllocation], str, Window | None], Iterable[Point]]
"""(allocations, weights stage, window of the search split) -> their points, in order."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a finished search leaves.

    Attributes:
        points: Every distinct point in the order it was first asked for.
        reported: Points of the accuracy-cost fronts, with their test scores.
        evaluations: Points really scored here (neither cached nor replayed).
        stopped: True when should_stop or max_evaluations ended it early.
    """

    points: tuple[Point, ...]
    reported: tuple[Point, ...]
    evaluations: int
    stopped: bool


def drive(
    search: Search,
    problem: Problem,
    params: Any,
    seed: int,
    *,
    score: Score,
    report: Callable[[Point], Point] | None = None,
    known: Iterable[Point] = (),
    on_event: Callable[[Event], None] = lambda event: None,
    should_stop: Callable[[], bool] = lambda: False,
    max_evaluations: int | None = None,
    max_reported: int = 24,
) -> Outcome:
    """Run a search to its end.

    Args:
        search: Entry of SEARCHES.
        problem: The problem; its budget must be feasible.
        params: Instance of `search.params`.
        seed: Seed of the generator handed to the search; same seed, same points.
        score: Scores allocations with the weights of a stage on a window of the search split, one
            point each, in order; may be lazy, so that each point is reported as it comes.
        report: Adds test scores to a point; called once for each point reported.
        known: Points of an earlier attempt; they answer asks instead of `score`.
        on_event: Called with each new point, each progress and each reported point.
        should_stop: Asked before every evaluation.
        max_evaluations: Most evaluations, or None.
        max_reported: Most points reported, spread evenly along the front.

    Returns:
        The outcome; a search out of evaluations still reports its front, one told to stop does not.

    Raises:
        InfeasibleBudget: the budget is below the smallest allocation, or a result is over it.
        InvalidAllocation: the search asked for bits the problem does not allow.
        InvalidParams: params are not of the search's params class, it cannot obey the limits, or
            it trains and the problem has no trainer.
    """
    if not isinstance(params, search.params):
        raise InvalidParams(f"{search.name} needs {search.params.__name__}; got {params!r}.")
    if search.trains:
        problem.needed_trainer()
    search.check_limits(problem.budget)
    problem.budget.check_feasible(problem.model, problem.options)
    cache = {point.key: point for point in known}
    points: dict[PointKey, Point] = {}
    evaluations, stopped = 0, False
    last = Progress(0, 0)

    def may_go_on() -> bool:
        spent = max_evaluations is not None and evaluations >= max_evaluations
        return not spent and not should_stop()

    proposals = search.run(problem, params, np.random.default_rng(seed))
    answer: list[Point] | None = None
    while not stopped:
        try:
            request = proposals.send(answer)
        except StopIteration:
            break
        answer = None
        if isinstance(request, Progress):
            last = request
            on_event(request)
            stopped = should_stop()
            continue
        asked = [(a, _key(request, a)) for a in request.allocations]
        todo = list({key: a for a, key in asked}.values())
        for allocation in todo:
            problem.check(allocation)
            if request.results and not problem.admits(allocation):
                raise InfeasibleBudget(
                    f"The allocation found is over the budget of {dict(problem.budget.limits)}; "
                    "this is an error in the cost models."
                )
        todo = [a for a in todo if _key(request, a) not in cache]
        if todo and not may_go_on():
            stopped = True
            break
        for point in score(todo, request.stage, request.images) if todo else ():
            cache[point.key] = point
            evaluations += 1
            on_event(point)
            if len(todo) > 1 and not may_go_on():
                break
        for _, key in asked:
            if key in cache:
                points.setdefault(key, cache[key])
        if any(key not in cache for _, key in asked):
            stopped = True
            break
        answer = [cache[key] for _, key in asked]
    proposals.close()
    reported = []
    if report is not None:
        members = front_to_report(problem, tuple(points.values()), max_reported)
        for place, point in enumerate(members, start=1):
            if should_stop():
                stopped = True
                break
            words = f"testing {place} of {len(members)} points"
            on_event(Progress(last.step, last.total, words))
            measured = report(point)
            reported.append(measured)
            on_event(Reported(measured))
    return Outcome(tuple(points.values()), tuple(reported), evaluations, stopped)


def _key(request: Ask, allocation: BitAllocation) -> PointKey:
    return request.stage, window_key(request.images), allocation.digest


def front_to_report(problem: Problem, points: Sequence[Point], most: int) -> list[Point]:
    """Choose the points worth a look at the test split.

    The members of the fronts of the objective against every cost that is `tested` (the bytes of
    the weights, and operations where activations are quantized), within the budget: so they are
    the picks at the fronts' own costs. At most `most`: the front of the first cost before those of
    others, and one that does not fit spread evenly, its ends kept. Scores on a window of the search
    split cannot be compared with each other and take no part.
    """
    inside = [p for p in points if p.images is None and problem.admits(p.allocation)]
    inputs = any(bits.activation != 32 for row in problem.options.values() for bits in row)
    wanted = ("always", "inputs") if inputs else ("always",)
    names = [name for name, cost in applicable(problem.model).items() if cost.tested in wanted]
    chosen: dict[PointKey, Point] = {}
    for name in names:
        costs = [float(costs_of(problem.model, p.allocation, problem.costs)[name]) for p in inside]
        values = [problem.value(p) for p in inside]
        front = [inside[at] for at in front_points(costs, values)]
        new = [point for point in front if point.key not in chosen]
        room = most - len(chosen)
        if len(new) > room:
            kept = sorted({round(i) for i in np.linspace(0, len(new) - 1, room)})
            new = [new[at] for at in kept]
        chosen |= {point.key: point for point in new}
    return list(chosen.values())
