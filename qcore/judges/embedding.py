"""Judge of encoders: the angle between embeddings, and who is whose nearest neighbour."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from qcore.errors import InvalidData, InvalidParams
from qcore.judges.base import Judge, Measure

if TYPE_CHECKING:
    import torch
    from torch import Tensor

POOLS = ("mean", "first")
_BLOCK = 1024


@dataclass(frozen=True)
class Embedding(Judge):
    """One vector a sample, of which only the direction counts.

    Attributes:
        pool: How (n, positions, d) becomes (n, d): "mean" over the positions that the mask counts,
            or the "first" one.
    """

    pool: str = "mean"

    name: ClassVar[str] = "embedding"
    title: ClassVar[str] = "Embedding"
    about: ClassVar[str] = (
        "For encoders of texts, pictures or sounds whose vectors are compared by their angle."
    )
    divergence_name: ClassVar[str] = "cosine distance"
    unit: ClassVar[str] = "1 - cosine"
    example: ClassVar[tuple[int, ...]] = (6,)
    labels: ClassVar[str] = "class numbers (n,)"

    @property
    def score(self) -> Measure:
        """Share of samples whose nearest neighbour has their class."""
        return Measure("neighbour of its class", better="with a neighbour of their class")

    @property
    def match(self) -> Measure:
        """Share of samples whose nearest neighbour is the float network's."""
        return Measure("same neighbour", better="with the same neighbour")

    def check(self) -> None:
        """Raise unless the pooling is known."""
        super().check()
        if self.pool not in POOLS:
            raise InvalidParams(f"pool is {self.pool!r}; known: {', '.join(POOLS)}.")

    def read(self, outputs: Any, inputs: Any) -> "Tensor":
        """Vectors of length one, (n, d)."""
        values = self.chosen(outputs)
        if values.dim() == 3 and self.pool == "first":
            values = values[:, 0]
        elif values.dim() == 3:
            mask = self.masked(inputs)
            if mask is None:
                values = values.mean(1)
            elif mask.shape != values.shape[:2]:
                raise InvalidData(
                    f"The mask {self.mask!r} is {tuple(mask.shape)}, the outputs have "
                    f"{tuple(values.shape[:2])} positions."
                )
            else:
                values = (values * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        else:
            values = values.flatten(1)
        if values.dim() != 2 or values.shape[1] < 2:
            raise InvalidData(
                "The judge 'embedding' needs vectors (samples, d) or (samples, positions, d); got "
                f"{tuple(values.shape)}."
            )
        unit: Tensor = values / values.norm(dim=1, keepdim=True).clamp_min(1e-12)
        return unit

    def divergence(self, seen: Any, wanted: Any) -> "Tensor":
        """1 - cosine, (n,): half the squared distance of the two directions."""
        distance: Tensor = (seen - wanted).square().sum(1) / 2
        return distance

    def probe(self, seen: Any, generator: "torch.Generator") -> "Tensor":
        """The direction in random signs: its curvature is the identity."""
        total: Tensor = (signs_like(seen, generator) * seen).sum()
        return total

    def matches(self, seen: Any, wanted: Any) -> "Tensor":
        """Both directions of each sample, (n, 2, d)."""
        pair: Tensor = seen.new_empty((len(seen), 2, seen.shape[1]))
        pair[:, 0], pair[:, 1] = seen, wanted
        return pair

    def matched(self, kept: "Tensor") -> "Tensor":
        """1 where a sample's nearest neighbour is the same in both, (n,)."""
        return (neighbours(kept[:, 0]) == neighbours(kept[:, 1])).float()

    def marks(self, seen: Any, labels: "Tensor") -> "Tensor":
        """Directions with the class behind them, (n, d + 1)."""
        if labels.dim() != 1:
            raise InvalidData(
                f"The judge 'embedding' needs class numbers (n,); got {tuple(labels.shape)}."
            )
        kept: Tensor = seen.new_empty((len(seen), seen.shape[1] + 1))
        kept[:, :-1], kept[:, -1] = seen, labels
        return kept

    def marked(self, kept: "Tensor") -> "Tensor":
        """1 where a sample's nearest neighbour is of its class, (n,)."""
        labels = kept[:, -1]
        return (labels[neighbours(kept[:, :-1])] == labels).float()


def neighbours(vectors: "Tensor") -> "Tensor":
    """Position of each vector's nearest other one by their product, int64 (n,)."""
    nearest: list[int] = []
    for start in range(0, len(vectors), _BLOCK):
        likeness = vectors[start : start + _BLOCK] @ vectors.T
        for row in range(len(likeness)):
            likeness[row, start + row] = -2.0
        nearest += likeness.argmax(1).tolist()
    return vectors.new_tensor(nearest).long()


def signs_like(values: "Tensor", generator: "torch.Generator") -> "Tensor":
    """Random signs of a tensor's shape, the same on every device."""
    drawn: Tensor = values.new_empty(values.shape, device="cpu")
    return (drawn.bernoulli_(0.5, generator=generator) * 2 - 1).to(values.device)
