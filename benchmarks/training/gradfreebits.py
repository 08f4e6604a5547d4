"""Whether GradFreeBits does what it claims, at the size of Fashion-MNIST.

    OMP_NUM_THREADS=1 python -m benchmarks.training.gradfreebits --model resnet8 --seeds 0 1 2

G1  against uniform bits of the same budget, trained in the very same stages on the same images
G2  a clip for every bit-width against one clip for all, over 40 random allocations, untrained
G1R the same with random bits in every training that a round follows, an extension
G3  alternation against one search followed by all the training, at equal candidates and epochs
G4  rank correlation with the whole search split, candidates scored on shared or independent images

A miniature: each epoch draws `--epoch-images` of the 57,952 training images; two epochs before, one
after each of two rounds, two at the end, which is `--epochs 2 1 2`. Budgets are mean bits b of all
layers but the first and last, which have 8: their weight bytes times b, and their bit operations
times b * b. Accuracy is on the 10,000 test images, looked at once per cell.

Every finished cell is a line in benchmarks/results/gradfreebits.jsonl; a cell that is there is not
computed again, so the script can be stopped and started at will. Verdicts are printed at the end,
failures too.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.cells import Cell, compute_missing, current, finished
from benchmarks.claims.papers import code_of
from qcore.allocation import BitAllocation, LayerBits, ModelSpec
from qcore.costs import COSTS, costs_of
from qcore.engine import drive
from qcore.models.catalog import MODELS
from qcore.models.zoo import load_model
from qcore.network.layers import find_layers
from qcore.prepare import Prepared, prepare
from qcore.problem import Point
from qcore.qat.requests import GivenBits
from qcore.run_spec import RunSpec
from qcore.searches import SEARCHES
from qcore.searches.gradfreebits import FINAL, GradFreeBitsParams
from qcore.solvers.genes import genes_of
from qcore.solvers.repair import best_uniform, repair_of
from qcore.solvers.space import space_of

RESULTS = Path(__file__).parents[1] / "results" / "gradfreebits.jsonl"
WIDTHS = (1, 2, 3, 4, 5, 6, 8)
INPUTS = (2, 3, 4, 5, 6, 8)
BUDGETS = (2.0, 2.5, 3.0, 4.0)
PINNED = 8
CLIPS = (2, 4, 8)
RANDOM = 40
RANDOM_BITS = "gradfreebits, random bits"
SIZES = (64, 128, 256, 512, 1024)


def limits_of(model: ModelSpec, mean: float) -> dict[str, float]:
    """Weight bytes and bit operations at `mean` bits, the first and last layer at 8."""
    ends = (model.layers[0].name, model.layers[-1].name)
    low = BitAllocation(
        {x.name: LayerBits(*((PINNED,) * 2 if x.name in ends else (1, 1))) for x in model.layers}
    )
    costs = costs_of(model, low)
    inner = [x for x in model.layers if x.name not in ends]
    one = LayerBits(1, 1)
    limits = {}
    for name, factor in (("weight_bytes", mean), ("bit_ops", mean * mean)):
        # bytes are rounded up layer by layer, so eight bits are priced and divided
        unit = sum(COSTS[name].layer_cost(x, LayerBits(8, 8)) for x in inner)
        per_bit = unit / (8 if name == "weight_bytes" else 64)
        rest = costs[name] - sum(COSTS[name].layer_cost(x, one) for x in inner)
        limits[name] = float(np.ceil(rest + factor * per_bit))
    return limits


def spec_of(arguments: argparse.Namespace, seed: int, mean: float | None) -> RunSpec:
    """The run of one cell."""
    network = load_model(arguments.model)
    shape = MODELS[arguments.model].input_shape
    model = find_layers(network, torch.zeros(1, *shape), arguments.model).spec
    return RunSpec(
        model=arguments.model,
        data="fashion-mnist",
        search="gradfreebits",
        limits={} if mean is None else limits_of(model, mean),
        weight_bits=WIDTHS,
        activation_bits=INPUTS,
        pin_first_last=PINNED,
        seed=seed,
        calibration_images=1024,
        search_images=4096 if mean is None else 2048,
        objective="loss",
        device=arguments.device,
    )


def params_of(arguments: argparse.Namespace, **changes: Any) -> GradFreeBitsParams:
    """The search's settings, the same in every cell but for `changes`."""
    before, between, after = arguments.epochs
    return GradFreeBitsParams(
        **{
            "evaluations": arguments.evaluations,
            "pretraining_epochs": before,
            "round_epochs": between,
            "final_epochs": after,
            "epoch_images": arguments.epoch_images,
            **changes,
        }
    )


def result(model: ModelSpec, point: Point) -> Cell:
    """What a cell keeps of a point."""
    scores = point.test
    return {
        "accuracy": None if scores is None else scores.accuracy,
        "loss": None if scores is None else scores.loss,
        "search_loss": point.search.loss,
        "costs": costs_of(model, point.allocation),
        "bits": point.allocation.to_json(),
    }


