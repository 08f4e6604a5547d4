"""Evaluator: scores allocations of one model on fixed samples, after training (PTQ) or at a stage.

Searches see the search split only. The test split is read once per reported point and never to
choose. What is scored is the post-training base: MSE-searched scales, codes by one of ROUNDINGS,
ranges from histograms, bias correction and batch-norm re-estimation ("ptq"), and on request tuning
without labels ("ptq+tuned").
The weights of a training stage come from the trainer of the search that trains.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from qcore.allocation import FLOAT_BITS, BitAllocation
from qcore.cache import NO_CACHE, Cache
from qcore.data import Data, Split
from qcore.errors import InvalidData, InvalidParams
from qcore.judges import CLASSES, Judge
from qcore.judges.tally import Batch, score_bytes, tally
from qcore.problem import PTQ, TUNED, Point, Scores, Window
from qcore.ptq.calibration import Correction, first_images, float_allocation, measure_ranges
from qcore.ptq.choice import Choice, choose_correction, tried_widths
from qcore.ptq.model import QuantizedModel, State
from qcore.ptq.rounding_names import NEAREST
from qcore.ptq.settings import CORRECTION_IMAGES, TuningParams, held_out
from qcore.ptq.tuning import tune
from qcore.qat.trainer import Trainer
from qcore.rounding.table import Entries, RoundedWeights
from qcore.scoring import cached
from qcore.trees import Tree, call, count, device_of, finite, join, laid_out, part, pieces

MOST_ANSWER_BYTES = 6 * 2**30
"""Of the float network's answers on one split, which are kept in memory."""


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


