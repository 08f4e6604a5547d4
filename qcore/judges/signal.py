"""Judge of signals: numbers that should come out the same, as pictures, sounds or forecasts."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from qcore.errors import InvalidData, InvalidParams
from qcore.judges.base import Judge, Measure
from qcore.judges.embedding import signs_like

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SCORES = ("psnr", "auc")
MOST_DB = 100.0
"""What equal signals get: their ratio has no end."""


@dataclass(frozen=True)
class Signal(Judge):
    """Numbers whose error counts.

    Attributes:
        measure: "psnr": labels are the true signals, and the score is the peak signal-to-noise
            ratio, dB. "auc": labels are 0 for usual and 1 for odd samples, the network rebuilds its
            input, and the score is the area under the ROC curve of its error.
        peak: Largest value of a true signal, for the PSNR.
        rebuilds: Name of the input that an autoencoder rebuilds; "" where it has one input only.
    """

    measure: str = "psnr"
    peak: float = 1.0
    rebuilds: str = ""

    name: ClassVar[str] = "signal"
    title: ClassVar[str] = "Signal"
    about: ClassVar[str] = (
        "For denoising, super-resolution, forecasts, regression and autoencoders: numbers that "
        "should stay the same."
    )
    divergence_name: ClassVar[str] = "relative squared error"
    unit: ClassVar[str] = "of the signal's power"
    example: ClassVar[tuple[int, ...]] = (3, 8)
    labels: ClassVar[str] = "true signals of the outputs' shape, or 0 and 1 (n,) for odd samples"

    @property
    def score(self) -> Measure:
        """PSNR, or the area under the ROC curve."""
        return Measure("PSNR", "dB") if self.measure == "psnr" else Measure("AUC")

    @property
    def match(self) -> Measure:
        """Signal to quantization noise."""
        return Measure("signal to noise", "dB")

    def check(self) -> None:
        """Raise unless the measure is known and the peak above 0."""
        super().check()
        if self.measure not in SCORES:
            raise InvalidParams(f"measure is {self.measure!r}; known: {', '.join(SCORES)}.")
        if not 0 < self.peak < 1e9:
            raise InvalidParams(f"peak is {self.peak:g}; it must be above 0.")

    def read(self, outputs: Any, inputs: Any) -> Any:
        """The numbers (n, values); with each sample's error where it rebuilds its input."""
        values = self.chosen(outputs)
        if values.dim() < 1 or not values.numel():
            raise InvalidData(f"The judge 'signal' needs numbers; got {tuple(values.shape)}.")
        flat = values.reshape(len(values), -1)
        if self.measure != "auc":
            return flat
        aim = inputs[self.rebuilds] if isinstance(inputs, dict) and self.rebuilds else inputs
        if isinstance(aim, dict):
            aim = next(iter(aim.values()))
        aim = aim.reshape(len(aim), -1)
        if aim.shape != flat.shape:
            raise InvalidData(
                f"An autoencoder gives back its input: outputs of {flat.shape[1]:,} values a "
                f"sample, inputs of {aim.shape[1]:,}. Use the measure 'psnr' instead."
            )
        return {"values": flat, "error": (flat - aim.float()).square().mean(1)}

    def divergence(self, seen: Any, wanted: Any) -> "Tensor":
        """Squared error over the float signal's power, (n,)."""
        found, aim = _values(seen), _values(wanted)
        ratio: Tensor = (found - aim).square().sum(1) / _power(aim)
        return ratio

    def probe(self, seen: Any, generator: "torch.Generator") -> "Tensor":
        """The signal in random signs, scaled so that its curvature is that of the error."""
        values = _values(seen)
        scale = (2 / _power(values.detach())).sqrt()[:, None]
        total: Tensor = (signs_like(values, generator) * values * scale).sum()
        return total

    def matches(self, seen: Any, wanted: Any) -> "Tensor":
        """Signal to quantization noise, dB, (n,)."""
        ratio: Tensor = -10 * self.divergence(seen, wanted).clamp_min(1e-10).log10()
        return ratio

    def marks(self, seen: Any, labels: "Tensor") -> "Tensor":
        """PSNR, dB (n,); or error and kind of each sample (n, 2)."""
        if self.measure == "auc":
            if labels.dim() != 1:
                raise InvalidData(
                    f"The measure 'auc' needs 0 or 1 a sample; got {tuple(labels.shape)}."
                )
            kept: Tensor = seen["error"].new_empty((len(labels), 2))
            kept[:, 0], kept[:, 1] = seen["error"], labels != 0
            return kept
        found, aim = seen, self._aim(seen, labels)
        floor = self.peak**2 * 10 ** (-MOST_DB / 10)
        error = (found - aim).square().mean(1).clamp_min(floor)
        ratio: Tensor = 10 * (self.peak**2 / error).log10()
        return ratio

    def marked(self, kept: "Tensor") -> "Tensor":
        """PSNR as it is; for the AUC, values whose mean is the AUC and whose spread is DeLong's.

        Reference: DeLong, DeLong and Clarke-Pearson, Biometrics 44, 1988.
        """
        if kept.dim() == 1:
            return kept
        error, odd = kept[:, 0], kept[:, 1] > 0
        if not bool(odd.any()) or bool(odd.all()):
            raise InvalidData(
                "The AUC needs samples of both kinds, 0 (usual) and 1 (odd); these are all "
                f"{'odd' if bool(odd.any()) else 'usual'}."
            )
        above = (error[odd][:, None] > error[~odd][None]).to(kept)
        above += 0.5 * (error[odd][:, None] == error[~odd][None])
        area = above.mean()
        placed = kept.new_empty(len(kept))
        n, m = len(kept), int(odd.sum())
        placed[odd] = area + (above.mean(1) - area) * n / m
        placed[~odd] = area + (above.mean(0) - area) * n / (n - m)
        return placed

    def loss(self, seen: Any, labels: "Tensor") -> "Tensor | None":
        """Squared error over the true signal's power, (n,); None for the AUC."""
        if self.measure == "auc":
            return None
        aim = self._aim(seen, labels)
        error: Tensor = (seen - aim).square().sum(1) / _power(aim)
        return error

    def _aim(self, seen: Any, labels: "Tensor") -> "Tensor":
        aim = labels.float().reshape(len(labels), -1)
        if aim.shape != seen.shape:
            raise InvalidData(
                f"The network gives {seen.shape[1]:,} numbers a sample, the true signals have "
                f"{aim.shape[1]:,}: they must be of one size."
            )
        return aim


def _values(answers: Any) -> "Tensor":
    values: Tensor = answers["values"] if isinstance(answers, dict) else answers
    return values


def _power(values: "Tensor") -> "Tensor":
    """Sum of squares of each sample, never so small that an error over it means nothing."""
    power: Tensor = values.square().sum(1)
    return power.clamp_min(1e-3 * float(power.mean()) + 1e-12)
