"""What a search trains with: named stages of one network, and their weights for the evaluator.

`prepare` gives a search that trains a Trainer as `problem.trainer`. The search says how to quantize
(`begin`), trains stages one after the other (`train`), and asks for scores at a stage's name; the
evaluator then comes here for that stage's weights. Everything a stage is lies in its checkpoint, so
that any stage can be scored again later, here or in another process.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qcore.allocation import BitAllocation
from qcore.checkpoints import Checkpoints
from qcore.config import MAX_BYTES
from qcore.data import Images
from qcore.errors import InvalidData, InvalidParams
from qcore.layers import Found
from qcore.trainable import Options, TrainableModel
from qcore.training import Plan, Stage, Training, read_state, train_stage


@dataclass(frozen=True, slots=True)
class Quantization:
    """How the network is quantized while it trains.

    Attributes:
        quantizer: Key of LEARNED_QUANTIZERS.
        one_clip: None for a scale per bit-width; else one per tensor, begun at this width.
    """

    quantizer: str = "clip"
    one_clip: int | None = None


class Trainer:
    """Trains stages of one network and hands out their weights.

    Args:
        network: The float network; copied, never changed.
        found: Its layers.
        options: Bits each layer may have.
        images: Training images; none of them calibrates or is searched on.
        calibration: Normalised batches for ranges and norms.
        checkpoints: Where the stages' states are.
        seed: Seed of everything drawn by chance while training.
        device: Where it trains.

    Attributes:
        options: Bits each layer may have.
        stage: Name of the stage trained last; "" before the first.
        model: The network with the weights of some stage; None before the first.

    Raises:
        InvalidParams: the trained weights would not fit into a configuration file.
    """

    def __init__(
        self,
        network: nn.Module,
        found: Found,
        options: Options,
        images: Images | None,
        calibration: Sequence[Tensor],
        checkpoints: Checkpoints,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        _check_size(found, options)
        self._network, self._found, self.options = network, found, options
        self._images, self._calibration = images, list(calibration)
        self._checkpoints, self._seed, self._device = checkpoints, seed, device
        self._teacher: nn.Module | None = None
        self._quantization = Quantization()
        self._in_place = ""
        self.stage = ""
        self.model: TrainableModel | None = None

    @property
    def epoch_images(self) -> int:
        """Training images there are."""
        return 0 if self._images is None else len(self._images)

    def begin(self, quantizer: str = "clip", one_clip: int | None = None) -> None:
        """The next stage starts from the float network, quantized like this.

        Args:
            quantizer: Key of LEARNED_QUANTIZERS.
            one_clip: None for a scale per bit-width; else one per tensor, begun at this width.
        """
        self._quantization = Quantization(quantizer, one_clip)
        self.stage = ""

    def _build(self, quantization: Quantization) -> TrainableModel:
        self.model = TrainableModel(
            self._network,
            self._found,
            self.options,
            quantizer=quantization.quantizer,
            one_clip=quantization.one_clip,
            device=self._device,
        )
        self.model.start_scales(self._calibration)
        return self.model

    def train(
        self,
        stage: str,
        allocation: BitAllocation,
        plan: Mapping[str, Any],
        *,
        draw: Callable[[int, torch.Generator], BitAllocation] | None = None,
    ) -> Training:
        """Train the weights of the stage before (or the float network's) under a new name.

        After the last epoch the norms are estimated anew at the allocation, and scales that were
        never trained begin anew from the weights as they are now.

        Args:
            stage: Name of the new stage.
            allocation: Bits to train at, and at its end.
            plan: How: the fields of `Plan` that differ from their defaults.
            draw: Step and generator to the bits of that step, where they change.

        Yields:
            Progress after every epoch, as `train_stage` does.
        """
        if self._images is None:
            raise InvalidData(
                "This data set has no training images beside those to calibrate and search on. "
                "Take fewer of those, or other data."
            )
        settings = Plan(**plan)
        # the very state that was saved, so that scores asked for in between leave no trace
        model = self._ready(self.stage)
        self._in_place = ""
        model.set_allocation(allocation)
        if settings.distillation > 0 and self._teacher is None:
            self._teacher = _float_copy(self._network, self._device)

        def finish() -> None:
            model.set_allocation(allocation)
            model.estimate_norms(self._calibration)
            model.start_scales(self._calibration)

        def switch(step: int, generator: torch.Generator) -> None:
            if draw is not None:
                model.set_allocation(draw(step, generator))

        yield from train_stage(
            Stage(
                name=stage,
                model=model,
                images=self._images,
                plan=settings,
                seed=self._seed,
                device=self._device,
                teacher=self._teacher,
                before_step=switch,
                finish=finish,
                notes=asdict(self._quantization),
            ),
            self._checkpoints,
        )
        self.stage = self._in_place = stage

    def _ready(self, stage: str) -> TrainableModel:
        """The model with a finished stage's weights; "" is before any training."""
        if not stage:
            return self._build(self._quantization)
        stored = self._checkpoints.load(stage)
        state = None if stored is None else read_state(stored[1], self._device)
        if state is None or not state["finished"]:
            raise InvalidParams(
                f"There are no weights of a finished stage {stage!r}; the stage is trained first."
            )
        quantization = Quantization(**state["notes"])
        if self.model is None or quantization != self._quantization:
            self._quantization = quantization
            self._build(quantization)
        model = self.model
        if model is None:
            raise InvalidParams("The network was not built.")
        model.load(state["model"])
        return model

    def install(self, stage: str) -> None:
        """Take over a finished stage's weights, where they are not in place already.

        Raises:
            InvalidParams: the stage was never finished.
        """
        if stage != self._in_place or self.model is None:
            self._ready(stage)
            self._in_place = stage

    def state(
        self, stage: str, allocation: BitAllocation
    ) -> Mapping[str, Mapping[str, np.ndarray]]:
        """A stage's weights at an allocation, norms estimated anew, for `QuantizedModel`."""
        model = self._at(stage, allocation)
        model.estimate_norms(self._calibration)
        return model.state()

    def windowed(self, stage: str, allocation: BitAllocation) -> AbstractContextManager[nn.Module]:
        """A stage's network at an allocation, its norms on the statistics of the batch at hand.

        This is what candidates of a search are compared with: it costs one pass over the window
        and is as fair to every allocation as estimating the norms anew.
        """
        return self._at(stage, allocation).batch_statistics()

    def _at(self, stage: str, allocation: BitAllocation) -> TrainableModel:
        self.install(stage)
        model = self.model
        if model is None:
            raise InvalidParams("The network was not built.")
        model.set_allocation(allocation)
        return model

    def saved(self, stage: str) -> bytes:
        """A finished stage as bytes, for `restore` in another process.

        Raises:
            InvalidParams: the stage was never finished.
        """
        stored = self._checkpoints.load(stage)
        if stored is None or not read_state(stored[1])["finished"]:
            raise InvalidParams(f"There are no weights of a finished stage {stage!r} to hand out.")
        return stored[1]

    def restore(self, stage: str, data: bytes) -> None:
        """Know a stage from what `saved` gave."""
        self._checkpoints.save(stage, 1, data)


def _float_copy(network: nn.Module, device: str) -> nn.Module:
    return copy.deepcopy(network).eval().requires_grad_(False).to(device)


def _check_size(found: Found, options: Options) -> None:
    """Refuse at once what could not be written into a configuration file in the end."""
    widest = {name: max(bits.weight for bits in allowed) for name, allowed in options.items()}
    size = sum(x.weights * (4 if widest[x.name] == 32 else 1) for x in found.spec.layers) * 4 / 3
    if size > 0.95 * MAX_BYTES:
        raise InvalidParams(
            f"{found.spec.name} has {sum(x.weights for x in found.spec.layers):,} weights; trained "
            f"anew they would make a configuration file of {size / 2**20:.0f} MiB, and "
            f"{MAX_BYTES // 2**20} MiB is the most. Search it without training, or allow no 32-bit "
            "weights."
        )
