"""What a search trains with: named stages of one network, and their weights for the evaluator.

`prepare` gives a search that trains a Trainer as `problem.trainer`. The search says how to quantize
(`begin`), trains stages one after the other (`train`), and asks for scores at a stage's name; the
evaluator then comes here for that stage's weights. Everything a stage is lies in its checkpoint, so
that any stage can be scored again later, here or in another process.
"""

import copy
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qcore.allocation import BitAllocation
from qcore.data import Images
from qcore.errors import InvalidData, InvalidParams
from qcore.formats.config import MAX_BYTES
from qcore.network.layers import Found
from qcore.network.rewriting import explicit
from qcore.problem import Progress
from qcore.qat.batches import Epoch
from qcore.qat.checkpoints import Checkpoints
from qcore.qat.learned_bits.training import learn_bits
from qcore.qat.loop import Plan, Stage, Training, read_state, train_stage
from qcore.qat.mirror.training import train_low_bits
from qcore.qat.model import Options, TrainableModel
from qcore.qat.requests import Hardened, Learned, Learning, LowBits
from qcore.qat.setup import Materials
from qcore.qat.switchable.adopted import adopted_plan
from qcore.qat.switchable.joint_loss import joint_loss
from qcore.qat.switchable.size import float_payload, payload_of, payload_of_all
from qcore.qat.switchable.switches import Joint, NormPlan


