"""Runs a stored switchable network on a few search samples at each of some bits.

The test split is never looked at here: who has seen single test samples chooses by them.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qcore.allocation import BitAllocation
from qcore.data import load_data
from qcore.errors import InvalidData, InvalidParams
from qcore.judges import Judge, read_judge
from qcore.models.catalog import judge_of
from qcore.models.zoo import load_model
from qcore.pictures.look import panels_of
from qcore.pictures.served import MOST_SAMPLES, MOST_SERVED, Answers, Served, ServedRecord
from qcore.qat.switchable.runtime import load_switchable
from qcore.run_spec import RunSpec
from qcore.scoring.evaluator import to_batches
from qcore.scoring.targets import fitted_targets
from qcore.scoring.verification import Opening
from qcore.trees import Tree, call

Outputs = Callable[[Tree], Any]


def serve(
    spec: RunSpec,
    stage: bytes,
    allocations: Sequence[BitAllocation],
    count: int = MOST_SAMPLES,
    tell: Callable[[str], None] = lambda words: None,
    opening: Opening = nullcontext,
) -> ServedRecord:
    """What the network of a finished stage answers to the first samples of its search split.

    Args:
        spec: Of the run that trained it.
        stage: The stage's state.
        allocations: Bits to run it at, at most MOST_SERVED.
        count: Samples, fewer where the split has fewer.
        tell: Told in a few words what is being done.
        opening: Gives what is entered while network and data are opened, to bound it.

    Raises:
        InvalidParams: no allocations or too many, or a stage of no switchable network.
        InvalidAllocation: bits that it was not trained at.
        InvalidConfig: the stage is of another network.
        InvalidData: the answers are no numbers.
        DataUnavailable: the samples or weights are not here.
    """
    if not 1 <= len(allocations) <= MOST_SERVED:
        raise InvalidParams(
            f"From 1 to {MOST_SERVED} allocations can be served; got {len(allocations):,}."
        )
    tell("Loading the network and its data")
    with opening():
        # with its training images, as the run had it: what is drawn to search on is then the same
        data = load_data(
            spec.data, calibration=spec.calibration_images, search=spec.search_images,
            seed=spec.images_seed, model=spec.model, training=True,
        )  # fmt: skip
        network = load_model(spec.model).eval()
    judge = judge_of(spec.model) if spec.judge is None else read_judge(spec.judge)
    data = fitted_targets(data, network, judge)
    total = len(data.search)
    samples = data.search.at(torch.arange(min(total, count)))
    batches = to_batches(samples, len(samples), "cpu", judge)
    example = next(data.calibration.batches(1, "cpu"))[0]
    with torch.inference_mode():
        wanted = [call(network, x) for x, _ in batches]
        floats = _answers(judge, batches, wanted, wanted)
    model = load_switchable(network, example, stage, spec.model, inputs=data.inputs)
    served = []
    for at, allocation in enumerate(allocations):
        tell(f"Running the network at {at + 1:,} of {len(allocations):,} allocations")
        model.set_allocation(allocation)
        with torch.inference_mode():
            found = [call(model, x) for x, _ in batches]
            served.append(Served(allocation, _answers(judge, batches, wanted, found)))
    inputs, _ = panels_of(samples)
    labels = samples.labels
    known = labels is not None and labels.dim() == 1 and not labels.is_floating_point()
    return ServedRecord(
        model=spec.model,
        data=spec.data,
        judge=judge,
        total=total,
        inputs=tuple(inputs),
        labels=labels.numpy() if labels is not None and known else None,
        class_names=data.class_names,
        floats=floats,
        served=tuple(served),
    )


def _answers(
    judge: Judge, batches: Sequence[tuple[Tree, Any]], wanted: Sequence[Any], found: Sequence[Any]
) -> Answers:
    """What a network gave for each batch, held against what the float network gave."""
    far: list[Tensor] = []
    likeliest: list[Any] = []
    for (x, _), floats, outputs in zip(batches, wanted, found, strict=True):
        read = judge.read(outputs, x)
        far.append(judge.divergence(read, judge.read(floats, x)))
        if judge.name == "classes":
            likeliest.append(read.exp().max(1))
    divergence = torch.cat(far).double()
    if not bool(divergence.isfinite().all()):
        raise InvalidData(
            "The network answers NaN or infinity to a sample; train it again, more slowly."
        )
    # rounding can leave a divergence of -1e-9 where the networks agree
    numbers = divergence.clamp_min(0.0).numpy()
    if not likeliest:
        return Answers(None, None, numbers)
    classes = torch.cat([each.indices for each in likeliest]).numpy().astype(np.int32)
    sure = torch.cat([each.values for each in likeliest]).float().clamp(0, 1).numpy()
    return Answers(classes, sure, numbers)
