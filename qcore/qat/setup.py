"""What every way to train works with: one network, its layers, images, and where states go."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from torch import nn

from qcore.allocation import BitAllocation
from qcore.data import Split
from qcore.errors import InvalidData, InvalidParams
from qcore.judges import CLASSES, Judge
from qcore.network.layers import Found
from qcore.network.rewriting import expose_layers
from qcore.network.running import contiguous_inputs
from qcore.qat.checkpoints import Checkpoints
from qcore.qat.loop import Plan, Stage, read_state, train_stage
from qcore.qat.model import Options, TrainableModel
from qcore.qat.requests import Quantization
from qcore.qat.switches import NormPlan
from qcore.rules.ties import Tie
from qcore.trees import Tree


@dataclass(frozen=True)
class Setup:
    """What is trained, on what.

    Attributes:
        network: The float network; never changed.
        found: Its layers.
        options: Bits each layer may have.
        images: Training samples, none of which calibrates or is searched on; None where the data
            have none.
        calibration: Inputs, batch by batch, for ranges and norms.
        checkpoints: Where the stages' states are.
        seed: Seed of everything drawn by chance while training.
        device: Where it trains.
        load_stage: (run, stage) to the state of another run's stage, or None.
        judge: Whose loss and divergence are minimised.
        ties: Layers that share one width, where bits are learned.
    """

    network: nn.Module
    found: Found
    options: Options
    images: Split | None
    calibration: Sequence[Tree]
    checkpoints: Checkpoints
    seed: int = 0
    device: str = "cpu"
    load_stage: Callable[[int, str], bytes | None] = lambda run, stage: None
    judge: Judge = CLASSES
    ties: tuple[Tie, ...] = ()

    @property
    def training_images(self) -> Split:
        """The training samples.

        Raises:
            InvalidData: there are none.
        """
        if self.images is None:
            raise InvalidData(
                "This data set has no training samples beside those to calibrate and search on. "
                "Take fewer of those, or other data."
            )
        return self.images

    @cached_property
    def exposed_network(self) -> nn.Module:
        """The float network with every layer in a module of its own."""
        return expose_layers(self.network)

    @cached_property
    def teacher(self) -> nn.Module:
        """The float network to distil from, a copy that is never trained."""
        network = copy.deepcopy(self.exposed_network)
        if not self.found.channels_last:
            network = contiguous_inputs(network)
        return network.eval().requires_grad_(False).to(self.device)

    def build(self, quantization: Quantization) -> TrainableModel:
        """The float network quantized like this, its scales not begun."""
        norms = quantization.norms
        return TrainableModel(
            self.exposed_network,
            self.found,
            self.options,
            quantizer=quantization.quantizer,
            one_clip=quantization.one_clip,
            device=self.device,
            plan=None if norms is None else NormPlan.from_json(norms),
        )

    def begun(self, after: str, fresh: Quantization) -> tuple[TrainableModel, Quantization]:
        """The network that training goes on from, and how it is quantized.

        Args:
            after: A finished stage; its weights, quantized as they were. "" is the float network.
            fresh: How the float network is quantized.

        Raises:
            InvalidParams: the stage was never finished.
        """
        if after:
            quantization, weights = self.finished(after)
            model = self.build(quantization)
            model.load(weights)
            return model, quantization
        model = self.build(fresh)
        model.start_scales(self.calibration)
        return model, fresh

    def finished(self, stage: str) -> tuple[Quantization, dict[str, Any]]:
        """How a finished stage is quantized, and its weights, for `TrainableModel.load`.

        Raises:
            InvalidParams: the stage was never finished.
        """
        stored = self.checkpoints.load(stage)
        state = None if stored is None else read_state(stored[1], self.device)
        if state is None or not state["finished"]:
            raise InvalidParams(
                f"There are no weights of a finished stage {stage!r}; the stage is trained first."
            )
        return Quantization(**state["notes"]), state["model"]


def keep_stage(
    setup: Setup,
    name: str,
    model: TrainableModel,
    allocation: BitAllocation,
    quantization: Quantization,
) -> None:
    """Save a model at its allocation as a finished stage, or load the stage where it is there."""

    def finish() -> None:
        # bits that were not learned begin from the weights as they are now
        model.start_scales(setup.calibration)
        model.set_allocation(allocation)
        model.estimate_norms(setup.calibration)

    stage = Stage(
        name=name,
        model=model,
        images=setup.training_images,
        plan=Plan(epochs=0),
        device=setup.device,
        finish=finish,
        notes=asdict(quantization),
        judge=setup.judge,
    )
    for _ in train_stage(stage, setup.checkpoints):
        pass
