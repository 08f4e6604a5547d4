"""A choice as a vector of whole numbers: one per bit-width that is searched. Torch-free.

A width is that of one tensor, or of all tensors that a tie gives the same. Its number is the index
0..K-1 among those it may be, fewest bits first, so that neighbours are one apart however uneven the
widths are. Bits, not their logarithm: the noise
of a uniform quantizer falls as 4^-bits, so bits already are the logarithm of the damage.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qcore.allocation import in_order, stored_bits
from qcore.rules.ties import Part
from qcore.solvers.space import Space


@dataclass(frozen=True)
class Gene:
    """One searched width: of one tensor, or of all that a tie gives the same.

    Attributes:
        decision: Index of its decision.
        variable: Index among the decision's variables.
        tensors: (layer name, part) of what has this width.
        widths: Its possible widths, from the narrowest; at least two.
    """

    decision: int
    variable: int
    tensors: tuple[tuple[str, Part], ...]
    widths: tuple[int, ...]


Ladders = tuple[tuple[int, ...], ...]
"""Widths of each variable of a decision, each from the narrowest."""


@dataclass(frozen=True)
class Genes:
    """The widths of a space that can be searched, and the way to and from choices.

    Attributes:
        space: The space.
        genes: One entry per vector component; what has one width only, such as pinned layers, has
            none.
        ladders: Per decision, the widths of its variables.
        ranks: Per decision, the index of each option's widths on the ladders, (options, variables).
        nearest: Per decision, {ranks of its variables: the option nearest to them}; grows when
            asked.
    """

    space: Space
    genes: tuple[Gene, ...]
    ladders: tuple[Ladders, ...]
    ranks: tuple[np.ndarray, ...]
    nearest: tuple[dict[tuple[int, ...], int], ...]

    @property
    def sizes(self) -> np.ndarray:
        """Number of widths K of each gene, shape (genes,)."""
        return np.array([len(gene.widths) for gene in self.genes], dtype=np.int64)

    def choice(self, vector: Sequence[float] | np.ndarray) -> np.ndarray:
        """Choice a vector stands for; rounded and clipped, and the nearest option there is."""
        wanted = [[0] * len(ladders) for ladders in self.ladders]
        for gene, value in zip(self.genes, vector, strict=True):
            rank = min(max(round(float(value)), 0), len(gene.widths) - 1)
            wanted[gene.decision][gene.variable] = rank
        return np.array([self._nearest(at, tuple(ranks)) for at, ranks in enumerate(wanted)])

    def _nearest(self, decision: int, ranks: tuple[int, ...]) -> int:
        # limits, hand-made options and ties may leave holes in the grid of widths
        known = self.nearest[decision]
        if ranks not in known:
            known[ranks] = int(np.abs(self.ranks[decision] - ranks).sum(axis=1).argmin())
        return known[ranks]

    def vector(self, choice: Sequence[int] | np.ndarray) -> np.ndarray:
        """Vector of a choice, floats of shape (genes,)."""
        rows = [self.ranks[g.decision][int(choice[g.decision]), g.variable] for g in self.genes]
        return np.array(rows, dtype=float)

    def mean_bits(self, vectors: np.ndarray, part: Part) -> dict[str, float]:
        """Mean bits of each searched layer's weights or activations over vectors (rows)."""
        return {
            name: float(
                np.interp(
                    vectors[:, at],
                    range(len(gene.widths)),
                    [stored_bits(width) for width in gene.widths],
                ).mean()
            )
            for at, gene in enumerate(self.genes)
            for name, tensor in gene.tensors
            if tensor == part
        }


def genes_of(space: Space) -> Genes:
    """List the genes of a space."""
    ladders = tuple(
        tuple(
            in_order(decision.width(at, v) for at in range(len(decision.options)))
            for v in range(len(decision.variables))
        )
        for decision in space.decisions
    )
    genes = tuple(
        Gene(at, v, tuple((decision.layers[place], part) for place, part in tensors), widths)
        for at, (decision, rungs) in enumerate(zip(space.decisions, ladders, strict=True))
        for v, (tensors, widths) in enumerate(zip(decision.variables, rungs, strict=True))
        if len(widths) > 1
    )
    ranks = tuple(option_ranks(space, at, rungs) for at, rungs in enumerate(ladders))
    return Genes(space, genes, ladders, ranks, tuple({} for _ in ladders))


def option_ranks(space: Space, at: int, ladders: Ladders) -> np.ndarray:
    """Where each option of a decision stands on its ladders, integers (options, variables)."""
    decision = space.decisions[at]
    return np.array(
        [
            [rungs.index(decision.width(option, v)) for v, rungs in enumerate(ladders)]
            for option in range(len(decision.options))
        ]
    ).reshape(-1, len(ladders))
