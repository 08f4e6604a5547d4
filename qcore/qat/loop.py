"""The one loop of quantization-aware training (QAT): staged, resumable, the same for every search.

`train_stage` trains a model for one named stage ("round-2/weights") and saves its state after every
epoch. Run again, a finished stage is loaded, and an interrupted one goes on to the very weights it
would have reached: the order of images and everything else drawn by chance comes from generators
seeded by (seed, stage, epoch), and the rate from the step's number, so that weights, optimiser and
epoch are all there is to keep.
"""

import hashlib
import io
import math
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from qcore.data import Split
from qcore.errors import Diverged, InvalidData, InvalidParams
from qcore.judges import CLASSES, Judge
from qcore.problem import Progress
from qcore.qat.batches import Epoch, batches_of
from qcore.qat.checkpoints import Checkpoints
from qcore.trees import Tree, call, device_of, part

Training = Generator[Progress, None, None]


class Trainable(Protocol):
    """What `train_stage` needs of a model: modules that map images to logits and can be saved."""

    @property
    def layers(self) -> Mapping[str, nn.Module]:
        """Layers by name, for errors."""
        ...

    def __call__(self, x: Tensor) -> Tensor:
        """Logits (n, classes) of images (n, channels, h, w)."""
        ...

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """Parameters by kind: "weights" are decayed, "scales" have their own rate, others not."""
        ...

    def set_training(self, training: bool) -> None:
        """Switch the norms between batch and running statistics."""
        ...

    def after_step(self) -> None:
        """Called after every optimiser step, to put parameters back where they are allowed."""
        ...

    def named_parameters(self) -> Iterable[tuple[str, nn.Parameter]]:
        """All parameters by name."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """All there is to save: tensors and plain data."""
        ...

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        ...


Loss = Callable[[Trainable, Tree, Tensor | None, torch.Generator], tuple[Tensor, Tree]]
"""(model, inputs, labels, generator) -> loss and what the judge reads of the outputs."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How one stage trains.

    Attributes:
        epochs: Passes over the training images; 0 only runs `finish`.
        rate: Peak learning rate of weights, biases and norms.
        scale_rate: Learning rate of the quantizers' scales, as a multiple of `rate`.
        optimizer: "sgd" (Nesterov momentum) or "adam".
        momentum: Momentum of SGD, or Adam's first coefficient.
        decay: Weight decay of the weights; biases, norms and scales have none.
        batch_images: Images per step.
        epoch_images: Images per epoch, drawn anew each time; 0 is all of them.
        schedule: "cosine" (from `rate` to 0 over the stage) or "constant".
        label_smoothing: Share of the target spread over all classes (Szegedy et al. 2016).
        distillation: Share of the loss that is the judge's divergence from the float network's
            outputs (for classes Hinton et al. 2015, temperature 1); 1 needs no labels.
        augment: Random flips and shifts.
        largest_gradient: Total gradient norm that is clipped to; 0 clips nothing.
    """

    epochs: int = 2
    rate: float = 0.02
    scale_rate: float = 1.0
    optimizer: str = "sgd"
    momentum: float = 0.9
    decay: float = 1e-4
    batch_images: int = 128
    epoch_images: int = 0
    schedule: str = "cosine"
    label_smoothing: float = 0.0
    distillation: float = 0.0
    augment: bool = True
    largest_gradient: float = 0.0

    def __post_init__(self) -> None:
        for name, known in (("optimizer", ("sgd", "adam")), ("schedule", ("cosine", "constant"))):
            if getattr(self, name) not in known:
                raise InvalidParams(f"{name} must be one of {known}; got {getattr(self, name)!r}.")
        if self.epochs < 0 or self.batch_images < 2 or not self.rate > 0:
            raise InvalidParams(
                f"Training needs epochs >= 0, at least 2 samples a step and a rate above 0; got "
                f"{self.epochs}, {self.batch_images} and {self.rate}."
            )


@dataclass(frozen=True)
class Stage:
    """One stage: what is trained on what, and what happens around each step.

    Attributes:
        name: Name of the stage; its weights are known by it.
        model: What is trained; already holds the weights to begin from.
        images: Training samples.
        plan: How.
        seed: Seed of everything drawn by chance.
        device: Where the model lives.
        teacher: Float network to distil from; needed where plan.distillation > 0.
        before_step: Called with (step, generator) before each step, to change the allocation.
        loss: Replaces the loss, see `Loss`.
        penalty: Added to the loss at every step, and not to the loss that is reported: what the
            model's bits cost too much.
        measure: Called after every epoch; what it returns is kept with the epoch's figures.
        finish: Called after the last epoch, before the stage counts as finished: estimates norms.
        notes: Plain data kept with the state, such as how the model is built.
        judge: Whose loss and divergence are minimised.
    """

    name: str
    model: Trainable
    images: Split
    plan: Plan = field(default_factory=Plan)
    seed: int = 0
    device: str = "cpu"
    teacher: nn.Module | None = None
    before_step: Callable[[int, torch.Generator], None] = lambda step, generator: None
    loss: Loss | None = None
    penalty: Callable[[], Tensor] | None = None
    measure: Callable[[], Mapping[str, Any]] = lambda: {}
    finish: Callable[[], None] = lambda: None
    notes: Mapping[str, Any] = field(default_factory=dict)
    judge: Judge = CLASSES


def train_stage(stage: Stage, checkpoints: Checkpoints) -> Training:
    """Train one stage, or the rest of it, or load it; yields progress after every epoch.

    Every epoch's progress is yielded even where it is loaded, so that events do not depend on
    interruptions. Close the generator at any progress: nothing is lost.

    Args:
        stage: What to train.
        checkpoints: Where the state after each epoch goes.

    Raises:
        InvalidData: labels are needed and missing, or the stored state is of other images.
        InvalidParams: distillation without a teacher.
        Diverged: the loss, or a parameter, is NaN or infinite; names the layer and the step.
    """
    plan, model = stage.plan, stage.model
    if plan.distillation > 0 and stage.teacher is None:
        raise InvalidParams("Distillation needs the float network as its teacher; none was given.")
    needs_labels = plan.epochs > 0 and plan.distillation < 1 and stage.loss is None
    if needs_labels and stage.images.labels is None and not stage.judge.own_labels:
        raise InvalidData(
            "Training needs labelled samples, or distillation at 1, which learns from the float "
            "network's outputs alone."
        )
    stored = checkpoints.load(stage.name)
    saved = _read(stored[1], stage) if stored is not None else None
    history: list[dict[str, Any]] = [] if saved is None else saved["history"]
    done = 0 if saved is None else int(saved["epoch"])
    if saved is not None:
        model.load(saved["model"])
    optimizer = _optimizer(model.groups(), plan)
    if saved is not None and done < plan.epochs:
        optimizer.load_state_dict(saved["optimizer"])
    for figures in history:
        yield _progress(stage, figures)
    for epoch in range(done, plan.epochs):
        history.append(_train_epoch(stage, optimizer, epoch))
        last = epoch + 1 == plan.epochs
        if last:
            _finish(stage)
        _save(stage, checkpoints, optimizer, epoch + 1, history, last)
        yield _progress(stage, history[-1])
    if plan.epochs == 0 and saved is None:
        _finish(stage)
        _save(stage, checkpoints, optimizer, 0, history, True)
    model.set_training(False)


def _progress(stage: Stage, figures: dict[str, Any]) -> Progress:
    epoch, total = figures["epoch"], stage.plan.epochs
    return Progress(epoch, total, f"training {stage.name}: epoch {epoch} of {total}", {**figures})


def seeded(seed: int, *words: object) -> torch.Generator:
    """A CPU generator seeded by all of these."""
    text = "/".join(map(str, (seed, *words))).encode()
    number = int.from_bytes(hashlib.sha256(text).digest()[:8], "little") >> 1
    return torch.Generator().manual_seed(number)


def _optimizer(groups: Mapping[str, list[nn.Parameter]], plan: Plan) -> torch.optim.Optimizer:
    rows: list[dict[str, Any]] = []
    for kind, parameters in groups.items():
        factor = plan.scale_rate if kind == "scales" else 1.0
        decay = plan.decay if kind == "weights" else 0.0
        if parameters:
            rows.append({"params": parameters, "weight_decay": decay, "factor": factor})
    if plan.optimizer == "adam":
        return torch.optim.AdamW(rows, lr=plan.rate, betas=(plan.momentum, 0.999))
    nesterov = plan.momentum > 0
    return torch.optim.SGD(rows, lr=plan.rate, momentum=plan.momentum, nesterov=nesterov)


def _train_epoch(stage: Stage, optimizer: torch.optim.Optimizer, epoch: int) -> dict[str, Any]:
    plan, model, judge = stage.plan, stage.model, stage.judge
    scored = False
    generator = seeded(stage.seed, stage.name, epoch)
    source = Epoch(stage.images, plan.batch_images, plan.epoch_images, plan.augment, stage.device)
    steps = source.steps
    model.set_training(True)
    total = torch.zeros((), device=stage.device)
    hits = torch.zeros((), device=stage.device)
    for index, (x, y) in enumerate(batches_of(source, generator)):
        step = epoch * steps + index
        for group in optimizer.param_groups:
            share = step / (plan.epochs * steps)
            falling = 0.5 * (1 + math.cos(math.pi * share)) if plan.schedule == "cosine" else 1.0
            group["lr"] = plan.rate * group["factor"] * falling
        stage.before_step(step, generator)
        optimizer.zero_grad(set_to_none=True)  # a scale not in use must not be moved by momentum
        y = judge.truth(x, y)
        loss, answers = (stage.loss or _plain_loss(stage))(model, x, y, generator)
        value = loss if stage.penalty is None else loss + stage.penalty()
        if not bool(torch.isfinite(value)):
            raise Diverged(_where(stage, x, step, float(value.detach())))
        value.backward()
        if plan.largest_gradient:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(parameters, plan.largest_gradient)
        optimizer.step()
        model.after_step()
        total += loss.detach()
        if y is not None:
            marks = judge.marks(part(answers, slice(None)), y).detach()
            if marks.dim() == 1:  # else they mean something only of all samples together
                hits += marks.sum()
                scored = True
    broken = [n for n, p in model.named_parameters() if not bool(torch.isfinite(p).all())]
    if broken:
        raise Diverged(
            f"Training {stage.name!r} made {broken[0]} NaN or infinite by step "
            f"{(epoch + 1) * steps} of {plan.epochs * steps}; lower the learning rate (now "
            f"{plan.rate:g})."
        )
    figures: dict[str, Any] = {
        "stage": stage.name, "epoch": epoch + 1, "loss": float(total) / steps
    }  # fmt: skip
    if scored:
        figures["accuracy"] = float(hits) / (steps * plan.batch_images)
    figures.update(stage.measure())
    return figures


def _finish(stage: Stage) -> None:
    stage.model.set_training(False)
    try:
        stage.finish()
    except InvalidData as error:
        # the last step left weights that are finite and yet far too large
        plan = stage.plan
        source = Epoch(stage.images, plan.batch_images, plan.epoch_images, False, stage.device)
        x, _ = next(batches_of(source, seeded(stage.seed, stage.name)))
        stage.model.set_training(True)
        step = max(0, plan.epochs * source.steps - 1)
        raise Diverged(_where(stage, x, step, math.nan)) from error


def _plain_loss(stage: Stage) -> Loss:
    plan, teacher, judge = stage.plan, stage.teacher, stage.judge

    def loss(
        model: Trainable, x: Tree, y: Tensor | None, generator: torch.Generator
    ) -> tuple[Tensor, Tree]:
        answers = judge.read(model(x), x)
        value = torch.zeros((), device=device_of(x))
        if plan.distillation < 1:
            value = value + (1 - plan.distillation) * hard_loss(judge, answers, y, plan)
        if plan.distillation > 0 and teacher is not None:
            with torch.no_grad():
                wanted = judge.read(call(teacher, x), x)
            value = value + plan.distillation * judge.divergence(answers, wanted).mean()
        return value, answers

    return loss


def hard_loss(judge: Judge, answers: Tree, y: Tensor | None, plan: Plan) -> Tensor:
    """Mean loss on the labels, smoothed where a class is named.

    Raises:
        InvalidData: there are no labels, or the judge trains nothing on them.
    """
    costs = None if y is None else judge.loss(answers, y)
    if costs is None:
        raise InvalidData(
            f"Training needs labels that the judge {judge.name!r} takes a loss from, or "
            "distillation at 1, which learns from the float network's outputs alone."
        )
    value = costs.mean()
    if plan.label_smoothing and judge.hits and isinstance(answers, Tensor):
        spread = -answers.mean(1).mean()
        value = (1 - plan.label_smoothing) * value + plan.label_smoothing * spread
    return value


def _where(stage: Stage, x: Tree, step: int, loss: float) -> str:
    """Name the first layer whose output is not finite, by running the batch once more."""
    first: list[str] = []

    def look(name: str, output: Tensor) -> None:
        if not first and not bool(torch.isfinite(output).all()):
            first.append(name)

    handles = [
        layer.register_forward_hook(lambda _, inputs, output, name=name: look(name, output))
        for name, layer in stage.model.layers.items()
    ]
    with torch.no_grad():
        stage.model(x)
    for handle in handles:
        handle.remove()
    where = f"layer {first[0]!r} gives" if first else "no layer gives"
    return (
        f"Training {stage.name!r} diverged at step {step + 1}: the loss is {loss}, and {where} "
        f"outputs that are not finite. Lower the learning rate (now {stage.plan.rate:g}), or clip "
        "the gradient."
    )


def _save(
    stage: Stage,
    checkpoints: Checkpoints,
    optimizer: torch.optim.Optimizer,
    epoch: int,
    history: list[dict[str, Any]],
    finished: bool,
) -> None:
    state = {
        "version": 1,
        "stage": stage.name,
        "notes": dict(stage.notes),
        "images": len(stage.images),
        "epoch": epoch,
        "finished": finished,
        "history": history,
        "model": stage.model.state_dict(),
        # of no use once the stage is over
        "optimizer": None if finished else optimizer.state_dict(),
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    checkpoints.save(stage.name, max(epoch, 1), buffer.getvalue())


def read_state(data: bytes, device: str = "cpu") -> dict[str, Any]:
    """What a stage saved: plain data and tensors, never code."""
    state: dict[str, Any] = torch.load(io.BytesIO(data), weights_only=True, map_location=device)
    return state


def _read(data: bytes, stage: Stage) -> dict[str, Any]:
    state = read_state(data, stage.device)
    if state["images"] != len(stage.images) or state["epoch"] > stage.plan.epochs:
        raise InvalidData(
            f"The stored state of {stage.name!r} is from {state['images']:,} training samples and "
            f"{state['epoch']} epochs, not {len(stage.images):,} and {stage.plan.epochs}: the run "
            "cannot go on with other data. Start it anew."
        )
    return state
