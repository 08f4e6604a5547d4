"""Measures how fast this machine trains a network: a few steps of it, on its own data."""

import time
from contextlib import nullcontext
from itertools import pairwise

from qcore.allocation import BitAllocation
from qcore.errors import InvalidData
from qcore.prepare import Prepared, prepare
from qcore.qat.pace import Pace
from qcore.qat.requests import GivenBits
from qcore.run_spec import RunSpec
from store.bounds import Opening

WARM_IMAGES, FEWEST_SECONDS, MOST_IMAGES = 256, 1.0, 16_384


def measure_pace(
    model: str,
    data: str,
    *,
    device: str = "auto",
    inputs: bool = False,
    opening: Opening = nullcontext,
) -> Pace:
    """Time some steps of training with quantized weights, and a look at the search images.

    Args:
        model: Key of MODELS.
        data: Name of the data.
        device: Where it would train.
        inputs: Whether inputs are quantized too.
        opening: Gives what is entered while network and data are opened, to bound it.

    Raises:
        QcoreError: it cannot be trained on these data; says why.
    """
    began = time.perf_counter()
    spec = RunSpec(
        model, data, "gradfreebits", weight_bits=(4,), activation_bits=(8 if inputs else 32,),
        device=device, anyway=True,
    )  # fmt: skip
    prepared = prepare(spec, opening=opening)
    started = time.perf_counter() - began
    there = prepared.trainer.setup.training_images
    count, seconds = min(WARM_IMAGES, len(there)), 0.0
    _train(prepared, 0, count)
    for number in range(1, 20):
        seconds = _train(prepared, number, count)
        if seconds >= FEWEST_SECONDS or count >= min(MOST_IMAGES, len(there)):
            break
        count = min(4 * count, len(there))
    if not count:
        raise InvalidData("There are no training samples to time.")
    began = time.perf_counter()
    allocation = BitAllocation(
        {name: options[0] for name, options in prepared.problem.options.items()}
    )
    point = next(iter(prepared.evaluator.score([allocation], _stage(0))))
    look = (time.perf_counter() - began) / max(1, point.search.n)
    tested = prepared.evaluator.test_samples
    return Pace(seconds / count, look, started, len(there), point.search.n, tested)


def _stage(number: int) -> str:
    return f"pace-{number}"


def _train(prepared: Prepared, number: int, images: int) -> float:
    """Wall-clock seconds of an epoch of so many images; the fastest of three."""
    allocation = BitAllocation(
        {name: options[0] for name, options in prepared.problem.options.items()}
    )
    plan = {"epochs": 4, "epoch_images": images, "rate": 1e-4}
    request = GivenBits(stage=_stage(number), allocation=allocation, plan=plan)
    ends = [time.perf_counter() for _ in prepared.trainer.train(request)]
    # the first epoch ends after the network was built and its scales begun
    return min(after - before for before, after in pairwise(ends))
