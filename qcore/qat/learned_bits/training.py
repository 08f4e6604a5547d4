"""Trains weights, steps and ranges together under limits, and freezes the best that fits.

Reference: Uhlich et al., Mixed Precision DNNs, arXiv 1905.11452, ICLR 2020, section 4. The rest is
as in the published training script: gradients of steps and ranges are clipped to the step, decay
acts on them too, values are projected after every step, and of all states within the limits the one
of best validation accuracy is kept. See `searches.dq` for where this differs.
"""

from collections.abc import Generator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from qcore.allocation import BitAllocation
from qcore.costs import costs_of
from qcore.costs.budget import Budget
from qcore.data import Images
from qcore.errors import InvalidData
from qcore.problem import Progress
from qcore.qat.learned_bits.model import DqModel, penalty
from qcore.qat.loop import Plan, Stage, seeded, train_stage
from qcore.qat.model import TrainableModel
from qcore.qat.requests import Learned, Learning
from qcore.qat.setup import Materials, keep_stage

ROWS = 16
"""Rows of the trajectory kept of each epoch."""


def learn_bits(
    materials: Materials,
    stage: str,
    frozen: str,
    learning: Learning,
) -> Generator[Progress, None, Learned]:
    """Train a stage in which the bits are learned; then save its best state, frozen, as another.

    Args:
        materials: What is trained, on what.
        stage: Name of the stage.
        frozen: Name of the stage that a TrainableModel can be loaded from.
        learning: How.

    Yields:
        Progress after every epoch, with the trajectory among its figures.

    Raises:
        InvalidData: too few training images to keep some for validation.
        Diverged: the loss, or a parameter, is NaN or infinite.
    """
    train, validation = held_out(materials.images, learning.validation_images, materials.seed)
    plan = Plan(**learning.plan)
    model = DqModel(
        materials.network,
        materials.found,
        materials.options,
        kind=learning.kind,
        powers=learning.powers,
        decay=plan.decay,
        device=materials.device,
    )
    for name, layer in model.grids.items():
        layer.begin = None if learning.start is None else learning.start[name]
    model.start_scales(materials.calibration)
    watch = _Watch(
        model, learning, list(validation.batches(128, materials.device)), materials.teacher
    )
    training = Stage(
        name=stage,
        model=model,
        images=train,
        plan=plan,
        seed=materials.seed,
        device=materials.device,
        teacher=materials.teacher,
        before_step=watch.look,
        penalty=watch.penalty if learning.limits else None,
        measure=watch.rows,
        finish=lambda: watch.check(),
    )
    yield from train_stage(training, materials.checkpoints)
    fits = model.best is not None
    model.recall()
    allocation = model.chosen()
    _freeze(materials, frozen, model, allocation)
    return Learned(allocation, fits, model.best_value if fits else None)


def held_out(images: Images, count: int, seed: int) -> tuple[Images, Images]:
    """Split training images into those that train and `count` (at most a fifth) that do not."""
    count = min(count, len(images) // 5)
    if count < 2:
        raise InvalidData(
            f"Learning bits keeps a fifth of the training images to choose with, and there are only"
            f" {len(images)} of them; give at least 10."
        )
    order = torch.randperm(len(images), generator=seeded(seed, "validation"))
    return _some(images, order[count:]), _some(images, order[:count])


def _some(images: Images, index: Tensor) -> Images:
    labels = None if images.labels is None else images.labels[index]
    return Images(images.pixels[index], labels, images.mean, images.std)


def _freeze(
    materials: Materials,
    name: str,
    model: DqModel,
    allocation: BitAllocation,
) -> None:
    plain = TrainableModel(
        materials.network,
        materials.found,
        materials.options,
        quantizer=str(materials.notes["quantizer"]),
        device=materials.device,
    )
    model.freeze(plain, allocation)

    keep_stage(materials, name, plain, allocation)


class _Watch:
    """Looks at a model between its steps: its costs, its validation accuracy, its trajectory."""

    def __init__(
        self,
        model: DqModel,
        learning: Learning,
        validation: Sequence[tuple[Tensor, Tensor | None]],
        teacher: nn.Module | None,
    ) -> None:
        self.model, self.learning, self.validation = model, learning, validation
        self.teacher = teacher
        self.kept: list[dict[str, Any]] = []

    def exact(self) -> dict[str, int]:
        return costs_of(self.model.spec, self.model.chosen())

    def penalty(self) -> Tensor:
        return penalty(self.model, self.learning.limits, self.learning.strength, self.exact())

    def look(self, step: int, generator: torch.Generator) -> None:
        if step and step % self.learning.check_every == 0:
            self.check()
        self.kept.append(self.row(step))

    def check(self) -> None:
        """Keep the state where it is within the limits and the best so far."""
        if Budget(self.learning.limits).admits(self.exact()):
            self.model.remember(self.accuracy())

    @torch.no_grad()
    def accuracy(self) -> float:
        """Share of validation images named right (or as the float network does), 0..1."""
        hits = total = 0
        with self.model.batch_statistics() as network:
            for x, y in self.validation:
                if len(x) < 2:
                    continue
                truth = y
                if truth is None and self.teacher is not None:
                    truth = self.teacher(x).argmax(1)
                if truth is not None:
                    hits += int((network(x).argmax(1) == truth).sum())
                total += len(x)
        self.model.set_training(True)
        return hits / max(1, total)

    @torch.no_grad()
    def row(self, step: int) -> dict[str, Any]:
        costs = self.exact()
        pairs = [layer.grids() for layer in self.model.grids.values()]
        bits = [[None if g is None else int(g.bits) for g in pair] for pair in pairs]
        steps = [[None if g is None else float(g.step) for g in pair] for pair in pairs]
        reaches = [[None if g is None else float(g.reach) for g in pair] for pair in pairs]
        limits = self.learning.limits.items()
        # bits that a table does not list have no such cost
        excess = {n: costs[n] / limit - 1 for n, limit in limits if n in costs}
        return {
            "step": step, "bits": bits, "steps": steps, "ranges": reaches, "excess": excess
        }  # fmt: skip

    def rows(self) -> dict[str, Any]:
        """Trajectory of the epoch that has just ended, about ROWS rows of it."""
        kept, self.kept = self.kept, []
        thin = kept[:: max(1, len(kept) // ROWS)]
        return {
            "trajectory": thin,
            "layers": list(self.model.grids),
            "validation": None if self.model.best is None else self.model.best_value,
        }
