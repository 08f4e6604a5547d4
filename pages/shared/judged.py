"""What the figures of some runs are called: every word comes from the judge of the runs. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from qcore.allocation import ModelSpec
from qcore.errors import InvalidParams
from qcore.formats.config import BitConfig
from qcore.judges import CLASSES, Judge, Measure, judge_words, read_judge
from qcore.problem import Scores
from store import StoredPoint


@dataclass(frozen=True, slots=True)
class Words:
    """How figures are named and written; "shown" figures are already multiplied by `factor`.

    Attributes:
        judge: How answers are compared.
        labelled: Whether the samples have labels; else the score is likeness to the float network.
        images: Whether a sample is an image of a classifier, and is called so.
    """

    judge: Judge = CLASSES
    labelled: bool = True
    images: bool = True

    @property
    def measure(self) -> Measure:
        """What the score is."""
        return self.judge.score if self.labelled else self.judge.match

    @property
    def usual(self) -> bool:
        """Whether classes are compared, as of old."""
        return self.judge.name == CLASSES.name

    @property
    def name(self) -> str:
        """The score within a sentence: "accuracy", "PSNR"."""
        if self.usual and not self.labelled:
            return "agreement with the float network"
        return self.measure.name

    @property
    def title(self) -> str:
        """The score as a title begins: "Accuracy", "PSNR"."""
        return first_large(self.name)

    @property
    def factor(self) -> float:
        """What a stored score is multiplied with to be shown."""
        return self.measure.factor

    @property
    def symbol(self) -> str:
        """Unit of a shown score: "%", "dB"."""
        return self.measure.symbol

    @property
    def lost(self) -> str:
        """Unit of a difference of two shown scores: "points", "dB"."""
        return self.measure.difference

    @property
    def has_loss(self) -> bool:
        """Whether scores can be lost against the float network: its own likeness may have no end.

        A signal equals itself at infinitely many dB, so without labels there is no difference.
        """
        return self.labelled or self.judge.hits or self.measure.share

    @property
    def sample(self) -> str:
        """One of what is measured on: "image", or "sample"."""
        return "image" if self.images else "sample"

    @property
    def samples(self) -> str:
        """Several of them."""
        return f"{self.sample}s"

    @property
    def divergence(self) -> str:
        """What searches minimise, as a title begins: "Divergence", "Cosine distance"."""
        return "Divergence" if self.usual else first_large(self.judge.divergence_name)

    @property
    def unit(self) -> str:
        """Unit of a divergence: "nats"."""
        return self.judge.unit

    @property
    def behind(self) -> str:
        """The same as it stands behind a number: "nats", "(1 - cosine)"."""
        return behind(self.unit)

    @property
    def better(self) -> str:
        """What the side of a comparison is whose score is higher."""
        return "is more accurate" if self.usual else f"has the higher {self.name}"

    @property
    def said(self) -> str:
        """How answers are compared, in a few words; "" for classes, which need none."""
        return "" if self.usual else judge_words(self.judge)

    def head(self, column: str) -> str:
        """The head of a table's column, written for classifiers, as this judge has it.

        Example:
            >>> Words(Signal(), True, False).head("Test accuracy, %, 95 % low")
            'Test PSNR, dB, 95 % low'
        """
        if self.usual and self.images:
            return column
        return _HEADS.sub(lambda found: self._meant[found.group()], column)

    def heads(self, table: pd.DataFrame) -> pd.DataFrame:
        """A table with `head` over its columns."""
        return table.rename(columns=self.head)

    def text(self, sentence: str) -> str:
        """A sentence of ours, written for classifiers, as this judge has it; no names in it.

        Example:
            >>> Words(Signal(), True, False).text("More accuracy on the same images.")
            'More PSNR on the same samples.'
        """
        if self.usual and self.images:
            return sentence
        return _TEXT.sub(lambda found: self._meant[found.group()], sentence)

    @property
    def _meant(self) -> Mapping[str, str]:
        told = {
            "Accuracies": "Scores",
            "accuracies": "scores",
            "Accuracy": self.title,
            "accuracy": self.name,
            "Image": first_large(self.sample),
            "image": self.sample,
            "is more accurate": self.better,
            "exact McNemar": "exact McNemar" if self.judge.hits else "paired t",
            ", %": f", {self.symbol}",
            "points": self.lost,
            "nats": self.unit,
        }
        return told

    def on(self, split: str) -> str:
        """Title of an axis or a column: "Accuracy on the search split, %"."""
        return f"{self.title} on the {split} split, {self.symbol}"

    def value(self, shown: float, digits: int = 1) -> str:
        """A shown score with its unit: "92.3 %", "38.1 dB"."""
        return f"{shown:.{digits}f} {self.symbol}"

    def scores(self, scores: Scores) -> str:
        """A score with its 95 % interval.

        Example:
            >>> Words().scores(Scores(1024, 0.1, 0.9, 0.906))
            '90.6 % (88.7 to 92.2, n=1,024)'
        """
        low, high = self.measure.span(scores.interval)
        shown = self.value(self.factor * scores.headline)
        return f"{shown} ({low:.1f} to {high:.1f}, n={scores.n:,})"

    def aim(self, objective: str) -> str:
        """What a search minimises, for "kl" or "loss", within a sentence."""
        if objective == "loss":
            return "cross-entropy" if self.usual else "loss on labels"
        name = "divergence" if self.usual else self.judge.divergence_name
        return f"{name} from the float network"


_TEXT = re.compile(
    "Accuracies|accuracies|Accuracy|accuracy|Image|image|is more accurate|exact McNemar"
)
_HEADS = re.compile(f"{_TEXT.pattern}|, %|points|nats")

CLASSIFIER = Words()
"""Of image classifiers whose images have labels."""


def words_of(
    judge: Mapping[str, Any] | None,
    points: Sequence[StoredPoint] = (),
    model: ModelSpec | None = None,
) -> Words:
    """The words for a run.

    Args:
        judge: As `RunSpec.judge` has it; one that cannot be read is taken for classes.
        points: Some of its points, which tell whether its samples have labels; () if none is known.
        model: Its network, where known: whether it takes images.
    """
    labelled = not points or points[0].point.search.accuracy is not None
    return words_for(judged(judge), labelled, model)


def words_of_config(config: BitConfig) -> Words:
    """The words for a configuration's scores, as its file says how answers were compared."""
    said = config.provenance.get("judge")
    scores = config.test or config.search
    labelled = scores is None or scores.accuracy is not None
    return words_for(judged(said), labelled, config.model)


def words_for(judge: Judge, labelled: bool = True, model: ModelSpec | None = None) -> Words:
    """The words for what a judge says of a network's samples."""
    usual = judge.name == CLASSES.name
    return Words(judge, labelled, usual and not (model is not None and model.inputs))


def judged(judge: Mapping[str, Any] | None) -> Judge:
    """A judge as it was stored; one of another release, which cannot be read, is classes."""
    try:
        return read_judge(judge)
    except InvalidParams:
        return CLASSES


def behind(unit: str) -> str:
    """A unit as it stands behind a number: what is no plain word there is put into brackets."""
    return unit if unit.startswith(("nats", "of ")) else f"({unit})"


def first_large(words: str) -> str:
    """Words as a title begins; the rest, which may be a name, as it is."""
    return words[:1].upper() + words[1:]
