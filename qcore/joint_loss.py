"""One training step over all switches of a network, widest first, gradients accumulated.

Reference: Guerra, Zhuang, Reid and Drummond, Switchable Precision Neural Networks, 2020; the form
of the loss as `Joint` gives it is an independent implementation's account of it. Teachers beside
the fixed one: Any-Precision DNN (Yu et al. 2019, the next wider switch), InstantNet (Fu et al.
2021, all wider ones).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from qcore.switches import Joint
from qcore.training import Loss


@dataclass
class _Seen:
    """What a wider switch answered, without gradient."""

    logs: Tensor
    features: list[Tensor] = field(default_factory=list)


def joint_loss(model: Any, joint: Joint, reference: nn.Module | None = None) -> Loss:
    """The loss of a step in which every switch learns, for `Stage.loss`.

    All switches but the narrowest go backward inside, so that one graph is held at a time; what is
    returned carries the value of the sum and the narrowest switch's gradient.

    Args:
        model: TrainableModel with a plan of norms.
        joint: Who teaches, and what counts how much.
        reference: Float network that takes the labels' place where there are none.
    """
    switches = list(model.plan.switches.values())

    def hard(logits: Tensor, x: Tensor, y: Tensor | None) -> Tensor:
        if y is not None:
            return functional.cross_entropy(logits, y)
        with torch.no_grad():
            wanted = functional.log_softmax(reference(x), 1)  # type: ignore[misc]
        return _divergence(wanted, functional.log_softmax(logits, 1))

    def loss(
        network: nn.Module, x: Tensor, y: Tensor | None, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        above: list[_Seen] = []
        spent = torch.zeros((), device=x.device)
        for index, switch in enumerate(switches):
            model.set_allocation(switch)
            logits, features = _run(model, x, joint.features > 0)
            value = _student(joint, hard, logits, features, above, (x, y))
            if index + 1 == len(switches):
                break
            value.backward()
            spent += value.detach()
            logs = functional.log_softmax(logits.detach(), 1)
            above.append(_Seen(logs, [f.detach() for f in features]))
        return value + spent, logits

    return loss


def _student(
    joint: Joint,
    hard: Any,
    logits: Tensor,
    features: list[Tensor],
    above: list[_Seen],
    batch: tuple[Tensor, Tensor | None],
) -> Tensor:
    if not above:
        first: Tensor = hard(logits, *batch)
        return first
    teachers = _teachers(joint.teacher, above)
    value = torch.zeros((), device=logits.device)
    if joint.labels:
        value = value + joint.labels * hard(logits, *batch)
    if joint.outputs:
        logs = functional.log_softmax(logits, 1)
        terms = [_divergence(teacher.logs, logs) for teacher in teachers]
        value = value + joint.outputs * torch.stack(terms).mean()
    if joint.features:
        terms = [
            functional.mse_loss(own, wanted)
            for teacher in teachers
            for own, wanted in zip(features, teacher.features, strict=True)
        ]
        value = value + joint.features * torch.stack(terms).mean()
    return value


def _teachers(kind: str, above: Sequence[_Seen]) -> Sequence[_Seen]:
    if kind == "fixed":
        return above[:1]
    return above[-1:] if kind == "next" else above


def _divergence(wanted: Tensor, logs: Tensor) -> Tensor:
    return functional.kl_div(logs, wanted, log_target=True, reduction="batchmean")


def _run(model: Any, x: Tensor, wanted: bool) -> tuple[Tensor, list[Tensor]]:
    """Logits, and what comes out of every batch-norm, in the order it does."""
    features: list[Tensor] = []
    handles = [
        norm.register_forward_hook(lambda module, inputs, output: features.append(output))
        for norm in (model.norms.values() if wanted else ())
    ]
    try:
        logits = model(x)
    finally:
        for handle in handles:
            handle.remove()
    return logits, features
