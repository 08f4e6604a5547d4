"""Judge of maps: a class, or yes and no, at every place of a picture, a sound or a roll."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from qcore.errors import InvalidData, InvalidParams
from qcore.judges.base import Judge, Measure, logs_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SCORES = ("iou", "pixels")
SIZES = ("same", "nearest")
TINY = 1e-7


@dataclass(frozen=True)
class Map(Judge):
    """A class at every place.

    Attributes:
        binary: True where each number is its own yes or no (a sigmoid), False where the second
            dimension holds the classes.
        probabilities: True where a sigmoid or softmax ends the network already.
        measure: "iou", intersection over union of a sample's places, mean over its classes; or
            "pixels", the share of places that are right.
    """

    binary: bool = False
    probabilities: bool = False
    measure: str = "iou"
    targets: str = "same"

    name: ClassVar[str] = "map"
    title: ClassVar[str] = "Map"
    about: ClassVar[str] = (
        "For segmentation, detection maps, piano rolls and yes-or-no outputs: a class at each "
        "place."
    )
    divergence_name: ClassVar[str] = "KL divergence"
    unit: ClassVar[str] = "nats a place"
    example: ClassVar[tuple[int, ...]] = (3, 4, 5)
    labels: ClassVar[str] = "class numbers at every place (n, ...), negative where none counts"

    @property
    def score(self) -> Measure:
        """IoU, or places right."""
        return Measure("IoU" if self.measure == "iou" else "places right")

    @property
    def match(self) -> Measure:
        """The same against the float network's map."""
        return Measure("IoU with float" if self.measure == "iou" else "places alike")

    def check(self) -> None:
        """Raise unless its settings are known."""
        super().check()
        if self.measure not in SCORES:
            raise InvalidParams(f"measure is {self.measure!r}; known: {', '.join(SCORES)}.")
        if self.targets not in SIZES:
            raise InvalidParams(f"targets is {self.targets!r}; known: {', '.join(SIZES)}.")

    def read(self, outputs: Any, inputs: Any) -> "Tensor":
        """Log-probabilities (n, classes, places)."""
        values = self.chosen(outputs)
        if values.dim() < 2:
            raise InvalidData(
                f"The judge 'map' needs outputs (samples, ...); got {tuple(values.shape)}."
            )
        if not self.binary:
            if values.dim() < 3 or values.shape[1] < 2:
                raise InvalidData(
                    "The judge 'map' needs outputs (samples, classes, places ...) with at least 2 "
                    f"classes, or its setting binary; got {tuple(values.shape)}."
                )
            return logs_of(values.flatten(2), self.probabilities, 1)
        flat = values.flatten(1)
        if self.probabilities:
            p = flat.clamp(TINY, 1 - TINY)
            flat = p.log() - (1 - p).log()
        both: Tensor = flat.new_zeros((len(flat), 2, flat.shape[1]))
        both[:, 1] = flat
        return both.log_softmax(1)

    def divergence(self, seen: Any, wanted: Any) -> "Tensor":
        """Mean KL divergence over a sample's places, nats, (n,)."""
        kl: Tensor = (wanted.exp() * (wanted - seen)).sum(1).mean(1)
        return kl

    def probe(self, seen: Any, generator: "torch.Generator") -> "Tensor":
        """-log p(c) at each place, c drawn there, over the root of the number of places."""
        n, classes, places = seen.shape
        flat = seen.detach().exp().transpose(1, 2).reshape(-1, classes).cpu()
        drawn = flat.multinomial(1, generator=generator).to(seen.device).view(n, 1, places)
        total: Tensor = -seen.gather(1, drawn).sum() / places**0.5
        return total

    def matches(self, seen: Any, wanted: Any) -> "Tensor":
        """Likeness to the float network's map, (n,)."""
        return self._likeness(_first(seen), _first(wanted), seen.shape[1])

    def marks(self, seen: Any, labels: "Tensor") -> "Tensor":
        """Likeness to the labels, (n,)."""
        return self._likeness(_first(seen), self._places(seen, labels), seen.shape[1])

    def loss(self, seen: Any, labels: "Tensor") -> "Tensor":
        """Mean cross-entropy over a sample's labelled places, nats, (n,)."""
        places = self._places(seen, labels)
        counted = places >= 0
        found = seen.gather(1, places.clamp_min(0)[:, None])[:, 0]
        entropy: Tensor = -(found * counted).sum(1) / counted.sum(1).clamp_min(1)
        return entropy

    def _places(self, seen: Any, labels: "Tensor") -> "Tensor":
        if labels.is_floating_point():
            labels = (labels > 0.5).long() if self.binary else labels.long()
        flat = labels.long().reshape(len(labels), -1)
        if flat.shape[1] != seen.shape[2]:
            raise InvalidData(
                f"The network gives {seen.shape[2]:,} places a sample, the labels have "
                f"{flat.shape[1]:,}: they must be of one size. Scale the labels, or let label maps "
                "take the nearest place's class (judge map:targets=nearest)."
            )
        if int(flat.max()) >= seen.shape[1]:
            raise InvalidData(
                f"Label {int(flat.max())} is none of the network's {seen.shape[1]} classes; "
                "places that do not count are negative."
            )
        return flat

    def _likeness(self, found: "Tensor", wanted: "Tensor", classes: int) -> "Tensor":
        counted = wanted >= 0
        if self.measure == "pixels":
            right = ((found == wanted) & counted).sum(1)
            return right / counted.sum(1).clamp_min(1)
        total = counted.new_zeros(len(found)).float()
        present = total.clone()
        for number in range(1 if self.binary else 0, classes):
            ours, theirs = (found == number) & counted, wanted == number
            union = (ours | theirs).sum(1)
            total += (ours & theirs).sum(1) / union.clamp_min(1)
            present += union > 0
        # nothing there, and nothing found: all right
        return (total / present.clamp_min(1)).where(present > 0, present + 1)


def _first(logs: "Tensor") -> "Tensor":
    """The likeliest class of each place, the first of equal ones, (n, places)."""
    # argmax along a dimension that is not the last takes two to ten times as long
    found: Tensor = logs.max(1).indices
    return found
