"""What a judge is: how far a quantized network's answers are from the float network's.

Torch-free: judges speak to tensors by their methods only, so that pages can read a judge's words
and settings without loading torch. Every judge is a frozen dataclass of its settings. What goes in
and out is a tensor, or names to tensors where a judge has to keep several (`trees.Tree`).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

from qcore.errors import InvalidData, InvalidParams

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure per sample whose mean is shown: what it is called and how it is written.

    Attributes:
        name: In a word or two, as "accuracy".
        unit: "share" for 0..1, written in percent; else the unit written behind it, as "dB".
        better: What a sample that does well is called, as "named right".
    """

    name: str
    unit: str = "share"
    better: str = "right"

    @property
    def share(self) -> bool:
        """True where it lies in 0..1 and is written in percent."""
        return self.unit == "share"

    @property
    def factor(self) -> float:
        """What a value is multiplied with before it is written: 100 for shares."""
        return 100.0 if self.share else 1.0

    @property
    def symbol(self) -> str:
        """The unit behind a value: "%" for shares."""
        return "%" if self.share else self.unit

    @property
    def difference(self) -> str:
        """The unit of a difference of two values: "points" for shares."""
        return "points" if self.share else self.unit

    def span(self, interval: tuple[float, float]) -> tuple[float, float]:
        """Both ends of an interval as they are written; those of shares lie within 0 and 100 %."""
        low, high = (self.factor * end for end in interval)
        return (max(0.0, low), min(100.0, high)) if self.share else (low, high)

    def write(self, value: float, digits: int = 1) -> str:
        """A value with its unit, as "92.3 %" or "38.1 dB"."""
        return f"{value * self.factor:.{digits}f} {self.symbol}"


