"""Trains weights, steps and ranges together under limits, and freezes the best that fits.

Reference: Uhlich et al., Mixed Precision DNNs, arXiv 1905.11452, ICLR 2020, section 4. The rest is
as in the published training script: gradients of steps and ranges are clipped to the step, decay
acts on them too, values are projected after every step, and of all states within the limits the one
of least validation loss is kept. See `searches.dq` for where this differs.
"""

from collections.abc import Generator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from qcore.costs import costs_of
from qcore.costs.budget import Budget
from qcore.data import Split
from qcore.errors import InvalidData
from qcore.judges import Judge
from qcore.judges.tally import Batch, mean_values
from qcore.problem import Progress
from qcore.qat.learned_bits.model import DqModel, penalty
from qcore.qat.loop import Plan, Stage, seeded, train_stage
from qcore.qat.requests import Learned, LearnedBits, Quantization
from qcore.qat.setup import Setup, keep_stage

ROWS = 16
"""Rows of the trajectory kept of each epoch."""

LOOKING = 1.5
"""Steps of training for each batch that is looked at: looking then takes a fifth of the time, as a
step passes forward and back."""


def train(setup: Setup, request: LearnedBits) -> Generator[Progress, None, Learned]:
    """Train a stage in which the bits are learned; then save its best state, frozen, as another.

    Args:
        setup: What is trained, on what.
        request: How, and the names of both stages.

    Yields:
        Progress after every epoch, with the trajectory among its figures.

    Raises:
        InvalidData: no training images, or too few to keep some for validation.
        Diverged: the loss, or a parameter, is NaN or infinite.
    """
    images, held = held_out(setup.training_images, request.validation_images, setup.seed)
    plan = Plan(**request.plan)
    model = DqModel(
        setup.exposed_network,
        setup.found,
        setup.options,
        kind=request.kind,
        powers=request.powers,
        decay=plan.decay,
        clipped=clips(request),
        device=setup.device,
        ties=setup.ties,
    )
    for name, layer in model.layers.items():
        layer.begin = None if request.start is None else request.start[name]
    model.start_scales(setup.calibration)
    validation = list(held.batches(128, setup.device))
    watch = _Watch(model, request, validation, setup.teacher, setup.judge)
    stage = Stage(
        name=request.training,
        model=model,
        images=images,
        plan=plan,
        seed=setup.seed,
        device=setup.device,
        judge=setup.judge,
        teacher=setup.teacher,
        before_step=watch.look,
        penalty=watch.penalty if request.limits else None,
        measure=watch.rows,
        finish=watch.check,
    )
    yield from train_stage(stage, setup.checkpoints)
    fits = model.best is not None
    model.recall()
    allocation = model.chosen()
    quantization = Quantization("power-of-two" if request.kind == "power-of-two" else "dq")
    plain = setup.build(quantization)
    model.freeze(plain, allocation)
    keep_stage(setup, request.stage, plain, allocation, quantization)
    return Learned(allocation, fits, watch.right if fits else None, len(held))


CLIPPED_KINDS = ("step-range", "power-of-two")
"""Parametrizations whose gradients the published training script clips, where there are limits."""


def clips(request: LearnedBits) -> bool:
    """Whether gradients of steps and ranges are clipped."""
    if request.clipping == "all":
        return True
    return bool(request.limits) and request.kind in CLIPPED_KINDS


def held_out(images: Split, count: int, seed: int) -> tuple[Split, Split]:
    """Split training images into those that train and `count` (at most a fifth) that do not."""
    count = min(count, len(images) // 5)
    if count < 2:
        raise InvalidData(
            f"Learning bits keeps a fifth of the training samples to choose with, and there are "
            f"only {len(images)} of them; give at least 10."
        )
    order = torch.randperm(len(images), generator=seeded(seed, "validation"))
    return images.at(order[count:]), images.at(order[:count])


class _Watch:
    """Looks at a model between its steps: its costs, its validation accuracy, its trajectory."""

    def __init__(
        self,
        model: DqModel,
        request: LearnedBits,
        validation: Sequence[Batch],
        teacher: nn.Module,
        judge: Judge,
    ) -> None:
        self.model, self.request, self.validation = model, request, validation
        self.teacher, self.judge = teacher, judge
        self.kept: list[dict[str, Any]] = []
        self.every = request.check_every or max(10, round(LOOKING * len(validation)))

    def exact(self) -> dict[str, int]:
        return costs_of(self.model.spec, self.model.inferred(), self.request.costs)

    @property
    def right(self) -> float | None:
        """The judge's score of the state that is kept."""
        return self.model.best_score

    def penalty(self) -> Tensor:
        wanted = self.request
        return penalty(self.model, wanted.limits, wanted.strength, self.exact(), wanted.costs)

    def look(self, step: int, generator: torch.Generator) -> None:
        if step and step % self.every == 0:
            self.check()
        self.kept.append(self.row(step))

    def check(self) -> None:
        """Keep the state where it is within the limits and the best so far."""
        if Budget(self.request.limits, self.request.costs).admits(self.exact()):
            self.model.remember(*self.score())

    @torch.no_grad()
    def score(self) -> tuple[float, float]:
        """Loss and the judge's score on the validation samples; of unlabelled, by the teacher."""
        with self.model.batch_statistics() as network:
            found = mean_values(self.judge, network, self.validation, self.teacher)
        self.model.set_training(True)
        return (0.0, 0.0) if found is None else found

    @torch.no_grad()
    def row(self, step: int) -> dict[str, Any]:
        costs = self.exact()
        pairs = [layer.grids() for layer in self.model.layers.values()]
        bits = [[None if g is None else int(g.bits) for g in pair] for pair in pairs]
        steps = [[None if g is None else float(g.step) for g in pair] for pair in pairs]
        reaches = [[None if g is None else float(g.reach) for g in pair] for pair in pairs]
        limits = self.request.limits.items()
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
            "layers": list(self.model.layers),
            "validation": None if self.model.best is None else self.model.best_score,
        }
