"""Evaluator: scores allocations of one model on fixed images, after training (PTQ) or at a stage.

Searches see the search split only. The test split is read once per reported point and never to
choose. What is scored is the post-training base: MSE-searched scales, ranges from histograms, bias
correction and batch-norm re-estimation ("ptq"), and on request tuning without labels ("ptq+tuned").
The weights of a training stage come from the trainer of the search that trains.
"""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from qcore.allocation import FLOAT_BITS, BitAllocation
from qcore.data import Data, Images
from qcore.errors import InvalidData, InvalidParams
from qcore.problem import PTQ, TUNED, Point, Scores, Window
from qcore.ptq.calibration import Correction, first_images, float_allocation, measure_ranges
from qcore.ptq.model import QuantizedModel, State
from qcore.ptq.settings import CORRECTION_IMAGES, TuningParams
from qcore.ptq.tuning import tune
from qcore.qat.trainer import Trainer


def choose_device(wanted: str = "auto") -> str:
    """Turn "auto" into the best device here: "cuda", "mps" or "cpu".

    Raises:
        InvalidParams: the wanted device is unknown or not present.
    """
    present = ["cpu"]
    if torch.backends.mps.is_available():
        present.insert(0, "mps")
    if torch.cuda.is_available():
        present.insert(0, "cuda")
    if wanted == "auto":
        return present[0]
    if wanted not in present:
        raise InvalidParams(f"No device {wanted!r} here; present: {', '.join(present)}, or auto.")
    return wanted


