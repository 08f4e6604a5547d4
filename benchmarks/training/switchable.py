"""Whether networks that change precision while running do what is claimed, on Fashion-MNIST.

    OMP_NUM_THREADS=1 python -m benchmarks.training.switchable --seeds 0 1 2 --only S1 B1

S1  batch-norms private to the switch against shared ones, at 2, 3, 4 and 8 bits, labels only
S2  each switch against a network trained for that width alone
S3  self-distillation on and off, at `--epochs` and at half as many
S4  one-bit weights with inputs of 32, 8, 4, 2 and 1 bits
S5  nested codes, stored once for all switches, against clips of each width: accuracy and bytes
B1  100 random mixed allocations of {2, 3, 4} bits: mean, 5th percentile and minimum of the accuracy
    for batch-norms that are shared, kept per producer, or per pair (transitional)
B2  three stages against layer-wise training from the first step
B3  the front found on the frozen network against networks trained for these allocations alone
B4  a front of 12 budgets from one trained network against 12 GradFreeBits runs: accuracy, and
    CPU seconds of all training, searching and testing
B5  norms per producer with RFQuant's training (the widest bits teach three random allocations in
    every step, on a quarter of the images) against one random allocation a step

S1 to S3 are asked of each of `--quantizers`: learned clip, LSQ and DoReFa.

A miniature: every epoch draws `--epoch-images` (8,000) of the 55,000 or so training images, or of
the 7,696 shipped ones where there are no others, which is in the name of a cell then;
SP-Nets trains 2 such epochs (each is four passes, one for every switch), Bit-Mixer 6, and so does
everything it is compared with. All begin from the shipped float network. The first and the last
layer have 8 bits. Random allocations are judged on 2,048 images held out of training, all else on
the 10,000 test images. All claims and three seeds take about five hours on one core.

Every finished cell is a line in benchmarks/results/switchable.jsonl; a cell that is there is not
computed again, so the script can be stopped and started at will. Verdicts are printed at the end,
failures too.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.cells import Cell, compute_missing, current, finished
from benchmarks.claims.papers import code_of
from benchmarks.training.switchable_verdicts import verdicts
from qcore.allocation import BitAllocation
from qcore.costs import costs_of
from qcore.data import load_data
from qcore.engine import drive, front_to_report
from qcore.prepare import Prepared, prepare
from qcore.problem import Point
from qcore.qat.requests import GivenBits
from qcore.qat.switchable.size import payloads
from qcore.qat.switches import random_allocation, rungs_of, switches_of
from qcore.run_spec import RunSpec
from qcore.searches import SEARCHES
from qcore.solvers.space import space_of

RESULTS = Path(__file__).parents[1] / "results" / "switchable.jsonl"
WIDTHS = (2, 3, 4, 8)
MIXED = (2, 3, 4)
RANDOM = 100
BUDGETS = 12
ALONE = 3
MANY = 50_000
"""More training images than are shipped; cells were first measured with them."""

COUPLED = 3
"""Random allocations that the widest bits teach in every step."""


def spec_of(
    arguments: argparse.Namespace,
    seed: int,
    search: str,
    weights: Sequence[int],
    inputs: Sequence[int],
    limits: Mapping[str, float] | None = None,
) -> RunSpec:
    """The run of one cell."""
    return RunSpec(
        model=arguments.model,
        data="fashion-mnist",
        search=search,
        limits=limits or {},
        weight_bits=tuple(weights),
        activation_bits=tuple(inputs),
        pin_first_last=8,
        seed=seed,
        search_images=2048,
        objective="loss",
        device=arguments.device,
    )


def searched(prepared: Prepared, search: str, params: Mapping[str, Any], seed: int) -> list[Point]:
    """Run a search to its end; its points."""
    entry = SEARCHES[search]
    settings = entry.read_params(params)
    return list(drive(entry, prepared.problem, settings, seed, score=prepared.score).points)


def tested(prepared: Prepared, point: Point) -> float:
    """Accuracy on the test split."""
    scores = prepared.report(point).test
    return float(scores.headline) if scores is not None else float("nan")


def sp(arguments: argparse.Namespace, seed: int, config: Mapping[str, Any]) -> Cell:
    """SP-Nets: the test accuracy of every switch."""
    one_bit = config["quantizer"] == "sign"
    weights, inputs = ((1,), (1, 2, 4, 8, 32)) if one_bit else (WIDTHS, WIDTHS)
    prepared = prepare(spec_of(arguments, seed, "spnets", weights, inputs))
    points = searched(prepared, "spnets", config, seed)
    names = switches_of(rungs_of(prepared.problem))
    payload = payloads(prepared.trainer.at("switches", points[0].allocation))
    accuracies = {n: tested(prepared, p) for n, p in zip(names, points, strict=True)}
    return {"accuracy": accuracies, "payload": payload}


def alone(
    arguments: argparse.Namespace, seed: int, width: int, epochs: int, quantizer: str = "clip"
) -> Cell:
    """One width trained alone, as long as SP-Nets trains all of them."""
    prepared = prepare(spec_of(arguments, seed, "spnets", WIDTHS, WIDTHS))
    allocation = switches_of(rungs_of(prepared.problem))[f"{width}/{width}"]
    return {"accuracy": _trained(arguments, prepared, allocation, epochs, quantizer)}


def _trained(
    arguments: argparse.Namespace,
    prepared: Prepared,
    allocation: BitAllocation,
    epochs: int,
    quantizer: str = "clip",
) -> float:
    plan = {"epochs": epochs, "epoch_images": arguments.epoch_images}
    request = GivenBits(stage="alone", allocation=allocation, plan=plan, quantizer=quantizer)
    for _ in prepared.trainer.train(request):
        pass
    return tested(prepared, next(prepared.score([allocation], "alone")))


def mixer(arguments: argparse.Namespace, seed: int, config: Mapping[str, Any]) -> Cell:
    """Bit-Mixer: random allocations, uniform bits, and with `methods` the front."""
    prepared = prepare(spec_of(arguments, seed, "bitmixer", MIXED, MIXED))
    points = searched(prepared, "bitmixer", config, seed)
    rungs, rng = rungs_of(prepared.problem), np.random.default_rng(1234)
    drawn = [random_allocation(rungs, rng) for _ in range(RANDOM)]
    scored = [float(p.search.headline) for p in prepared.score(drawn, "layer-wise")]
    uniform, same = {}, {}
    for switch, allocation in switches_of(rungs).items():
        point = next(prepared.score([allocation], "layer-wise"))
        uniform[switch] = tested(prepared, point)
        same[switch] = float(point.search.headline)
    cell: Cell = {
        "mean": float(np.mean(scored)),
        "fifth_percentile": float(np.percentile(scored, 5)),
        "minimum": min(scored),
        "uniform": uniform,
        "uniform_on_the_same": same,
        "payload": payloads(prepared.trainer.at("layer-wise", drawn[0])),
    }
    if config["methods"]:
        cell["budgets"] = _budgets(prepared, points)
        front = front_to_report(prepared.problem, points, ALONE + 2)[1:-1]
        cell["front"] = [
            {"bits": p.allocation.to_json(), "accuracy": tested(prepared, p)} for p in front
        ]
    return cell


def _budgets(prepared: Prepared, points: Sequence[Point]) -> list[Cell]:
    """The best point within each of 12 limits on the weight bytes, chosen on the search split."""
    rows = []
    for limit in limits_of(prepared):
        inside = [p for p in points if _bytes(prepared, p.allocation) <= limit]
        best = min(inside, key=prepared.problem.value)
        row = {"limit": limit, "bytes": _bytes(prepared, best.allocation)}
        rows.append({**row, "accuracy": tested(prepared, best)})
    return rows


def limits_of(prepared: Prepared) -> list[float]:
    """Twelve limits on the weight bytes between all 2 and all 4 bits, both ends left out."""
    space = space_of(prepared.problem)
    low, high = (float(v[0] + space.fixed[0]) for v in (space.cheapest, space.dearest))
    return [float(int(low + (high - low) * k / (BUDGETS + 1))) for k in range(1, BUDGETS + 1)]


def _bytes(prepared: Prepared, allocation: BitAllocation) -> float:
    return float(costs_of(prepared.model, allocation)["weight_bytes"])


def specialists(arguments: argparse.Namespace, seed: int, config: Mapping[str, Any]) -> Cell:
    """Networks trained for the allocations of a front alone, as long as Bit-Mixer trained."""
    name = {**common(arguments, seed), "system": "bitmixer", **config}
    front = next(row["result"]["front"] for row in finished(RESULTS) if row["name"] == name)
    rows = []
    for entry in front:
        prepared = prepare(spec_of(arguments, seed, "bitmixer", MIXED, MIXED))
        allocation = BitAllocation.from_json(entry["bits"])
        own = _trained(arguments, prepared, allocation, arguments.mixer_epochs)
        rows.append({**entry, "alone": own})
    return {"front": rows}


def runs(arguments: argparse.Namespace, seed: int, index: int) -> Cell:
    """One GradFreeBits run within one of the twelve limits."""
    first = prepare(spec_of(arguments, seed, "bitmixer", MIXED, MIXED))
    limit = limits_of(first)[index]
    limits = {"weight_bytes": limit}
    prepared = prepare(spec_of(arguments, seed, "gradfreebits", MIXED, MIXED, limits))
    params = {"epoch_images": arguments.epoch_images, "evaluations": 60}
    points = searched(prepared, "gradfreebits", params, seed)
    final = next(point for point in points if point.stage == "final")
    size = _bytes(prepared, final.allocation)
    return {"limit": limit, "bytes": size, "accuracy": tested(prepared, final)}


def common(arguments: argparse.Namespace, seed: int) -> Cell:
    """What is in the name of every cell."""
    named = {"model": arguments.model, "epoch_images": arguments.epoch_images, "seed": seed}
    count = training_images(arguments.model)
    return named if count > MANY else {**named, "training_images": count}


@cache
def training_images(model: str) -> int:
    """How many images there are to train on here."""
    data = load_data("fashion-mnist", calibration=256, search=2048, model=model, training=True)
    return 0 if data.training is None else len(data.training)


def sp_config(arguments: argparse.Namespace, **changes: Any) -> Cell:
    """Settings of an SP-Nets cell; labels only unless `changes` say otherwise."""
    plain = {
        "epochs": arguments.epochs,
        "epoch_images": arguments.epoch_images,
        "quantizer": "clip",
        "private_norms": True,
        "labels": 1.0,
        "outputs": 0.0,
        "features": 0.0,
    }
    return {**plain, **changes}


def mixer_config(arguments: argparse.Namespace, norms: str, search: bool = False) -> Cell:
    """Settings of a Bit-Mixer cell.

    `norms` may be "direct" for pairs without stages, and "coupled" for RFQuant's training, a
    quarter of whose images make as many passes.
    """
    total = arguments.mixer_epochs
    first, second = round(0.2 * total), round(0.3 * total)
    config: Cell = {
        "input_epochs": first,
        "network_epochs": second,
        "layer_epochs": total - first - second,
        "epoch_images": arguments.epoch_images,
        "norms": {"direct": "pair", "coupled": "producer"}.get(norms, norms),
        "direct": norms == "direct",
        "methods": ["exact", "greedy", "cmaes"] if search else [],
        "samples": 0,
    }
    if norms == "coupled":
        config |= {"mixed": COUPLED, "epoch_images": arguments.epoch_images // (1 + COUPLED)}
    return config


def cells(arguments: argparse.Namespace) -> Iterator[tuple[Cell, Callable[[], Cell]]]:
    """Every cell as (what names it, what computes it); a cell may serve several claims."""
    wanted = set(arguments.only)
    distilled = {"labels": 0.5, "outputs": 0.5, "features": 0.1}
    for seed in arguments.seeds:
        base = common(arguments, seed)
        configs = []
        for quantizer in arguments.quantizers:
            of = partial(sp_config, arguments, quantizer=quantizer)
            if wanted & {"S1", "S2", "S3"}:
                configs.append(of())
            if "S1" in wanted:
                configs.append(of(private_norms=False))
            if "S3" in wanted:
                configs.append(of(**distilled))
                half = max(1, arguments.epochs // 2)
                configs += [of(epochs=half, **extra) for extra in ({}, distilled)]
        if "S5" in wanted:
            configs += [sp_config(arguments, quantizer=name) for name in ("clip", "nested")]
        if "S4" in wanted:
            configs.append(sp_config(arguments, quantizer="sign"))
        for config in configs:
            yield {**base, "system": "spnets", **config}, partial(sp, arguments, seed, config)
        for quantizer in arguments.quantizers if "S2" in wanted else ():
            # the learned clip was measured before there was a choice
            chosen = {} if quantizer == "clip" else {"quantizer": quantizer}
            for width in WIDTHS:
                name = {**base, "system": "alone", "width": width, "epochs": arguments.epochs}
                compute = partial(alone, arguments, seed, width, arguments.epochs, quantizer)
                yield {**name, **chosen}, compute
        kinds = ["pair"] if wanted & {"B1", "B2", "B3", "B4"} else []
        kinds += ["shared"] if "B1" in wanted else []
        kinds += ["producer"] if wanted & {"B1", "B5"} else []
        kinds += ["direct"] if "B2" in wanted else []
        kinds += ["coupled"] if "B5" in wanted else []
        for kind in kinds:
            config = mixer_config(arguments, kind, search=kind == "pair")
            yield {**base, "system": "bitmixer", **config}, partial(mixer, arguments, seed, config)
        if "B3" in wanted:
            config = mixer_config(arguments, "pair", search=True)
            name = {**base, "system": "specialists", **config}
            yield name, partial(specialists, arguments, seed, config)
        for index in range(BUDGETS) if "B4" in wanted else ():
            yield (
                {**base, "system": "gradfreebits", "budget": index},
                partial(runs, arguments, seed, index),
            )


def main() -> None:
    """Compute what is missing, then say what holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="resnet8", choices=("resnet8", "resnet20", "mobilenet"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--quantizers", nargs="+", default=["clip", "lsq", "dorefa"])
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--mixer-epochs", type=int, default=6)
    parser.add_argument("--epoch-images", type=int, default=8_000)
    parser.add_argument(
        "--only", nargs="+", default=["S1", "S2", "S3", "S4", "S5", "B1", "B2", "B3", "B4", "B5"]
    )
    parser.add_argument("--again", action="store_true", help="what other code measured, too")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    compute_missing(RESULTS, cells(arguments), code_of, arguments.again)
    print("\n".join(verdicts(current(finished(RESULTS)), arguments.model)))


if __name__ == "__main__":
    main()
