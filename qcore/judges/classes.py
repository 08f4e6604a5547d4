"""Judge of classifiers: KL divergence of class distributions, and which class is named."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from qcore.errors import InvalidData
from qcore.judges.base import Judge, Measure, logs_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Classes(Judge):
    """One class out of several for each sample.

    Attributes:
        probabilities: True where a softmax ends the network already: their logarithm is used.
    """

    probabilities: bool = False

    name: ClassVar[str] = "classes"
    title: ClassVar[str] = "Classes"
    about: ClassVar[str] = (
        "For networks that name one class a sample; compares the probabilities of all classes."
    )
    divergence_name: ClassVar[str] = "KL divergence"
    example: ClassVar[tuple[int, ...]] = (7,)
    labels: ClassVar[str] = "class numbers (n,)"

    @property
    def hits(self) -> bool:
        """A class is named right or wrong."""
        return True

    @property
    def score(self) -> Measure:
        """Top-1 accuracy."""
        return Measure("accuracy", better="named right")

    def read(self, outputs: Any, inputs: Any) -> "Tensor":
        """Log-probabilities (n, classes)."""
        values = self.chosen(outputs)
        if values.dim() > 2 and values[0].numel() == values.shape[1]:
            values = values.flatten(1)  # (n, classes, 1, 1) of a network without a last flattening
        if values.dim() != 2 or values.shape[1] < 2:
            raise InvalidData(
                f"The judge 'classes' needs outputs (samples, classes) with at least 2 classes; "
                f"got {tuple(values.shape)}. Choose another judge for this network."
            )
        return logs_of(values, self.probabilities, 1)

    def divergence(self, seen: Any, wanted: Any) -> "Tensor":
        """KL divergence from the float distribution, nats, (n,)."""
        kl: Tensor = (wanted.exp() * (wanted - seen)).sum(1)
        return kl

    def probe(self, seen: Any, generator: "torch.Generator") -> "Tensor":
        """-log p(c) summed over the samples, c drawn from the distribution itself."""
        drawn = seen.detach().exp().cpu().multinomial(1, generator=generator).to(seen.device)
        total: Tensor = -seen.gather(1, drawn).sum()
        return total

    def matches(self, seen: Any, wanted: Any) -> "Tensor":
        """1 where both networks name the same class, (n,)."""
        same: Tensor = seen.argmax(1) == wanted.argmax(1)
        return same

    def marks(self, seen: Any, labels: "Tensor") -> "Tensor":
        """1 where the class is named right, (n,)."""
        if labels.dim() != 1 or labels.is_floating_point():
            raise InvalidData(
                f"The judge 'classes' needs class numbers (n,); got labels {labels.dtype} of shape "
                f"{tuple(labels.shape)}."
            )
        _check_numbers(seen, labels)
        right: Tensor = seen.argmax(1) == labels
        return right

    def loss(self, seen: Any, labels: "Tensor") -> "Tensor":
        """Cross-entropy with the labels, nats, (n,)."""
        _check_numbers(seen, labels)
        entropy: Tensor = -seen.gather(1, labels[:, None])[:, 0]
        return entropy


def _check_numbers(seen: Any, labels: "Tensor") -> None:
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= seen.shape[1]:
        raise InvalidData(
            f"The labels reach from {low} to {high}, and the network has {seen.shape[1]} outputs, "
            f"0 to {seen.shape[1] - 1}: is it trained on these classes, and do they count from 0?"
        )