def batch_size_for(input_shape: Sequence[int], device: str, ids: bool = False) -> int:
    """Samples per batch: on a CPU few enough that activations stay in cache.

    Args:
        input_shape: Of one sample.
        device: Where they are run.
        ids: Whether they are ids, each of which becomes some hundred numbers in the network.
    """
    if ids:
        pixels = max(784, 200 * math.prod(input_shape))
    elif len(input_shape) == 1:  # a sound or a row of features
        pixels = max(784, 16 * input_shape[0])
    else:
        pixels = max(1, math.prod(input_shape[-2:])) if input_shape else 784
    limit = 128 if device == "cpu" else 512
    return max(8, min(limit, (400_000 if device == "cpu" else 8_000_000) // pixels))


def to_batches(samples: Split, size: int, device: str, judge: Judge = CLASSES) -> list[Batch]:
    """Batches on a device, images normalised and channels last, checked for NaN.

    Labels are those that the judge counts.

    Raises:
        InvalidData: no samples, or NaN in a batch (its number is said).
    """
    batches: list[Batch] = []
    for index, (x, y) in enumerate(samples.batches(size, device)):
        if not finite(x):
            raise InvalidData(f"Batch {index} has NaN or infinite values; check these samples.")
        batches.append((laid_out(x), judge.truth(x, y)))
    if not batches:
        raise InvalidData("There is no sample to measure on; check the data set's folder.")
    return batches


class Evaluator:
    """Scores allocations.

    Args:
        model: The quantized model; this evaluator switches it at will.
        data: Its samples.
        device: Where both live.
        tuning: Settings of the label-free tuning.
        batch_size: Samples per batch; None chooses.
        judge: How answers are compared.
        rounding: Key of ROUNDINGS: how weights become codes.
        known: What that rounding made before of this network and these samples.
        correction: Key of CORRECTIONS; None measures which is best for this network.
        make: Given the table of codes and the widths that measuring the correction takes, before
            anything is asked of it; makes what it wants to have made with progress.
        cache: Of what depends on this network; None of it is worked out twice.

    Attributes:
        float_point: The float network as a point; its test scores are taken with the first report.
        calibration: Calibration batches (inputs, labels or None).
        search: Batches of the search split, the same.
        correction: The bias and norm correction applied to every allocation.
        rounded: The codes that the rounding chose; None where it is the nearest.
        chosen: How layers are corrected, and what was measured of it.
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
        judge: Judge = CLASSES,
        rounding: str = NEAREST,
        known: Entries | None = None,
        correction: str | None = None,
        make: Callable[[RoundedWeights, tuple[int, ...]], None] = lambda rounded, widths: None,
        cache: Cache = NO_CACHE,
    ) -> None:
        self.model, self.device, self.judge = model, device, judge
        self.tuning = tuning or TuningParams()
        size = batch_size or batch_size_for(data.input_shape, device, data.ids)
        self._size = size
        self.calibration = to_batches(data.calibration, size, device, judge)
        self.search = to_batches(data.search, size, device, judge)
        self._test_images = data.test
        self._cache = cache = cache.about(device, size, judge.to_json())
        model.histograms = cache.found(
            "ranges",
            lambda: measure_ranges(model, [x for x, _ in self.calibration]),
            cached.ranges_to_arrays,
            cached.ranges_from_arrays,
        )
        self.rounded: RoundedWeights | None = None
        if rounding != NEAREST:
            self.rounded = RoundedWeights(model, self._fitted_on(), rounding, known)
            model.rounded = self.rounded
            held = sum(count(x) for x, _ in self.unseen(2 * CORRECTION_IMAGES))
            make(self.rounded, tried_widths(held) if correction is None else ())
        self.chosen = Choice(correction, {}) if correction is not None else self._choice(rounding)
        self.correction = self._corrected(self.chosen.how)
        self._installed: tuple[str, str] | None = None
        self._tuned: dict[str, State] = {}
        self._float_search = self._float_answers("search", self.search)
        self._float_test: list[Tree] | None = None
        self._float_right: bytes | None = None
        everything = float_allocation(model)
        self.float_point = Point(
            everything,
            tally(judge, self.search, self._float_search, self._float_search),
            device=device,
        )

    def _choice(self, rounding: str) -> Choice:
        return self._cache.found(
            "correction",
            lambda: choose_correction(self.model, self.unseen(2 * CORRECTION_IMAGES), self.judge),
            cached.choice_to_arrays,
            cached.choice_from_arrays,
            rounding,
            self.model.quantizer,
        )

    def _corrected(self, how: str) -> Correction:
        few = [x for x, _ in first_images(self.calibration, CORRECTION_IMAGES)]
        kept = self._cache.get("moments", how)
        names = list(self.model.layers)
        known = None
        if kept is not None:
            known = cached.targets_from_arrays(kept, names, len(few), self.device)
        made = Correction(self.model, few, how, known)
        if kept is None and made.targets:
            self._cache.put("moments", cached.targets_to_arrays(made.targets), how)
        return made

    def unseen(self, most: int) -> list[Batch]:
        """The leading calibration batches, of at most so many samples, that no rounding has seen.

        What it was fitted on looks better than other samples do.
        """
        if self.rounded is not None:
            most = min(most, held_out(sum(count(x) for x, _ in self.calibration)))
        return list(first_images(self.calibration, most))

    def _fitted_on(self) -> list[Tree]:
        """Calibration samples that are not among the held-out ones."""
        left = held_out(sum(count(x) for x, _ in self.calibration))
        batches: list[Tree] = []
        for x, _ in self.calibration:
            if left < count(x):
                batches.append(part(x, slice(left, None)))
            left = max(0, left - count(x))
        if not batches:
            raise InvalidParams(
                "A rounding other than the nearest takes at least 2 calibration samples, one to be "
                "fitted on and one to score on; give more."
            )
        return batches

    def forget(self) -> None:
        """Call after switching the model from outside: the next score sets it anew."""
        self._installed = None

    def _float_answers(self, split: str, batches: Sequence[Batch]) -> list[Tree]:
        return self._cache.found(
            "answers",
            lambda: self._answered(batches),
            cached.answers_to_arrays,
            lambda arrays: cached.answers_from_arrays(arrays, self.device),
            split,
        )

    @torch.inference_mode()
    def _answered(self, batches: Sequence[Batch]) -> list[Tree]:
        self.model.set_allocation(float_allocation(self.model))
        self._installed = None
        answers: list[Tree] = []
        for x, _ in batches:
            answers.append(self.judge.read(self.model(x), x))
            if len(answers) == 1:
                self._check_memory(answers[0], count(x), sum(count(x) for x, _ in batches))
        return answers

    def _check_memory(self, answers: Tree, seen: int, total: int) -> None:
        kept = [answers] if isinstance(answers, Tensor) else list(answers.values())
        needed = sum(t.nbytes for t in kept) / seen * total
        if needed > MOST_ANSWER_BYTES:
            raise InvalidParams(
                f"The network's answers on {total:,} samples take {needed / 2**30:.1f} GiB, at "
                f"most {MOST_ANSWER_BYTES / 2**30:.0f} GiB are kept: use about "
                f"{int(total * MOST_ANSWER_BYTES / needed):,} samples, or shorter ones."
            )

    def _install(self, allocation: BitAllocation, stage: str) -> None:
        if self._installed == (stage, allocation.digest):
            return
        if stage == TUNED:
            if allocation.digest not in self._tuned:
                self._install(allocation, PTQ)
                tune(self.model, self.calibration, self.tuning, self.judge)
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
        batches: Sequence[Batch],
        reference: Sequence[Tree],
        network: nn.Module | None = None,
        right: list[Tensor] | None = None,
    ) -> Scores:
        network = network or self.model
        answers = (self.judge.read(call(network, x), x) for x, _ in batches)
        return tally(self.judge, batches, answers, reference, right)

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
                if self._untouched(allocation, stage):
                    scores = tally(self.judge, batches, reference, reference)
                else:
                    scores = self._scores(batches, reference)
            seconds = time.perf_counter() - started
            yield Point(allocation, scores, None, stage, self.device, seconds, images)

    def _untouched(self, allocation: BitAllocation, stage: str) -> bool:
        """True for the float network itself, whose answers are known: it is not run again."""
        return stage == PTQ and allocation == self.float_point.allocation

    def _window(self, images: Window | None) -> tuple[Sequence[Batch], Sequence[Tree]]:
        """Batches of a window of the search split, and the float network's outputs on them."""
        if images is None:
            return self.search, self._float_search
        start, many = images
        total = sum(count(x) for x, _ in self.search)
        if not 0 < many <= total:
            raise InvalidParams(
                f"A window of {many:,} samples does not fit the search split of {total:,}; take "
                "fewer, or more search samples."
            )
        wanted = (start + torch.arange(many)) % total
        parts, reference, labels, first = [], [], [], 0
        for (x, y), answers in zip(self.search, self._float_search, strict=True):
            n = count(x)
            inside = (wanted[(wanted >= first) & (wanted < first + n)] - first).to(device_of(x))
            first += n
            parts.append(part(x, inside))
            reference.append(part(answers, inside))
            labels.append(None if y is None else y[inside])
        # batches of one size, since norms may use their statistics
        number = -(-many // self._size)
        inputs = pieces(join(parts), number)
        known = [y for y in labels if y is not None]
        truth = torch.cat(known).tensor_split(number) if known else (None,) * number
        batches: list[Batch] = [(laid_out(x), y) for x, y in zip(inputs, truth, strict=True)]
        return batches, pieces(join(reference), number)

    @property
    def test_samples(self) -> int:
        """How many test samples there are."""
        return len(self._test_images)

    def report(self, point: Point) -> Point:
        """Return the point with its scores on the test split, sample by sample too."""
        batches = to_batches(self._test_images, self._size, self.device, self.judge)
        right: list[Tensor] = []
        if self._float_test is None:
            self._float_test = self._float_answers("test", batches)
            test = tally(self.judge, batches, self._float_test, self._float_test, right)
            self.float_point = replace(self.float_point, test=test)
            self._float_right = score_bytes(right.pop())
        self._install(point.allocation, point.stage)
        if self._untouched(point.allocation, point.stage):
            return replace(point, test=self.float_point.test, test_right=self._float_right)
        test = self._scores(batches, self._float_test, right=right)
        return replace(point, test=test, test_right=score_bytes(right[0]))

    def tuned(self, point: Point) -> Point:
        """Tune a point without labels and score it on both splits: stage "ptq+tuned"."""
        fresh = next(self.score([point.allocation], TUNED))
        return self.report(fresh)

    def state(self, point: Point) -> State:
        """Quantizer state behind a point's scores; recomputed when it is not the current one."""
        self._install(point.allocation, point.stage)
        return self.model.state()
