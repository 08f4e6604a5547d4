"""What a search trains with: named stages of one network, and their weights for the evaluator.

`prepare` gives a search that trains a Trainer as `problem.trainer`. The search asks it to train
stages one after the other, each by a request that says how (`qcore.qat.requests`), and asks for
scores at a stage's name; the evaluator then comes here for that stage's weights. Everything a stage
is lies in its checkpoint, so that any stage can be scored again later, here or in another process.
"""

from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from qcore.allocation import BitAllocation
from qcore.errors import InvalidParams
from qcore.formats.config import MAX_BYTES
from qcore.network.layers import Found
from qcore.problem import Progress, Request, Result
from qcore.qat.batches import Epoch
from qcore.qat.loop import Plan, read_state
from qcore.qat.model import Options, TrainableModel
from qcore.qat.requests import Quantization
from qcore.qat.setup import Setup
from qcore.qat.ways import train


@dataclass(frozen=True)
class _Installed:
    """A model with the weights of a stage."""

    stage: str
    quantization: Quantization
    model: TrainableModel


class Trainer:
    """Trains stages of one network and hands out their weights.

    Args:
        setup: What is trained, on what.

    Raises:
        InvalidParams: the trained weights would not fit into a configuration file.
    """

    def __init__(self, setup: Setup) -> None:
        _check_size(setup.found, setup.options)
        self.setup = setup
        self._installed: _Installed | None = None

    @property
    def options(self) -> Options:
        """Bits each layer may have."""
        return self.setup.options

    def steps(self, plan: Mapping[str, Any]) -> int:
        """Optimiser steps of one epoch of a plan; 0 where there are no training images."""
        if self.setup.images is None:
            return 0
        settings = Plan(**plan)
        return Epoch(self.setup.images, settings.batch_images, settings.epoch_images, False).steps

    def train(self, request: Request[Result]) -> Generator[Progress, None, Result]:
        """Train a stage as its request says; `qcore.qat.ways` finds who does it."""
        # begins at the very state that was saved: scores asked for in between leave no trace
        return train(self.setup, request)

    def install(self, stage: str) -> TrainableModel:
        """The model with a finished stage's weights; the next call may change it.

        Raises:
            InvalidParams: the stage was never finished.
        """
        kept = self._installed
        if kept is not None and kept.stage == stage:
            return kept.model
        quantization, weights = self.setup.finished(stage)
        if kept is not None and kept.quantization == quantization:
            model = kept.model
        else:
            model = self.setup.build(quantization)
        # until the weights are in place it is the model of no stage
        self._installed = None
        model.load(weights)
        self._installed = _Installed(stage, quantization, model)
        return model

    def at(self, stage: str, allocation: BitAllocation) -> TrainableModel:
        """The model with a stage's weights, switched to an allocation."""
        model = self.install(stage)
        model.set_allocation(allocation)
        return model

    def state(
        self, stage: str, allocation: BitAllocation
    ) -> Mapping[str, Mapping[str, np.ndarray]]:
        """A stage's weights at an allocation, for `QuantizedModel`.

        Norms are estimated anew, but for those of a switchable network, which stay as trained.
        """
        model = self.at(stage, allocation)
        if model.plan is None:
            model.estimate_norms(self.setup.calibration)
        return model.state()

    def windowed(self, stage: str, allocation: BitAllocation) -> AbstractContextManager[nn.Module]:
        """A stage's network at an allocation, its norms on the statistics of the batch at hand.

        This is what candidates of a search are compared with: it costs one pass over the window
        and is as fair to every allocation as estimating the norms anew. A switchable network's
        norms stay as trained here too.
        """
        model = self.at(stage, allocation)
        return model.batch_statistics() if model.plan is None else nullcontext(model)

    def saved(self, stage: str) -> bytes:
        """A finished stage as bytes, for `restore` in another process.

        Raises:
            InvalidParams: the stage was never finished.
        """
        stored = self.setup.checkpoints.load(stage)
        if stored is None or not read_state(stored[1])["finished"]:
            raise InvalidParams(f"There are no weights of a finished stage {stage!r} to hand out.")
        return stored[1]

    def restore(self, stage: str, data: bytes) -> None:
        """Know a stage from what `saved` gave."""
        self.setup.checkpoints.save(stage, 1, data)


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
