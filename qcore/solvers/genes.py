"""A choice as a vector of whole numbers: one per tensor whose bit-width is searched. Torch-free.

A tensor's number is the index 0..K-1 of its width among those it may have, fewest bits first, so
that neighbours are one apart however uneven the widths are. Bits, not their logarithm: the noise
of a uniform quantizer falls as 4^-bits, so bits already are the logarithm of the damage.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from qcore.allocation import stored_bits
from qcore.solvers.space import Space

Part = Literal["weight", "activation"]
PARTS: tuple[Part, Part] = ("weight", "activation")


@dataclass(frozen=True)
class Gene:
    """One searched tensor.

    Attributes:
        layer: Index of its layer.
        part: "weight" or "activation".
        widths: Its possible bits, rising; at least two.
    """

    layer: int
    part: Part
    widths: tuple[int, ...]


@dataclass(frozen=True)
class Genes:
    """The tensors of a space that can be searched, and the way to and from choices.

    Attributes:
        space: The space.
        genes: One entry per vector component; layers with one option, such as pinned ones, have
            none.
        ladders: Per layer, (weight widths, activation widths), each rising.
        lookup: Per layer, the option nearest to each (weight, activation) pair of the ladders, as
            indices of shape (weight widths, activation widths).
    """

    space: Space
    genes: tuple[Gene, ...]
    ladders: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
    lookup: tuple[np.ndarray, ...]

    @property
    def sizes(self) -> np.ndarray:
        """Number of widths K of each gene, shape (genes,)."""
        return np.array([len(gene.widths) for gene in self.genes], dtype=np.int64)

    def choice(self, vector: Sequence[float] | np.ndarray) -> np.ndarray:
        """Choice a vector stands for; rounded and clipped, and the nearest option there is."""
        ranks = np.zeros((len(self.ladders), 2), dtype=np.int64)
        for gene, value in zip(self.genes, vector, strict=True):
            rank = min(max(round(float(value)), 0), len(gene.widths) - 1)
            ranks[gene.layer, PARTS.index(gene.part)] = rank
        return np.array([rows[w, a] for rows, (w, a) in zip(self.lookup, ranks, strict=True)])

    def vector(self, choice: Sequence[int] | np.ndarray) -> np.ndarray:
        """Vector of a choice, floats of shape (genes,)."""
        chosen = [self.space.options[g.layer][int(choice[g.layer])] for g in self.genes]
        pairs = zip(self.genes, chosen, strict=True)
        return np.array([g.widths.index(getattr(bits, g.part)) for g, bits in pairs], dtype=float)

    def mean_bits(self, vectors: np.ndarray, part: Part) -> dict[str, float]:
        """Mean bits of each searched layer's weights or activations over vectors (rows)."""
        return {
            self.space.names[gene.layer]: float(
                np.interp(
                    vectors[:, index],
                    range(len(gene.widths)),
                    [stored_bits(width) for width in gene.widths],
                ).mean()
            )
            for index, gene in enumerate(self.genes)
            if gene.part == part
        }


def genes_of(space: Space) -> Genes:
    """List the genes of a space."""
    ladders = tuple(
        (
            tuple(sorted({bits.weight for bits in options})),
            tuple(sorted({bits.activation for bits in options})),
        )
        for options in space.options
    )
    genes = tuple(
        Gene(layer, part, widths)
        for layer, pair in enumerate(ladders)
        for part, widths in zip(PARTS, pair, strict=True)
        if len(widths) > 1
    )
    return Genes(space, genes, ladders, tuple(_nearest(space, i, p) for i, p in enumerate(ladders)))


def _nearest(
    space: Space, layer: int, ladders: tuple[tuple[int, ...], tuple[int, ...]]
) -> np.ndarray:
    # limits and hand-made options may leave holes in the grid of widths
    ranks = option_ranks(space, layer, ladders)
    grid = np.stack(np.meshgrid(*(range(len(rung)) for rung in ladders), indexing="ij"), axis=-1)
    distance = np.abs(grid[:, :, None, :] - ranks[None, None]).sum(axis=-1)
    return np.asarray(distance.argmin(axis=-1))


def option_ranks(
    space: Space, layer: int, ladders: tuple[tuple[int, ...], tuple[int, ...]]
) -> np.ndarray:
    """Where each option of a layer stands on its ladders, integers of shape (options, 2)."""
    weights, activations = ladders
    return np.array(
        [
            (weights.index(bits.weight), activations.index(bits.activation))
            for bits in space.options[layer]
        ]
    ).reshape(-1, 2)