def searched(arguments: argparse.Namespace, seed: int, mean: float, **changes: Any) -> Cell:
    """Run the search; its final point."""
    prepared = prepare(spec_of(arguments, seed, mean))
    params = params_of(arguments, **changes)
    search = SEARCHES["gradfreebits"]
    outcome = drive(search, prepared.problem, params, seed, score=prepared.score)
    final = next(point for point in outcome.points if point.stage == FINAL)
    return {"evaluations": outcome.evaluations, **result(prepared.model, prepared.report(final))}


def trained_uniform(arguments: argparse.Namespace, seed: int, mean: float) -> Cell:
    """Train the best uniform bits of a budget in the stages of the search."""
    prepared = prepare(spec_of(arguments, seed, mean))
    space = space_of(prepared.problem)
    uniform = space.allocation(best_uniform(genes_of(space), repair_of(space)))
    params = params_of(arguments)
    stages = [("pretraining", params.pretraining_epochs)]
    stages += [(f"round-{n + 1}/weights", params.round_epochs) for n in range(params.rounds)]
    after = ""
    for stage, epochs in [*stages, (FINAL, params.final_epochs)]:
        plan = {"epochs": epochs, "rate": params.rate, "epoch_images": params.epoch_images}
        request = GivenBits(stage=stage, allocation=uniform, plan=plan, after=after)
        for _ in prepared.trainer.train(request):
            pass
        after = stage
    point = next(prepared.score([uniform], FINAL))
    return result(prepared.model, prepared.report(point))


def random_allocations(prepared: Prepared, seed: int, count: int) -> list[BitAllocation]:
    """Allocations of random bits from 2 up, layer by layer."""
    rng = np.random.default_rng(seed)
    options = {
        name: [o for o in allowed if o.weight > 1] or list(allowed)
        for name, allowed in prepared.problem.options.items()
    }
    return [
        BitAllocation({name: o[rng.integers(len(o))] for name, o in options.items()})
        for _ in range(count)
    ]


def clips(arguments: argparse.Namespace, seed: int) -> Cell:
    """Untrained accuracy of random allocations, by where their clips come from."""
    prepared = prepare(spec_of(arguments, seed, None))
    allocations = random_allocations(prepared, seed, RANDOM)
    cell: Cell = {}
    for clip in (None, *CLIPS):
        stage = f"start-{clip}"
        whole = BitAllocation.uniform(prepared.model.layers, 32)
        request = GivenBits(stage=stage, allocation=whole, plan=NOTHING, one_clip=clip)
        for _ in prepared.trainer.train(request):
            pass
        points = list(prepared.score(allocations, stage, (0, 2048)))
        accuracies = [float(point.search.headline) for point in points]
        name = "per width" if clip is None else f"one, of {clip} bits"
        cell[name] = {"mean": float(np.mean(accuracies)), "worst": min(accuracies)}
    return cell


NOTHING = {"epochs": 0}


