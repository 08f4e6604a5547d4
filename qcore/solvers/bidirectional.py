"""Bidirectional greedy: one layer one rung up or down at a time, by measured error and cost.

    score of a move = 1.5 * error + cost,   each scaled to 0..1 over the moves of a step

Starting from the middle rung everywhere, the move of least score is taken until the limit is met;
then down to the next limit. Moves up let a layer that was lowered too early recover.

Reference: Tang et al., Retraining-free Model Quantization via One-Shot Weight-Coupling Learning,
CVPR 2024 (RFQuant): the score, its 1.5, and the start.
Differs from the paper: a layer's weights and inputs move together; norms are as trained instead of
on the statistics of the batch; a step's moves are scored on one window of images, as there, and no
allocation is visited twice, so that it always ends.
"""

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np

from qcore.problem import Ask, Point, Problem, Progress, Window
from qcore.solvers.space import Space

ERROR_WEIGHT = 1.5

Walking = Generator[Ask | Progress, list[Point] | None, list[np.ndarray]]


def walk(
    problem: Problem,
    space: Space,
    stage: str,
    levels: Sequence[np.ndarray],
    evaluations: int,
    window: Window | None,
    *,
    step: int,
    total: int,
) -> Walking:
    """Walk down through the levels; use with `yield from`.

    Args:
        problem: What a point is worth.
        space: Choices and their prices.
        stage: The weights.
        levels: Limits on the price, dearest first.
        evaluations: Most moves scored.
        window: Images the moves are scored on.
        step: Steps of the caller's Progress already done.
        total: Steps of the caller's Progress in all.

    Returns:
        The first choice met within each level that was reached.
    """
    here = space.nearest(
        {
            name: rungs[(len(rungs) - 1) // 2]
            for decision in space.decisions
            for place, name in enumerate(decision.layers)
            if (rungs := decision.rungs(place))
        }
    )
    waiting, found, spent = list(levels), [], 0
    visited = {tuple(here.tolist())}
    while waiting:
        if (space.price(here) <= waiting[0]).all():
            waiting.pop(0)
            found.append(here)
            continue
        moves = [m for m in _moves(space, here) if tuple(m.tolist()) not in visited]
        if not moves or spent + len(moves) > evaluations:
            break
        message = f"bidirectional greedy: {len(visited)} moves, {len(found)} limits met"
        yield Progress(step + spent, total, message)
        allocations = tuple(space.allocation(move) for move in moves)
        answer = yield Ask(allocations, stage, window)
        spent += len(moves)
        errors = np.array([problem.value(point) for point in answer or ()])
        errors[~np.isfinite(errors)] = np.inf
        prices = np.array([space.price(move)[0] for move in moves], dtype=float)
        here = moves[int(np.argmin(ERROR_WEIGHT * _scaled(errors) + _scaled(prices)))]
        visited.add(tuple(here.tolist()))
    return found


def _moves(space: Space, choice: np.ndarray) -> list[np.ndarray]:
    moves = []
    for at, decision in enumerate(space.decisions):
        for option in decision.neighbours(int(choice[at])):
            moved: Any = choice.copy()
            moved[at] = option
            moves.append(moved)
    return moves


def _scaled(values: np.ndarray) -> np.ndarray:
    finite = values[np.isfinite(values)]
    low = finite.min(initial=np.inf)
    reach = max(float(finite.max(initial=-np.inf) - low), 1e-12) if len(finite) else 1.0
    return np.asarray((values - low) / reach if len(finite) else np.zeros_like(values))