def batch_size_for(input_shape: Sequence[int], device: str) -> int:
    """Images per batch: on a CPU few enough that activations stay in cache."""
    pixels = max(1, input_shape[-1] * input_shape[-2]) if len(input_shape) > 1 else 784
    limit = 128 if device == "cpu" else 512
    return max(8, min(limit, (400_000 if device == "cpu" else 8_000_000) // pixels))


def to_batches(images: Images, size: int, device: str) -> list[tuple[Tensor, Tensor | None]]:
    """Normalised batches on a device, channels last, checked for NaN.

    Raises:
        InvalidData: no images, or NaN in a batch (its number is said).
    """
    batches = []
    for index, (x, y) in enumerate(images.batches(size, device)):
        if not torch.isfinite(x).all():
            raise InvalidData(f"Batch {index} has NaN or infinite pixels; check these images.")
        batches.append((_laid_out(x), y))
    if not batches:
        raise InvalidData("There is no image to measure on; check the data set's folder.")
    return batches


def _laid_out(x: Tensor) -> Tensor:
    layout = torch.channels_last if x.dim() == 4 else torch.contiguous_format
    return x.contiguous(memory_format=layout)


def tally(
    batches: Sequence[tuple[Tensor, Tensor | None]],
    outputs: Iterable[Tensor],
    reference: Sequence[Tensor],
    right: list[Tensor] | None = None,
) -> Scores:
    """Scores of a network's outputs.

    Args:
        batches: Images with their labels, or None.
        outputs: Log-probabilities (n, classes) of each batch.
        reference: The float network's, the same.
        right: Gets, per batch, which images were named right (as the float network does, where
            there are no labels), bool (n,).

    Raises:
        InvalidData: an output is NaN.
    """
    n = hits = agreed = lost = gained = 0
    kl = squares = loss = 0.0
    labelled = True
    for (x, y), logs, wanted in zip(batches, outputs, reference, strict=True):
        n += len(x)
        terms = wanted.exp() * (wanted - logs)
        kl += float(terms.sum())
        squares += float(terms.sum(1).square().sum())
        top, told = logs.argmax(1), wanted.argmax(1)
        agreed += int((top == told).sum())
        named = top == (told if y is None else y)
        expected = told == (told if y is None else y)
        lost += int((expected & ~named).sum())
        gained += int((named & ~expected).sum())
        if right is not None:
            right.append(named.cpu())
        if y is None:
            labelled = False
            continue
        loss += float(functional.nll_loss(logs, y, reduction="sum"))
        hits += int(named.sum())
    if kl != kl:
        raise InvalidData(
            "The network's outputs are NaN on these images; check the images and its weights."
        )
    return Scores(
        n=n,
        # rounding can leave a divergence of -1e-9 where the networks agree
        kl=max(0.0, kl / n),
        agreement=agreed / n,
        accuracy=hits / n if labelled else None,
        loss=loss / n if labelled else None,
        lost=lost,
        gained=gained,
        kl_error=math.sqrt(max(0.0, squares / n - (kl / n) ** 2) / n),
    )


class Evaluator:
    """Scores allocations.

    Args:
        model: The quantized model; this evaluator switches it at will.
        data: Its images.
        device: Where both live.
        tuning: Settings of the label-free tuning.
        batch_size: Images per batch; None chooses.

    Attributes:
        float_point: The float network as a point; its test scores are taken with the first report.
        calibration: Calibration batches (images, labels or None).
        search: Batches of the search split, the same.
        correction: The bias and norm correction applied to every allocation.
        trainer: Where the weights of training stages come from (`qcore.qat.trainer`), or None.
    """

    trainer: Trainer | None = None

    def __init__(
        self,
        model: QuantizedModel,
        data: Data,
        device: str = "cpu",
        tuning: TuningParams | None = None,
        batch_size: int | None = None,
    ) -> None:
        self.model, self.device = model, device
        self.tuning = tuning or TuningParams()
        size = batch_size or batch_size_for(data.input_shape, device)
        self._size = size
        self.calibration = to_batches(data.calibration, size, device)
        self.search = to_batches(data.search, size, device)
        self._test_images = data.test
        measure_ranges(model, [x for x, _ in self.calibration])
        few = first_images(self.calibration, CORRECTION_IMAGES)
        self.correction = Correction(model, [x for x, _ in few])
        self._installed: tuple[str, str] | None = None
        self._tuned: dict[str, State] = {}
        self._float_search = self._float_logs(self.search)
        self._float_test: list[Tensor] | None = None
        everything = float_allocation(model)
        self.float_point = Point(
            everything, tally(self.search, self._float_search, self._float_search), device=device
        )

    def forget(self) -> None:
        """Call after switching the model from outside: the next score sets it anew."""
        self._installed = None

    @torch.inference_mode()
    def _float_logs(self, batches: Iterable[tuple[Tensor, Tensor | None]]) -> list[Tensor]:
        self.model.set_allocation(float_allocation(self.model))
        self._installed = None
        return [functional.log_softmax(self.model(x), 1) for x, _ in batches]

    def _install(self, allocation: BitAllocation, stage: str) -> None:
        if self._installed == (stage, allocation.digest):
            return
        if stage == TUNED:
            if allocation.digest not in self._tuned:
                self._install(allocation, PTQ)
                tune(self.model, self.calibration, self.tuning)
                self._tuned[allocation.digest] = self.model.state()
            self.model.load_state(allocation, self._tuned[allocation.digest])
        elif stage == PTQ:
            self.model.set_allocation(allocation)
            if any((b.weight, b.activation) != (FLOAT_BITS,) * 2 for b in allocation.values()):
                self.correction.apply()
        elif self.trainer is not None:
            self.model.load_state(allocation, self.trainer.state(stage, allocation))
        else:
            raise InvalidParams(f"Unknown weights stage {stage!r}; known: {PTQ}, {TUNED}.")
        self._installed = (stage, allocation.digest)

    @torch.inference_mode()
    def _scores(
        self,
        batches: Sequence[tuple[Tensor, Tensor | None]],
        reference: Sequence[Tensor],
        network: nn.Module | None = None,
        right: list[Tensor] | None = None,
    ) -> Scores:
        network = network or self.model
        outputs = (functional.log_softmax(network(x), 1) for x, _ in batches)
        return tally(batches, outputs, reference, right)

    def score(
        self, allocations: Sequence[BitAllocation], stage: str = PTQ, images: Window | None = None
    ) -> Iterator[Point]:
        """Score allocations on the search split, one point each, in order, as they come.

        Args:
            allocations: What to score.
            stage: With which weights.
            images: On which window of the split; None is all of it.
        """
        batches, reference = self._window(images)
        for allocation in allocations:
            started = time.perf_counter()
            if images is not None and self.trainer is not None and stage not in (PTQ, TUNED):
                with self.trainer.windowed(stage, allocation) as network:
                    scores = self._scores(batches, reference, network)
            else:
                self._install(allocation, stage)
                scores = self._scores(batches, reference)
            seconds = time.perf_counter() - started
            yield Point(allocation, scores, None, stage, self.device, seconds, images)

    def _window(
        self, images: Window | None
    ) -> tuple[Sequence[tuple[Tensor, Tensor | None]], Sequence[Tensor]]:
        """Batches of a window of the search split, and the float network's outputs on them."""
        if images is None:
            return self.search, self._float_search
        start, count = images
        total = sum(len(x) for x, _ in self.search)
        if not 0 < count <= total:
            raise InvalidParams(
                f"A window of {count:,} images does not fit the search split of {total:,}; take "
                "fewer, or more search images."
            )
        wanted = (start + torch.arange(count)) % total
        parts, reference, labels, first = [], [], [], 0
        for (x, y), logs in zip(self.search, self._float_search, strict=True):
            inside = (wanted[(wanted >= first) & (wanted < first + len(x))] - first).to(x.device)
            first += len(x)
            parts.append(x[inside])
            reference.append(logs[inside])
            labels.append(None if y is None else y[inside])
        # batches of one size, since norms may use their statistics
        pieces = -(-count // self._size)
        pixels = torch.cat(parts).tensor_split(pieces)
        known = [y for y in labels if y is not None]
        truth = torch.cat(known).tensor_split(pieces) if known else (None,) * pieces
        batches = [(_laid_out(x), y) for x, y in zip(pixels, truth, strict=True)]
        return batches, torch.cat(reference).tensor_split(pieces)

    def report(self, point: Point) -> Point:
        """Return the point with its scores on the test split, image by image too."""
        batches = to_batches(self._test_images, self._size, self.device)
        if self._float_test is None:
            self._float_test = self._float_logs(batches)
            test = tally(batches, self._float_test, self._float_test)
            self.float_point = replace(self.float_point, test=test)
        self._install(point.allocation, point.stage)
        right: list[Tensor] = []
        test = self._scores(batches, self._float_test, right=right)
        return replace(point, test=test, test_right=np.packbits(torch.cat(right).numpy()).tobytes())

    def tuned(self, point: Point) -> Point:
        """Tune a point without labels and score it on both splits: stage "ptq+tuned"."""
        fresh = next(self.score([point.allocation], TUNED))
        return self.report(fresh)

    def state(self, point: Point) -> State:
        """Quantizer state behind a point's scores; recomputed when it is not the current one."""
        self._install(point.allocation, point.stage)
        return self.model.state()