@torch.inference_mode()
def losses(prepared: Prepared, stage: str, allocations: Sequence[BitAllocation]) -> np.ndarray:
    """Loss of each allocation on each image of the search split, (allocations, images)."""
    evaluator = prepared.evaluator
    rows = []
    batches = [(x, y) for x, y in evaluator.search if y is not None]
    for allocation in allocations:
        with torch.inference_mode(mode=False):
            state = prepared.trainer.state(stage, allocation)
        evaluator.model.load_state(allocation, state)
        parts: list[Tensor] = [
            functional.cross_entropy(evaluator.model(x), y, reduction="none") for x, y in batches
        ]
        rows.append(torch.cat(parts).cpu().numpy())
    evaluator.forget()
    return np.stack(rows)


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation of two vectors."""
    ranks = [np.argsort(np.argsort(v)).astype(float) for v in (a, b)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def rankings(arguments: argparse.Namespace, seed: int) -> Cell:
    """Rank correlation with the whole split, for shared and for independent images."""
    prepared = prepare(spec_of(arguments, seed, None))
    plan = {"epochs": 1, "epoch_images": arguments.epoch_images}
    uniform = BitAllocation(
        {n: o[0] if len(o) == 1 else LayerBits(3, 3) for n, o in prepared.problem.options.items()}
    )
    request = GivenBits(stage="pretraining", allocation=uniform, plan=plan)
    for _ in prepared.trainer.train(request):
        pass
    table = losses(prepared, "pretraining", random_allocations(prepared, seed, RANDOM))
    whole = table.mean(axis=1)
    best = np.argsort(whole)[: RANDOM // 2]
    rng = np.random.default_rng(seed)
    cell: Cell = {}
    for size in SIZES:
        found: dict[str, list[float]] = {}
        for _ in range(20):
            draw = [rng.choice(table.shape[1], size, replace=False) for _ in range(RANDOM)]
            shared = table[:, draw[0]].mean(axis=1)
            own = np.array([row[d].mean() for row, d in zip(table, draw, strict=True)])
            for name, values in (("shared", shared), ("independent", own)):
                found.setdefault(name, []).append(spearman(values, whole))
                found.setdefault(f"{name}, best half", []).append(
                    spearman(values[best], whole[best])
                )
        cell[str(size)] = {name: float(np.mean(rows)) for name, rows in found.items()}
    return cell


def cells(arguments: argparse.Namespace) -> Iterator[tuple[Cell, Callable[[], Cell]]]:
    """Every cell as (what names it, what computes it), cheap and telling ones first."""
    common = {
        "model": arguments.model,
        "epochs": list(arguments.epochs),
        "epoch_images": arguments.epoch_images,
        "evaluations": arguments.evaluations,
    }
    for seed in arguments.seeds:
        if "G2" in arguments.only:
            name = {"claim": "G2", "model": arguments.model, "seed": seed}
            yield name, lambda s=seed: clips(arguments, s)  # type: ignore[misc]
        if "G4" in arguments.only:
            name = {"claim": "G4", **common, "seed": seed}
            yield name, lambda s=seed: rankings(arguments, s)  # type: ignore[misc]
    for seed in arguments.seeds:
        for mean in (2.5, *(b for b in BUDGETS if b != 2.5)):
            name = {"claim": "G1", **common, "seed": seed, "mean_bits": mean}
            if "G1" in arguments.only or (mean == 2.5 and "G3" in arguments.only):
                yield (
                    {**name, "method": "gradfreebits"},
                    lambda s=seed, b=mean: searched(arguments, s, b),  # type: ignore[misc]
                )
            if "G1" in arguments.only:
                yield (
                    {**name, "method": "uniform"},
                    lambda s=seed, b=mean: trained_uniform(arguments, s, b),  # type: ignore[misc]
                )
            if "G1R" in arguments.only:
                yield (
                    {**name, "method": RANDOM_BITS},
                    lambda s=seed, b=mean: searched(  # type: ignore[misc]
                        arguments, s, b, random_bits=True
                    ),
                )
            if mean == 2.5 and "G3" in arguments.only:
                yield (
                    {**name, "claim": "G3", "method": "search once"},
                    lambda s=seed, b=mean: searched(  # type: ignore[misc]
                        arguments, s, b, alternation=False
                    ),
                )


def verdicts(rows: Sequence[Cell], model: str) -> list[str]:
    """A line for every claim that has been measured."""
    rows = [row["name"] | row["result"] for row in rows if row["name"]["model"] == model]
    lines = []

    def pairs(first: str, second: str, mean: float) -> list[float]:
        found: dict[tuple[int, str], float] = {
            (row["seed"], row["method"]): row["accuracy"]
            for row in rows
            if row["claim"] in ("G1", "G3") and row["mean_bits"] == mean
        }
        seeds = sorted({seed for seed, _ in found})
        both = [s for s in seeds if (s, first) in found and (s, second) in found]
        return [100 * (found[s, first] - found[s, second]) for s in both]

    for mean in BUDGETS:
        for method, words in (("gradfreebits", "G1"), (RANDOM_BITS, "G1R")):
            gains = pairs(method, "uniform", mean)
            if gains:
                least = 0.5 if mean == 2.5 else 0.0
                lines.append(_line(f"{words} at {mean} bits, gain over uniform", gains, least))
    for row in (r for r in rows if r["claim"] == "G2"):
        own = row["per width"]
        others = [row[f"one, of {clip} bits"] for clip in CLIPS]
        mean_gain = 100 * (own["mean"] - max(o["mean"] for o in others))
        worst_gain = 100 * (own["worst"] - max(o["worst"] for o in others))
        lines.append(_line(f"G2 seed {row['seed']}, mean accuracy", [mean_gain], 2.0))
        lines.append(_line(f"G2 seed {row['seed']}, worst accuracy", [worst_gain], 5.0))
    gains = pairs("gradfreebits", "search once", 2.5)
    if gains:
        lines.append(_line("G3 alternation over search once", gains, 0.0))
    for row in (r for r in rows if r["claim"] == "G4"):
        at = row["256"]
        gain = at["shared, best half"] - at["independent, best half"]
        words = "passes" if gain >= 0.1 else "FAILS"
        lines.append(f"{words}: G4 seed {row['seed']}, 256 images, best half: {gain:+.2f} (>= 0.1)")
    return lines


def _line(words: str, gains: Sequence[float], least: float) -> str:
    mean = float(np.mean(gains))
    verdict = "passes" if mean >= least else "FAILS"
    listed = ", ".join(f"{gain:+.2f}" for gain in gains)
    return f"{verdict}: {words}: {mean:+.2f} points (needs {least:+.1f}; seeds: {listed})"


def main() -> None:
    """Compute what is missing, then say what holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="resnet8", choices=("resnet8", "resnet20", "mobilenet"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, nargs=3, default=[2, 1, 2])
    parser.add_argument("--epoch-images", type=int, default=16_000)
    parser.add_argument("--evaluations", type=int, default=120)
    parser.add_argument("--only", nargs="+", default=["G1", "G2", "G3", "G4", "G1R"])
    parser.add_argument("--again", action="store_true", help="what other code measured, too")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    compute_missing(RESULTS, cells(arguments), code_of, arguments.again)
    print("\n".join(verdicts(current(finished(RESULTS)), arguments.model)))


if __name__ == "__main__":
    main()
