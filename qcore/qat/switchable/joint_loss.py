"""One training step over several allocations of a network, widest first, gradients accumulated.

Reference: Guerra, Zhuang, Reid and Drummond, Switchable Precision Neural Networks, 2020; the form
of the loss as `Joint` gives it is an independent implementation's account of it. Teachers beside
the fixed one: Any-Precision DNN (Yu et al. 2019, the next wider switch), InstantNet (Fu et al.
2021, all wider ones). Random allocations in place of the narrower switches: Tang et al.,
Retraining-free Model Quantization via One-Shot Weight-Coupling Learning, CVPR 2024 (RFQuant).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from qcore.allocation import BitAllocation
from qcore.judges import CLASSES, Judge
from qcore.qat.loop import Loss, Plan, Trainable, hard_loss
from qcore.qat.switches import Joint, NormPlan, random_allocation
from qcore.trees import Tree, call, device_of

_UNSMOOTHED = Plan()


@dataclass
class _Seen:
    """What a wider switch answered, without gradient."""

    answers: Tree
    features: dict[str, Tensor] = field(default_factory=dict)


def joint_loss(
    model: Any, joint: Joint, judge: Judge = CLASSES, reference: nn.Module | None = None
) -> Loss:
    """The loss of a step in which every switch, or random allocations, learn; for `Stage.loss`.

    All allocations but the last go backward inside, so that one graph is held at a time; what is
    returned carries the value of the sum and the last one's gradient.

    Args:
        model: TrainableModel with a plan of norms.
        joint: Who teaches, and what counts how much.
        judge: Whose loss and divergence are minimised.
        reference: Float network that takes the labels' place where there are none.
    """
    plan: NormPlan = model.plan
    switches, rungs = list(plan.switches.values()), plan.rungs

    def hard(answers: Tree, x: Tree, y: Tensor | None) -> Tensor:
        if y is not None or reference is None:
            return hard_loss(judge, answers, y, _UNSMOOTHED)
        with torch.no_grad():
            wanted = judge.read(call(reference, x), x)
        return judge.divergence(answers, wanted).mean()

    def loss(
        network: Trainable, x: Tree, y: Tensor | None, generator: torch.Generator
    ) -> tuple[Tensor, Tree]:
        above: list[_Seen] = []
        spent = torch.zeros((), device=device_of(x))
        taken = _drawn(plan, switches[0], joint.mixed, generator) if joint.mixed else switches
        for index, allocation in enumerate(taken):
            model.set_allocation(allocation)
            outputs, features = _run(model, x, joint.features > 0)
            answers = judge.read(outputs, x)
            if index and joint.mixed:
                features = {n: f for n, f in features.items() if allocation[n] == rungs[n][-1]}
            value = _student((joint, judge, hard), answers, features, above, (x, y))
            if index + 1 == len(taken):
                break
            value.backward()
            spent += value.detach()
            kept = {n: f.detach() for n, f in features.items()}
            above.append(_Seen(_still(answers), kept))
        return value + spent, answers

    return loss


def _drawn(
    plan: NormPlan, widest: BitAllocation, count: int, generator: torch.Generator
) -> list[BitAllocation]:
    """The widest, then random allocations."""
    rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
    return [widest, *(random_allocation(plan.rungs, rng, plan.ties) for _ in range(count))]


def _still(answers: Tree) -> Tree:
    """The answers without their gradient."""
    if isinstance(answers, Tensor):
        return answers.detach()
    return {name: values.detach() for name, values in answers.items()}


def _student(
    loss: tuple[Joint, Judge, Any],
    answers: Tree,
    features: dict[str, Tensor],
    above: list[_Seen],
    batch: tuple[Tree, Tensor | None],
) -> Tensor:
    joint, judge, hard = loss
    if not above:
        first: Tensor = hard(answers, *batch)
        return first
    teachers = _teachers(joint.teacher, above)
    value = torch.zeros((), device=device_of(answers))
    if joint.labels:
        value = value + joint.labels * hard(answers, *batch)
    if joint.outputs:
        terms = [judge.divergence(answers, teacher.answers).mean() for teacher in teachers]
        value = value + joint.outputs * torch.stack(terms).mean()
    if joint.features and features:
        rows = [
            torch.stack(
                [functional.mse_loss(own, teacher.features[name]) for name, own in features.items()]
            )
            for teacher in teachers
        ]
        # RFQuant adds layers up, and its weight is for a sum
        terms = [row.sum() if joint.mixed else row.mean() for row in rows]
        value = value + joint.features * torch.stack(terms).mean()
    return value


def _teachers(kind: str, above: Sequence[_Seen]) -> Sequence[_Seen]:
    if kind == "fixed":
        return above[:1]
    return above[-1:] if kind == "next" else above


def _run(model: Any, x: Tree, wanted: bool) -> tuple[Any, dict[str, Tensor]]:
    """Outputs, and what comes out of the batch-norm behind each layer that has one."""
    features: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        return lambda module, inputs, output: features.__setitem__(name, output)

    handles = [
        norm.register_forward_hook(keep(name))
        for name, norm in (model.norms.items() if wanted else ())
    ]
    try:
        outputs = model(x)
    finally:
        for handle in handles:
            handle.remove()
    return outputs, features
