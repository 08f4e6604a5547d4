"""Trains weights, scales and norms at one allocation, or at bits drawn anew in every step."""

from dataclasses import asdict

import torch

from qcore.qat.loop import Plan, Stage, Training, train_stage
from qcore.qat.requests import GivenBits, Quantization
from qcore.qat.setup import Setup


def train(setup: Setup, request: GivenBits) -> Training:
    """Train the weights of the stage before, or the float network's, under a new name.

    After the last epoch the norms are estimated anew at the allocation, and scales that were never
    trained begin anew from the weights as they are now.

    Args:
        setup: What is trained, on what.
        request: At which bits, and how.

    Yields:
        Progress after every epoch, as `train_stage` does.

    Raises:
        InvalidData: there are no training images, or labels are needed and missing.
        InvalidParams: the stage to go on from was never finished.
        Diverged: the loss, or a parameter, is NaN or infinite.
    """
    images, plan = setup.training_images, Plan(**request.plan)
    fresh = Quantization(request.quantizer, request.one_clip)
    model, quantization = setup.begun(request.after, fresh)
    model.set_allocation(request.allocation)

    def switch(step: int, generator: torch.Generator) -> None:
        if request.draw is not None:
            model.set_allocation(request.draw(step, generator))

    def finish() -> None:
        model.set_allocation(request.allocation)
        model.estimate_norms(setup.calibration)
        model.start_scales(setup.calibration)

    stage = Stage(
        name=request.stage,
        model=model,
        images=images,
        plan=plan,
        seed=setup.seed,
        device=setup.device,
        judge=setup.judge,
        teacher=setup.teacher if plan.distillation > 0 else None,
        before_step=switch,
        finish=finish,
        notes=asdict(quantization),
    )
    yield from train_stage(stage, setup.checkpoints)