@dataclass(frozen=True)
class Judge(ABC):
    """How the answers of two networks to the same samples are compared.

    Attributes:
        output: Which output is looked at: a name, or a number from 0; "" is the only or first one.
        mask: Name of the input that says which positions count (1) and which pad (0); "" for none.
    """

    output: str = ""
    mask: str = ""

    name: ClassVar[str]
    title: ClassVar[str]
    about: ClassVar[str]
    """One sentence: for which networks, and what is compared."""
    divergence_name: ClassVar[str] = "divergence"
    unit: ClassVar[str] = "nats"
    """Of the divergence."""
    example: ClassVar[tuple[int, ...]]
    """Shape of one sample's outputs that it reads, to be tried on."""
    labels: ClassVar[str] = ""
    """What labels are, as "class numbers (n,)"; "" where none are of use."""

    @property
    def hits(self) -> bool:
        """True where a sample is either right or wrong; else its score is a number."""
        return False

    @property
    def own_labels(self) -> bool:
        """True where labels come from the inputs themselves, as a text's next tokens do."""
        return False

    @property
    def score(self) -> Measure:
        """What is shown where samples have labels."""
        return Measure("accuracy")

    @property
    def match(self) -> Measure:
        """What is shown where they have none: likeness to the float network."""
        return Measure("agreement")

    @abstractmethod
    def read(self, outputs: Any, inputs: Any) -> Any:
        """What is compared of a network's outputs, (n, ...); gradients pass through it.

        Args:
            outputs: Whatever the network returned: a tensor, or several in a tuple or mapping.
            inputs: What it was given, for masks.

        Raises:
            InvalidData: the outputs do not fit this judge; says what it needs.
        """

    @abstractmethod
    def divergence(self, seen: Any, wanted: Any) -> "Tensor":
        """Distance of answers from the float network's, (n,), at least 0, in `unit`."""

    @abstractmethod
    def probe(self, seen: Any, generator: "torch.Generator") -> "Tensor":
        """A random scalar whose gradient g at the float answers gives the divergence's curvature.

        For a small change d of the answers 1/2 E[(g . d)^2], summed over the samples, is the
        divergence to second order: Fisher's form where answers are distributions, Gauss-Newton with
        random signs where they are numbers.
        """

    @abstractmethod
    def matches(self, seen: Any, wanted: Any) -> "Tensor":
        """Per sample, what `matched` needs: here its likeness to the float answers, (n,)."""

    def matched(self, kept: "Tensor") -> "Tensor":
        """Likeness of each sample (n,), from `matches` of all of them."""
        return kept

    def truth(self, inputs: Any, labels: "Tensor | None") -> "Tensor | None":
        """The labels that count; a language model's are its own next tokens."""
        return labels

    def marks(self, seen: Any, labels: "Tensor") -> "Tensor":
        """Per sample, what `marked` needs: here its score, (n,)."""
        raise InvalidData(f"The judge {self.name!r} takes no labels; leave them away.")

    def marked(self, kept: "Tensor") -> "Tensor":
        """Score of each sample (n,), from `marks` of all of them."""
        return kept

    def loss(self, seen: Any, labels: "Tensor") -> "Tensor | None":
        """What training on labels minimises, (n,); None where labels train nothing."""
        return None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data: the name, and the settings that differ from their defaults."""
        changed = {
            each.name: getattr(self, each.name)
            for each in fields(self)
            if getattr(self, each.name) != each.default
        }
        return {"name": self.name, **changed}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Judge":
        """Read the settings that `to_json` wrote.

        Raises:
            InvalidParams: an unknown setting, or a value of the wrong kind.
        """
        known = {each.name: each for each in fields(cls)}
        given = {key: value for key, value in data.items() if key != "name"}
        for key, value in given.items():
            if key not in known:
                raise InvalidParams(
                    f"The judge {cls.name!r} has no setting {key!r}; it has {', '.join(known)}."
                )
            default = known[key].default
            number = isinstance(default, float) and isinstance(value, int | float)
            if not (number or type(value) is type(default)):
                raise InvalidParams(f"{key} of the judge {cls.name!r} cannot be {value!r}.")
        judge = cls(**given)
        judge.check()
        return judge

    def check(self) -> None:
        """Raise where a setting cannot be.

        Raises:
            InvalidParams: says which and what it may be.
        """
        for what in (self.output, self.mask):
            if len(what) > 200:
                raise InvalidParams(f"{what[:40]!r}... is too long for a name.")

    def chosen(self, outputs: Any) -> "Tensor":
        """The one tensor of a network's outputs that this judge looks at.

        Raises:
            InvalidData: there is no such output, or it is no tensor.
        """
        found = outputs
        if not hasattr(outputs, "shape"):
            found = _member(outputs, self.output)
        elif self.output not in ("", "0"):
            raise InvalidData(f"The network has one output; there is no output {self.output!r}.")
        if not hasattr(found, "shape"):
            kinds = ", ".join(output_names(outputs)) or type(outputs).__name__
            raise InvalidData(
                f"Output {self.output or '0'!r} is no tensor; the network returns {kinds}."
            )
        tensor: Tensor = found
        return tensor if tensor.is_floating_point() else tensor.float()

    def masked(self, inputs: Any) -> "Tensor | None":
        """The mask among the inputs as floats (n, ...), or None without one.

        Raises:
            InvalidData: there is no such input, or a sample is masked wholly.
        """
        if not self.mask:
            return None
        if not isinstance(inputs, Mapping) or self.mask not in inputs:
            raise InvalidData(f"There is no input {self.mask!r} to take the mask from.")
        mask: Tensor = inputs[self.mask].float()
        empty = (mask.flatten(1).sum(1) == 0).nonzero().flatten().tolist()
        if empty:
            raise InvalidData(
                f"The mask {self.mask!r} of sample {empty[0]} of a batch is empty: nothing of it "
                "counts. Remove that sample, or give it at least one position."
            )
        return mask


def output_names(outputs: Any) -> list[str]:
    """Names, or numbers, of the tensors among a network's outputs."""
    if isinstance(outputs, Mapping):
        return [str(key) for key, value in outputs.items() if hasattr(value, "shape")]
    if isinstance(outputs, tuple | list):
        return [str(at) for at, value in enumerate(outputs) if hasattr(value, "shape")]
    return ["0"] if hasattr(outputs, "shape") else []


def _member(outputs: Any, key: str) -> Any:
    names = output_names(outputs)
    wanted = key or (names[0] if names else "0")
    if wanted not in names:
        raise InvalidData(
            f"The network has no output {wanted!r}; it returns {', '.join(names) or 'no tensor'}."
        )
    if isinstance(outputs, Mapping):
        return next(value for name, value in outputs.items() if str(name) == wanted)
    return outputs[int(wanted)]


def logs_of(values: "Tensor", probabilities: bool, axis: int) -> "Tensor":
    """Log-probabilities from class scores, or from probabilities a softmax already made."""
    if probabilities:
        values = values.clamp_min(1e-12).log()
    return values.log_softmax(axis)
