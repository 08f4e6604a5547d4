"""Judge of networks that give a distribution at every position: language models, taggers, CTC."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from qcore.errors import InvalidData
from qcore.judges.base import Judge, Measure, logs_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor

IGNORED = -100
"""Label of a position that does not count."""


@dataclass(frozen=True)
class Tokens(Judge):
    """A distribution over tokens at each position of a text.

    A sample is a document: its figures are means over its positions, and intervals are over
    documents, because the tokens of one text are not independent.

    Attributes:
        ids: Name of the input of token ids whose next ones are the labels of a causal language
            model; "" where labels come with the data, or there are none.
        probabilities: True where a softmax ends the network already.
    """

    ids: str = ""
    probabilities: bool = False

    name: ClassVar[str] = "tokens"
    title: ClassVar[str] = "Tokens"
    about: ClassVar[str] = (
        "For language models, taggers and recognisers: a distribution at each position of a text."
    )
    divergence_name: ClassVar[str] = "KL divergence"
    unit: ClassVar[str] = "nats a token"
    example: ClassVar[tuple[int, ...]] = (5, 7)
    labels: ClassVar[str] = "token numbers (n, positions), -100 where none counts"

    @property
    def own_labels(self) -> bool:
        """True for a causal language model."""
        return bool(self.ids)

    @property
    def score(self) -> Measure:
        """Share of positions whose most likely token is the right one."""
        return Measure("tokens right", better="predicted right")

    @property
    def match(self) -> Measure:
        """Share of positions at which both networks rank the same token first."""
        return Measure("same first token", better="alike")

    def read(self, outputs: Any, inputs: Any) -> dict[str, "Tensor"]:
        """Log-probabilities (n, positions, tokens) and each position's weight (n, positions)."""
        values = self.chosen(outputs)
        if values.dim() != 3 or values.shape[2] < 2:
            raise InvalidData(
                "The judge 'tokens' needs outputs (samples, positions, tokens); got "
                f"{tuple(values.shape)}. Choose another judge for this network."
            )
        logs = logs_of(values, self.probabilities, 2)
        mask = self.masked(inputs)
        if mask is None:
            mask = logs.new_ones(logs.shape[:2])
        if mask.shape != logs.shape[:2]:
            raise InvalidData(
                f"The mask {self.mask!r} is {tuple(mask.shape)}, the outputs have "
                f"{tuple(logs.shape[:2])} positions."
            )
        return {"logs": logs, "weights": mask / mask.sum(1, keepdim=True)}

    def divergence(self, seen: Any, wanted: Any) -> "Tensor":
        """Mean KL divergence over a document's positions, nats, (n,)."""
        logs, aims = seen["logs"], wanted["logs"]
        kl: Tensor = ((aims.exp() * (aims - logs)).sum(2) * wanted["weights"]).sum(1)
        return kl

    def probe(self, seen: Any, generator: "torch.Generator") -> "Tensor":
        """-log p(c) at each position, c drawn there, times the root of its weight."""
        logs, weights = seen["logs"], seen["weights"]
        flat = logs.detach().exp().flatten(0, 1).cpu()
        drawn = flat.multinomial(1, generator=generator).to(logs.device).view(*weights.shape, 1)
        total: Tensor = -(logs.gather(2, drawn)[..., 0] * weights.sqrt()).sum()
        return total

    def matches(self, seen: Any, wanted: Any) -> "Tensor":
        """Share of a document's positions at which the same token is first, (n,)."""
        same = (seen["logs"].argmax(2) == wanted["logs"].argmax(2)).float()
        share: Tensor = (same * wanted["weights"]).sum(1)
        return share

    def truth(self, inputs: Any, labels: "Tensor | None") -> "Tensor | None":
        """The next tokens of a causal model; else the labels given, none where the mask pads."""
        if labels is not None or not self.ids:
            return self._unpadded(inputs, labels)
        ids = inputs[self.ids] if isinstance(inputs, dict) else inputs
        following: Tensor = ids.new_full(ids.shape, IGNORED).long()
        following[:, :-1] = ids[:, 1:]
        mask = self.masked(inputs)
        if mask is not None:
            following[:, :-1] = following[:, :-1].masked_fill(mask[:, 1:] == 0, IGNORED)
        return following

    def marks(self, seen: Any, labels: "Tensor") -> "Tensor":
        """Share of a document's labelled positions named right, (n,)."""
        counted = self._counted(seen, labels)
        right: Tensor = ((seen["logs"].argmax(2) == labels) & counted).sum(1) / counted.sum(1)
        return right

    def loss(self, seen: Any, labels: "Tensor") -> "Tensor":
        """Mean cross-entropy over a document's labelled positions, nats, (n,)."""
        counted = self._counted(seen, labels)
        found = seen["logs"].gather(2, labels.clamp_min(0)[..., None])[..., 0]
        entropy: Tensor = -(found * counted).sum(1) / counted.sum(1)
        return entropy

    def _unpadded(self, inputs: Any, labels: "Tensor | None") -> "Tensor | None":
        mask = None if labels is None else self.masked(inputs)
        if labels is None or mask is None or mask.shape != labels.shape:
            return labels
        return labels.masked_fill(mask == 0, IGNORED)

    def _counted(self, seen: Any, labels: "Tensor") -> "Tensor":
        logs = seen["logs"]
        if labels.shape != logs.shape[:2] or labels.is_floating_point():
            raise InvalidData(
                f"The judge 'tokens' needs a token number at each of {tuple(logs.shape[:2])} "
                f"positions; got labels {labels.dtype} of shape {tuple(labels.shape)}."
            )
        counted = labels >= 0
        if not bool(counted.any(1).all()):
            raise InvalidData("A document has no label that counts; remove it, or label it.")
        if int(labels.max()) >= logs.shape[2]:
            raise InvalidData(
                f"Label {int(labels.max())} is none of the network's {logs.shape[2]:,}, 0 to "
                f"{logs.shape[2] - 1:,}: was the text cut by another tokenizer, or are these "
                f"another network's labels? {IGNORED} is where none counts."
            )
        return counted
