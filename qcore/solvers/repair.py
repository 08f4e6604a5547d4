"""Brings a choice within the limits by small random steps. Torch-free.

It always ends, and always within the limits, whatever the costs: every step lowers the excess,
and where none does, decisions move one by one to a choice known to fit.
"""

from dataclasses import dataclass

import numpy as np

from qcore.solvers.genes import Genes, genes_of
from qcore.solvers.space import Space


@dataclass(frozen=True)
class Repair:
    """What repairing needs, computed once.

    Attributes:
        space: The space, with its limits.
        first: Row of each decision's first option, shape (decisions,).
        owner: Decision of each row, shape (rows,).
        prices: Prices of all options of all decisions one below the other, shape (rows, costs).
        ranks: Index of each row's widths on its decision's ladders, zeros behind them, shape
            (rows, most variables).
        haven: A choice within the limits.
    """

    space: Space
    first: np.ndarray
    owner: np.ndarray
    prices: np.ndarray
    ranks: np.ndarray
    haven: np.ndarray

    def excess(self, spent: np.ndarray) -> np.ndarray:
        """Relative overshoot summed over costs; `spent` is (..., costs), the result (...)."""
        limits = self.space.limits
        over = np.maximum(spent - limits, 0.0) / np.maximum(np.abs(limits), 1.0)
        return np.asarray(np.where(np.isfinite(limits), over, 0.0).sum(axis=-1))

    def within(self, choice: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the choice itself if it fits, else a near one that does.

        Step by step a decision takes its nearest option that lowers the excess, each such step with
        a chance in proportion to the excess it removes. On synthetic problems of 20 tensors that
        beat equal chances and always taking the largest step at 300 and at 1,000 evaluations, and
        raising other layers afterwards to use up what is left made it worse.
        """
        rows = self.first + choice
        while (now := self.excess(self.prices[rows].sum(axis=0))) > 0:
            spent = self.prices[rows].sum(axis=0)
            gain = now - self.excess(spent + self.prices - self.prices[rows][self.owner])
            steps = np.abs(self.ranks - self.ranks[rows][self.owner]).sum(axis=1).astype(float)
            steps[gain <= 0] = np.inf
            nearest = np.minimum.reduceat(steps, self.first)[self.owner]
            moves = np.flatnonzero(np.isfinite(steps) & (steps == nearest))
            if not len(moves):
                return self._to_haven(rows, rng)
            move = rng.choice(moves, p=gain[moves] / gain[moves].sum())
            rows[self.owner[move]] = move
        return np.asarray(rows - self.first)

    def _to_haven(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        for at in rng.permutation(len(rows)):
            if self.excess(self.prices[rows].sum(axis=0)) == 0:
                break
            rows[at] = self.first[at] + self.haven[at]
        return np.asarray(rows - self.first)


def repair_of(space: Space) -> Repair:
    """Prepare repairing in a space.

    Raises:
        InfeasibleBudget: nothing meets all limits at once.
    """
    sizes, ranks = space.sizes, genes_of(space).ranks
    widest = max(row.shape[1] for row in ranks)
    return Repair(
        space,
        np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64),
        np.repeat(np.arange(len(sizes)), sizes),
        np.concatenate(space.prices),
        np.concatenate([np.pad(row, ((0, 0), (0, widest - row.shape[1]))) for row in ranks]),
        fitting(space),
    )


def fitting(space: Space) -> np.ndarray:
    """Find a choice within the limits, for any number of summed costs.

    One by one, the sums that some choice so far can reach, without those that cost no less
    than another in everything and those that the cheapest rest would carry over a limit. Where no
    option trades one cost for another, that is a single sum per layer.

    Raises:
        InfeasibleBudget: nothing meets all limits at once.
    """
    rest = np.cumsum([price.min(axis=0) for price in space.prices][::-1], axis=0)[::-1]
    rest = np.concatenate([rest[1:], np.zeros((1, len(space.costs)))])
    sums, paths = np.zeros((1, len(space.costs))), np.zeros((1, 0), dtype=np.int64)
    for price, remaining in zip(space.prices, rest, strict=True):
        options = np.arange(len(price))
        grown = (sums[:, None] + price[None]).reshape(-1, len(space.costs))
        path = np.hstack(
            [np.repeat(paths, len(price), axis=0), np.tile(options, len(sums))[:, None]]
        )
        keep = np.flatnonzero((grown + remaining <= space.limits).all(axis=1))
        keep = keep[_cheapest(grown[keep])]
        sums, paths = grown[keep], path[keep]
        if not len(keep):
            raise space.infeasible()
    return np.asarray(paths[0])


def _cheapest(sums: np.ndarray) -> list[int]:
    """Rows that no other row undercuts in every cost; of equal ones the first."""
    kept: list[int] = []
    for index in np.lexsort(sums.T[::-1]):
        # sorted by the first cost, so only rows already kept can undercut this one
        if not kept or not (sums[kept] <= sums[index]).all(axis=1).any():
            kept.append(int(index))
    return kept


def best_uniform(genes: Genes, repair: Repair) -> np.ndarray:
    """Choice that spends the limits best while giving all layers the same bits.

    All pairs of widths are tried, each decision taking the nearest option it has; of those within
    the limits the one with the largest share of the limits spent is taken, or the haven.
    """
    space = genes.space
    best, most = repair.haven, -1.0
    for pair in space.bits:
        choice = space.nearest(dict.fromkeys(space.names, pair))
        price = space.price(choice)
        if repair.excess(price) > 0:
            continue
        share = float((price / np.maximum(space.dearest, 1)).mean())
        if share > most:
            best, most = choice, share
    return best
