"""How the bits of layers depend on one another, as CMA-ES came to see it. Torch-free.

The covariance that CMA-ES adapts says in which directions allocations got better together. As
correlations of the layers' widths it can be held against another seed's, and against what the
gradients of the network say of pairs of layers (`SensitivityTable.pairs`): damages of two layers
that add up call for a trade, so that a positive interaction goes with a negative correlation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qcore.errors import InvalidParams
from qcore.problem import SensitivityTable
from qcore.rules.ties import Part
from qcore.solvers.genes import Genes

MOST_LAYERS = 64
"""Layers of a matrix that is kept; of more its absence is said."""

DIGITS = 3
"""Decimals of a correlation that is kept."""


def correlations(covariance: np.ndarray) -> np.ndarray:
    """A covariance as correlations, -1..1, same shape; rows without any spread are zeros beside 1.

    Raises:
        InvalidParams: an entry is not a finite number.
    """
    matrix = np.asarray(covariance, dtype=float)
    if not np.isfinite(matrix).all():
        raise InvalidParams("The covariance holds a NaN or infinity; there are no correlations.")
    spread = np.sqrt(np.clip(np.diag(matrix), 0.0, None))
    safe = np.where(spread > 0, spread, 1.0)
    found = np.clip(matrix / safe[:, None] / safe[None, :], -1.0, 1.0)
    found[spread == 0] = 0.0
    found[:, spread == 0] = 0.0
    np.fill_diagonal(found, 1.0)
    return np.asarray((found + found.T) / 2)


def dependencies(genes: Genes, covariance: np.ndarray, most: int = MOST_LAYERS) -> dict[str, Any]:
    """What is kept among a run's figures of a covariance over genes.

    Args:
        genes: What the rows are of.
        covariance: Shape (genes, genes).
        most: Layers of a matrix that is kept.

    Returns:
        "part" ("weight", or "activation" where no weights are searched), "layers" (first layer of
        each gene of that part, in execution order) and "matrix" (their correlations); or "left_out"
        alone, a sentence, where there are fewer than two layers, too many, or no finite numbers.
    """
    part: Part = "weight"
    rows = _rows(genes, part)
    if len(rows) < 2:
        part = "activation"
        rows = _rows(genes, part)
    if len(rows) < 2:
        return {"left_out": "Fewer than two layers have bits of one kind to choose."}
    if len(rows) > most:
        words = f"{len(rows):,} layers have bits to choose; correlations are kept of {most:,}"
        return {"left_out": f"{words} at most."}
    if not np.isfinite(covariance).all():
        return {"left_out": "The covariance is not finite any more."}
    places = [at for at, _ in rows]
    matrix = correlations(covariance)[np.ix_(places, places)]
    return {
        "part": part,
        "layers": [layer for _, layer in rows],
        "matrix": [[round(float(value), DIGITS) for value in row] for row in matrix],
    }


def _rows(genes: Genes, part: Part) -> list[tuple[int, str]]:
    """Place and first layer of each gene that is of one part."""
    found = []
    for at, gene in enumerate(genes.genes):
        layers = [layer for layer, tensor in gene.tensors if tensor == part]
        if layers:
            found.append((at, layers[0]))
    return found


def interactions(table: SensitivityTable, layers: Sequence[str], part: str) -> "np.ndarray | None":
    """How the damages of pairs of layers add up at their fewest bits, by a table's pairs.

    Args:
        table: A sensitivity table.
        layers: Which, in the order of the rows.
        part: "weight" or "activation".

    Returns:
        Shape (layers, layers), -1..1: the Gram matrix over the root of its diagonal; None where
        the table has no pairs of some of these layers.
    """
    if table.pairs is None:
        return None
    narrowest: dict[str, tuple[int, int]] = {}
    for row, (name, which, bits) in enumerate(table.pair_index):
        if which == part and (name not in narrowest or bits < narrowest[name][0]):
            narrowest[name] = bits, row
    if not set(layers) <= set(narrowest):
        return None
    rows = [narrowest[name][1] for name in layers]
    gram = np.asarray(table.pairs, dtype=float)[np.ix_(rows, rows)]
    return correlations(gram) if np.isfinite(gram).all() else None


@dataclass(frozen=True)
class Agreement:
    """How far two matrices over the same layers agree.

    Attributes:
        value: What was found.
        low: 2.5th percentile of what unrelated matrices give, by renaming layers at random.
        high: 97.5th percentile of that.
        pairs: Pairs of layers that it rests on.
    """

    value: float
    low: float
    high: float
    pairs: int

    @property
    def shown(self) -> bool:
        """Whether it is above what chance gives."""
        return self.value > self.high


def rank_agreement(
    one: np.ndarray, other: np.ndarray, seed: int = 0, times: int = 999
) -> Agreement:
    """Spearman's rank correlation of two matrices' pairs, with what chance gives (Mantel 1967).

    Args:
        one: Shape (layers, layers), symmetric; at least three layers.
        other: The same.
        seed: Of the permutations.
        times: How many.

    Raises:
        InvalidParams: of different shapes, or fewer than three layers.
    """
    return _permuted(one, other, _spearman, seed, times)


def sign_agreement(
    found: np.ndarray, interaction: np.ndarray, seed: int = 0, times: int = 999
) -> Agreement:
    """Share of pairs whose correlation has the sign opposite to the interaction's, 0..1.

    Half is chance where both signs are as frequent; the permutations say what chance is here.

    Args:
        found: Correlations of widths, shape (layers, layers); at least three layers.
        interaction: From `interactions`, the same shape.
        seed: Of the permutations.
        times: How many.

    Raises:
        InvalidParams: of different shapes, or fewer than three layers.
    """
    return _permuted(found, interaction, _opposite, seed, times)


def _permuted(one: np.ndarray, other: np.ndarray, of: Any, seed: int, times: int) -> Agreement:
    count = len(one)
    if one.shape != (count, count) or other.shape != one.shape or count < 3:
        raise InvalidParams(
            f"Two matrices over the same three or more layers are needed; got {one.shape} and "
            f"{other.shape}."
        )
    upper = np.triu_indices(count, 1)
    rng = np.random.default_rng(seed)
    chance = []
    for _ in range(times):
        order = rng.permutation(count)
        chance.append(of(one[np.ix_(order, order)][upper], other[upper]))
    low, high = np.quantile(chance, [0.025, 0.975])
    value = of(one[upper], other[upper])
    return Agreement(float(value), float(low), float(high), len(upper[0]))


def _spearman(one: np.ndarray, other: np.ndarray) -> float:
    ranks = [_ranks(values) - (len(values) - 1) / 2 for values in (one, other)]
    size = float(np.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum()))
    return float((ranks[0] * ranks[1]).sum() / size) if size else 0.0


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 0, equal values sharing their mean one."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum()
    return np.asarray((last - (counts + 1) / 2)[place])


def _opposite(found: np.ndarray, interaction: np.ndarray) -> float:
    return float((np.sign(found) == -np.sign(interaction)).mean())


Figures = Mapping[str, Any]


def kept_dependencies(kept: Sequence[Figures]) -> list[dict[str, Any]]:
    """The dependencies among a run's figures, oldest first, that hold a matrix of finite numbers.

    Whatever else stands there, from another release or a damaged row, is passed over.
    """
    found = []
    for entry in kept:
        own = entry.get("dependencies")
        if not isinstance(own, Mapping) or "matrix" not in own:
            continue
        try:
            matrix = np.array(own["matrix"], dtype=float)
            layers = [str(layer) for layer in own["layers"]]
        except (KeyError, TypeError, ValueError):
            continue
        if matrix.shape == (len(layers), len(layers)) and np.isfinite(matrix).all():
            found.append({**own, "layers": layers, "matrix": matrix})
    return found
