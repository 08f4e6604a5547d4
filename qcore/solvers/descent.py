"""Greedy descent: from the most bits, lower the layer that loses least per unit saved."""

from collections.abc import Sequence

import numpy as np

from qcore.solvers.space import Space


def descend(space: Space, scores: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Walk down from the least predicted damage, by the step of least damage per cost saved.

    What a step must save is the first cost still above its limit, or else the primary cost.

    Returns:
        The choices passed, dearest first, until no layer can be lowered any more.
    """
    choice = np.array(
        [
            min(range(len(row)), key=lambda o: (row[o], -int(price[o, 0])))
            for row, price in zip(scores, space.prices, strict=True)
        ]
    )
    path = [choice]
    while True:
        over = np.flatnonzero(space.price(choice) > space.limits)
        for cost in [*over.tolist(), 0]:
            step = _best_step(space, scores, choice, cost)
            if step is not None:
                break
        else:
            return path
        choice = choice.copy()
        choice[step[0]] = step[1]
        path.append(choice)


def _best_step(
    space: Space, scores: Sequence[np.ndarray], choice: np.ndarray, cost: int
) -> tuple[int, int] | None:
    best, lowest = None, np.inf
    for layer, (row, price) in enumerate(zip(scores, space.prices, strict=True)):
        now = choice[layer]
        for to in range(len(row)):
            saved = int(price[now, cost] - price[to, cost])
            # raising another cost could undo an earlier step, and the walk might never end
            if saved <= 0 or (price[to] > price[now]).any():
                continue
            rate = float(row[to] - row[now]) / saved
            if rate < lowest:
                best, lowest = (layer, to), rate
    return best
