"""Judge of networks with several outputs: a weighted sum of judges, one for each output."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from qcore.errors import InvalidParams
from qcore.judges.base import Judge, Measure

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_SEPARATOR = "."


@dataclass(frozen=True)
class Parts(Judge):
    """Several outputs, each with its own judge.

    The first part leads: its score, and its labels, are those of the network.

    Attributes:
        parts: Judges, each looking at its own output.
        weights: How much each one's divergence counts in the sum.
    """

    parts: tuple[Judge, ...] = ()
    weights: tuple[float, ...] = ()

    name: ClassVar[str] = "parts"
    title: ClassVar[str] = "Parts"
    about: ClassVar[str] = "For networks of several outputs: a weighted sum, one judge an output."
    divergence_name: ClassVar[str] = "weighted divergence"
    unit: ClassVar[str] = "weighted sum"
    example: ClassVar[tuple[int, ...]] = (4,)
    labels: ClassVar[str] = "those of the first part"

    @property
    def hits(self) -> bool:
        """The first part's."""
        return self.parts[0].hits

    @property
    def own_labels(self) -> bool:
        """The first part's."""
        return self.parts[0].own_labels

    @property
    def score(self) -> Measure:
        """The first part's."""
        return self.parts[0].score

    @property
    def match(self) -> Measure:
        """The first part's."""
        return self.parts[0].match

    def check(self) -> None:
        """Raise unless there is a weight above 0 for each part.

        Raises:
            InvalidParams: no parts, parts within parts, or other weights.
        """
        if not 1 <= len(self.parts) <= 16 or len(self.weights) != len(self.parts):
            raise InvalidParams(
                f"Give 1 to 16 parts and a weight for each; got {len(self.parts)} parts and "
                f"{len(self.weights)} weights."
            )
        if not all(0 < weight < 1e6 for weight in self.weights):
            raise InvalidParams(f"Weights are above 0; got {self.weights}.")
        if any(isinstance(part, Parts) for part in self.parts):
            raise InvalidParams("A part has one output; parts within parts are not taken.")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data, the parts with it."""
        return {
            "name": self.name,
            "parts": [part.to_json() for part in self.parts],
            "weights": list(self.weights),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Parts":
        """Read what `to_json` wrote."""
        from qcore.judges import read_judge

        try:
            parts = tuple(read_judge(part) for part in data["parts"])
            judge = cls(parts=parts, weights=tuple(float(w) for w in data["weights"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidParams(f"The parts of a judge cannot be read: {error}.") from error
        judge.check()
        return judge

    def read(self, outputs: Any, inputs: Any) -> dict[str, "Tensor"]:
        """What every part reads, under its number."""
        answers: dict[str, Tensor] = {}
        for number, part in enumerate(self.parts):
            found = part.read(outputs, inputs)
            if not isinstance(found, Mapping):
                found = {"": found}
            answers |= {f"{number}{_SEPARATOR}{key}": value for key, value in found.items()}
        return answers

    def _of(self, answers: Any, number: int) -> Any:
        start = f"{number}{_SEPARATOR}"
        own = {k.removeprefix(start): v for k, v in answers.items() if k.startswith(start)}
        return own[""] if set(own) == {""} else own

    def divergence(self, seen: Any, wanted: Any) -> "Tensor":
        """Weighted sum of the parts' divergences, (n,)."""
        terms = [
            weight * part.divergence(self._of(seen, at), self._of(wanted, at))
            for at, (part, weight) in enumerate(zip(self.parts, self.weights, strict=True))
        ]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total

    def probe(self, seen: Any, generator: "torch.Generator") -> "Tensor":
        """Sum of the parts' probes, each times the root of its weight: they are independent."""
        terms = [
            weight**0.5 * part.probe(self._of(seen, at), generator)
            for at, (part, weight) in enumerate(zip(self.parts, self.weights, strict=True))
        ]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total

    def matches(self, seen: Any, wanted: Any) -> "Tensor":
        """The first part's."""
        return self.parts[0].matches(self._of(seen, 0), self._of(wanted, 0))

    def matched(self, kept: "Tensor") -> "Tensor":
        """The first part's."""
        return self.parts[0].matched(kept)

    def truth(self, inputs: Any, labels: "Tensor | None") -> "Tensor | None":
        """The first part's."""
        return self.parts[0].truth(inputs, labels)

    def marks(self, seen: Any, labels: "Tensor") -> "Tensor":
        """The first part's."""
        return self.parts[0].marks(self._of(seen, 0), labels)

    def marked(self, kept: "Tensor") -> "Tensor":
        """The first part's."""
        return self.parts[0].marked(kept)

    def loss(self, seen: Any, labels: "Tensor") -> "Tensor | None":
        """The first part's."""
        return self.parts[0].loss(self._of(seen, 0), labels)