@dataclass(frozen=True, slots=True)
class Quantization:
    """How the network is quantized while it trains.

    Attributes:
        quantizer: Key of LEARNED_QUANTIZERS.
        one_clip: None for a scale per bit-width; else one per tensor, begun at this width.
        norms: `NormPlan` of a switchable network, as JSON data; None for any other.
    """

    quantizer: str = "clip"
    one_clip: int | None = None
    norms: Mapping[str, Any] | None = None


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
        load_stage: (run, stage) to the state of another run's stage, or None; set by `prepare`.

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
        self._network, self._found, self.options = explicit(network), found, options
        self._images, self._calibration = images, list(calibration)
        self._checkpoints, self._seed, self._device = checkpoints, seed, device
        self._teacher: nn.Module | None = None
        self._quantization = Quantization()
        self._in_place = ""
        self.stage = ""
        self.model: TrainableModel | None = None
        self.load_stage: Callable[[int, str], bytes | None] = lambda run, stage: None

    @property
    def epoch_images(self) -> int:
        """Training images there are."""
        return 0 if self._images is None else len(self._images)

    def begin(
        self, quantizer: str = "clip", one_clip: int | None = None, norms: NormPlan | None = None
    ) -> None:
        """The next stage starts from the float network, quantized like this.

        Args:
            quantizer: Key of LEARNED_QUANTIZERS.
            one_clip: None for a scale per bit-width; else one per tensor, begun at this width.
            norms: What the network can be switched to while it runs; None trains it for one
                allocation, and estimates its norms anew for any that is scored.
        """
        plan = None if norms is None else norms.to_json()
        self._quantization = Quantization(quantizer, one_clip, plan)
        self.stage = ""

    def _build(self, quantization: Quantization) -> TrainableModel:
        self.model = TrainableModel(
            self._network,
            self._found,
            self.options,
            quantizer=quantization.quantizer,
            one_clip=quantization.one_clip,
            device=self._device,
            plan=None if quantization.norms is None else NormPlan.from_json(quantization.norms),
        )
        self.model.start_scales(self._calibration)
        return self.model

    def steps(self, plan: Mapping[str, Any]) -> int:
        """Optimiser steps of one epoch of a plan; 0 where there are no training images."""
        if self._images is None:
            return 0
        settings = Plan(**plan)
        return Epoch(self._images, settings.batch_images, settings.epoch_images, False).steps

    def train(
        self,
        stage: str,
        allocation: BitAllocation,
        plan: Mapping[str, Any],
        *,
        draw: Callable[[int, torch.Generator], BitAllocation] | None = None,
        joint: Joint | None = None,
        float_weights: bool = False,
        visits: Sequence[BitAllocation] = (),
    ) -> Training:
        """Train the weights of the stage before (or the float network's) under a new name.

        After the last epoch the norms are estimated anew at the allocation, and scales that were
        never trained begin anew from the weights as they are now.

        Args:
            stage: Name of the new stage.
            allocation: Bits to train at, and at its end.
            plan: How: the fields of `Plan` that differ from their defaults.
            draw: Step and generator to the bits of that step, where they change.
            joint: Trains all switches of a switchable network in every step.
            float_weights: Leaves weights in float, so that only inputs are quantized.
            visits: Allocations at which a switchable network's norms are estimated at the end, one
                batch each; empty is every switch on every batch. Norms of pairs of bits never
                trained begin as their diagonal ones.

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
        unlabelled = joint is not None and self._images.labels is None
        if (settings.distillation > 0 or unlabelled) and self._teacher is None:
            self._teacher = _float_copy(self._network, self._device)
        model.set_float_weights(float_weights)
        model.spread_norms()

        def finish() -> None:
            model.set_allocation(allocation)
            if model.plan is None:
                model.estimate_norms(self._calibration)
            else:
                each = model.plan.switches.values()
                everywhere = [switch for switch in each for _ in self._calibration]
                model.estimate_norms(self._calibration, visits or everywhere)
                model.set_allocation(allocation)
            model.start_scales(self._calibration)
            model.set_float_weights(False)

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
                loss=None if joint is None else joint_loss(model, joint, self._teacher),
                finish=finish,
                notes=asdict(self._quantization),
            ),
            self._checkpoints,
        )
        model.set_float_weights(False)
        self.stage = self._in_place = stage

    def learn_bits(
        self, stage: str, frozen: str, learning: Learning
    ) -> Generator[Progress, None, Learned]:
        """Learn the bits together with the float network's weights; see `dq_training.learn_bits`.

        Args:
            stage: Name of the stage in which they are learned.
            frozen: Name of the stage that `train` and scores go on from.
            learning: How.
        """
        powers = learning.kind == "power-of-two"
        materials = self._materials("power-of-two" if powers else "dq")
        learned = yield from learn_bits(materials, stage, frozen, learning)
        self.model, self.stage, self._in_place = None, frozen, ""
        return learned

    def train_low_bits(
        self, stage: str, hardened: str, allocation: BitAllocation, low: LowBits
    ) -> Generator[Progress, None, Hardened]:
        """Train layers of one and two bits through a mirror map, all others by LSQ.

        Args:
            stage: Name of the training.
            hardened: Name of the stage that holds the result, for scores.
            allocation: Bits.
            low: How; see `mirror_training.train_low_bits`.
        """
        materials = self._materials("lsq")
        result = yield from train_low_bits(materials, stage, hardened, allocation, low)
        self.model, self.stage, self._in_place = None, hardened, ""
        return result

    def _materials(self, quantizer: str) -> Materials:
        self._quantization = Quantization(quantizer)
        if self._images is None:
            raise InvalidData(
                "This data set has no training images beside those to calibrate and search on. "
                "Take fewer of those, or other data."
            )
        if self._teacher is None:
            self._teacher = _float_copy(self._network, self._device)
        return Materials(
            self._network,
            self._found,
            self.options,
            self._images,
            self._calibration,
            self._checkpoints,
            self._seed,
            self._device,
            self._teacher,
            asdict(self._quantization),
        )

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
        model.set_float_weights(False)
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
        """A stage's weights at an allocation, for `QuantizedModel`.

        Norms are estimated anew, but for those of a switchable network, which stay as trained.
        """
        model = self._at(stage, allocation)
        if model.plan is None:
            model.estimate_norms(self._calibration)
        return model.state()

    def windowed(self, stage: str, allocation: BitAllocation) -> AbstractContextManager[nn.Module]:
        """A stage's network at an allocation, its norms on the statistics of the batch at hand.

        This is what candidates of a search are compared with: it costs one pass over the window
        and is as fair to every allocation as estimating the norms anew. A switchable network's
        norms stay as trained here too.
        """
        model = self._at(stage, allocation)
        return model.batch_statistics() if model.plan is None else nullcontext(model)

    def payload(self, stage: str, allocation: BitAllocation) -> dict[str, Any]:
        """Bytes a switchable stage takes: for one allocation, for all, and a float network's."""
        model = self._at(stage, allocation)
        return {
            "one": payload_of(model, allocation).to_json(),
            "all": payload_of_all(model).to_json(),
            "float": float_payload(model).to_json(),
        }

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

    def adopt(self, run: int, stage: str) -> tuple[str, NormPlan]:
        """Keep a copy of the switchable network that another run has trained.

        Returns:
            Its name among the stages here, and what it can be switched to.

        Raises:
            InvalidParams: there is no such stage, or it is not of this network; see `adoption`.
        """
        own = f"run-{run}/{stage}"
        kept = self._checkpoints.load(own)
        data = self.load_stage(run, stage) if kept is None else kept[1]
        if data is None:
            raise InvalidParams(f"There is no stage {stage!r} of a run {run} to be found here.")
        plan = adopted_plan(data, self._found.spec, run, stage)
        if kept is None:
            self.restore(own, data)
        self.stage = own
        return own, plan


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
