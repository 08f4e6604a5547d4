"""Trains a network to run at many bits: at bits drawn step by step, or at all of them in each step.

The norms follow the bits in use (`qcore.qat.norms`); in the end they are estimated at the bits the
network may be switched to, and are left as they are from then on.
"""

from collections.abc import Generator
from dataclasses import asdict

import torch

from qcore.problem import Progress
from qcore.qat.loop import Plan, Stage, train_stage
from qcore.qat.requests import Quantization, SwitchableBits
from qcore.qat.setup import Setup
from qcore.qat.switchable.joint_loss import joint_loss
from qcore.qat.switchable.size import payloads


def train(
    setup: Setup, request: SwitchableBits
) -> Generator[Progress, None, dict[str, dict[str, int]]]:
    """Train the weights of the stage before, or the float network's, under a new name.

    Args:
        setup: What is trained, on what.
        request: What it can be switched to, and how it is trained.

    Yields:
        Progress after every epoch, as `train_stage` does.

    Returns:
        Bytes it takes; see `payloads`.

    Raises:
        InvalidData: there are no training images, or labels are needed and missing.
        InvalidParams: the stage to go on from was never finished.
        UnsupportedModel: there is nothing whose norms can follow the bits.
        Diverged: the loss, or a parameter, is NaN or infinite.
    """
    images, plan, joint = setup.training_images, Plan(**request.plan), request.joint
    fresh = Quantization(request.quantizer, None, request.norms.to_json())
    model, quantization = setup.begun(request.after, fresh)
    model.set_allocation(request.allocation)
    unlabelled = joint is not None and images.labels is None and not setup.judge.own_labels
    teacher = setup.teacher if plan.distillation > 0 or unlabelled else None
    model.set_float_weights(request.float_weights)
    model.spread_norms()

    def switch(step: int, generator: torch.Generator) -> None:
        if request.draw is not None:
            model.set_allocation(request.draw(step, generator))

    def finish() -> None:
        model.set_allocation(request.allocation)
        each = request.norms.switches.values()
        everywhere = [allocation for allocation in each for _ in setup.calibration]
        model.estimate_norms(setup.calibration, request.visits or everywhere)
        model.set_allocation(request.allocation)
        model.start_scales(setup.calibration)
        model.set_float_weights(False)

    stage = Stage(
        name=request.stage,
        model=model,
        images=images,
        plan=plan,
        seed=setup.seed,
        device=setup.device,
        judge=setup.judge,
        teacher=teacher,
        before_step=switch,
        loss=None if joint is None else joint_loss(model, joint, setup.judge, teacher),
        finish=finish,
        notes=asdict(quantization),
    )
    yield from train_stage(stage, setup.checkpoints)
    model.set_allocation(request.allocation)
    return payloads(model)
