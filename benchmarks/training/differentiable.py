"""Whether bits learned by gradient, and mirror descent, do what they claim, on Fashion-MNIST.

    OMP_NUM_THREADS=1 python -m benchmarks.training.differentiable --model resnet8 --seeds 0 1 2

D3  error of U1, U2 and U3 on a normal variable, over learning rates that differ a hundredfold
D6  learned bits against the best uniform bits and the exact front's, both trained by LSQ
D7  final accuracy of U1, U2 and U3 over rates and seeds, with the same machinery around them
D8  a limit on the largest activation against one on all of them
M3  soft minus hard accuracy at the end of the annealing
M4  mirror descent against straight through, ProxQuant and descent through tanh, 1 bit and ternary
    "table" adds GradFreeBits and mixed 1-bit training, for one table and figure at equal bytes

A miniature: an epoch draws `--epoch-images` of the training images (8,000: 62 steps of 128), every
method trains `--epochs` of them (5), and budgets are `--bits` mean bits of all weights, first and
last layer included, inputs in float. Accuracy is on the 10,000 test images, looked at once for each
cell. Three seeds of all take about three hours on one core, with D7 at `--epochs 3`; published
schedules are a hundred times longer, and what fails here may hold there.

Every finished cell is a line in benchmarks/results/differentiable.jsonl; a cell that is there is
not computed again, so the script can be stopped and started at will. Verdicts are printed at the
end, failures too.
"""

import argparse
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.cells import Cell, compute_missing, current, finished
from benchmarks.claims.papers import code_of
from benchmarks.training.differentiable_verdicts import FIGURE, draw, table, verdicts
from qcore.allocation import BitAllocation
from qcore.costs import costs_of
from qcore.engine import drive
from qcore.models.catalog import MODELS
from qcore.models.zoo import load_model
from qcore.network.layers import find_layers
from qcore.prepare import Prepared, prepare
from qcore.problem import Point, Progress
from qcore.qat.requests import GivenBits
from qcore.quantizers.dq import PARAMETRIZATIONS
from qcore.run_spec import RunSpec
from qcore.searches import SEARCHES
from qcore.solvers.start import exact_allocation, uniform_allocation

RESULTS = Path(__file__).parents[1] / "results" / "differentiable.jsonl"
WIDTHS = (2, 3, 4, 5, 6, 8)
RATES = (0.003, 0.02, 0.05)
UNIFORM_KINDS = tuple(PARAMETRIZATIONS)
LOW_METHODS: dict[str, Cell] = {
    "md-tanh-s": {},
    "ste": {},
    "proxquant": {},
    # published for 200 epochs of CIFAR-10 is a pull of about 8 scales in all; here one
    "proxquant, weak": {"method": "proxquant", "strength": 1.0},
    "gd-tanh": {},
    "md-softmax-s": {},
    "gd-softmax": {},
}
TOY_STEPS, TOY_SAMPLES = 600, 10_000

Todo = tuple[Cell, Callable[[], Cell]]


def spec_of(arguments: argparse.Namespace, search: str, seed: int, **changes: Any) -> RunSpec:
    """The run of one cell."""
    values: dict[str, Any] = {
        "weight_bits": WIDTHS,
        "calibration_images": 1024,
        "search_images": 1024,
        "objective": "loss",
    }
    values.update(changes)
    return RunSpec(
        model=arguments.model,
        data="fashion-mnist",
        search=search,
        seed=seed,
        device=arguments.device,
        **values,
    )


def budget(arguments: argparse.Namespace) -> dict[str, float]:
    """Weight bytes at so many mean bits."""
    shape = MODELS[arguments.model].input_shape
    spec = find_layers(load_model(arguments.model), torch.zeros(1, *shape), arguments.model).spec
    weights = sum(layer.weights for layer in spec.layers)
    return {"weight_bytes": float(int(weights * arguments.bits / 8))}


def result(prepared: Prepared, point: Point, figures: list[Any]) -> Cell:
    """What a cell keeps of its final point."""
    scores = prepared.report(point).test
    cell: Cell = {
        "accuracy": None if scores is None else scores.accuracy,
        "search_loss": point.search.loss,
        "costs": costs_of(prepared.model, point.allocation),
        "allocation": point.allocation.to_json(),
    }
    for name in ("gap", "off_level", "unused"):
        found = [f[name] for f in figures if name in f]
        if found:
            cell[name] = found[-1]
    return cell


def searched(
    arguments: argparse.Namespace, search: str, seed: int, params: Cell, **changes: Any
) -> Cell:
    """Run a search; its final point."""
    prepared = prepare(spec_of(arguments, search, seed, **changes))
    figures: list[Any] = []

    def note(event: Any) -> None:
        if isinstance(event, Progress):
            figures.append(dict(event.figures))

    entry = SEARCHES[search]
    read = entry.read_params({"epoch_images": arguments.epoch_images, **params})
    outcome = drive(entry, prepared.problem, read, seed, score=prepared.score, on_event=note)
    final = [point for point in outcome.points if point.stage == "final"][-1]
    return result(prepared, final, figures)


def untrained(
    arguments: argparse.Namespace, seed: int, limits: dict[str, float], tuned: bool
) -> Cell:
    """The best allocation of `portfolio`, which trains nothing; tuned without labels or not."""
    prepared = prepare(spec_of(arguments, "portfolio", seed, limits=limits, objective="kl"))
    entry = SEARCHES["portfolio"]
    outcome = drive(entry, prepared.problem, entry.params(), seed, score=prepared.score)
    inside = [point for point in outcome.points if prepared.problem.admits(point.allocation)]
    best = min(inside, key=prepared.problem.value)
    return result(prepared, prepared.tuned(best) if tuned else best, [])


def learned_steps(
    arguments: argparse.Namespace,
    seed: int,
    choose: Callable[[Prepared], BitAllocation],
    **changes: Any,
) -> Cell:
    """Train an allocation by LSQ for all epochs."""
    prepared = prepare(spec_of(arguments, "gradfreebits", seed, **changes))
    allocation = choose(prepared)
    plan = {
        "epochs": arguments.epochs,
        "rate": arguments.rate,
        "epoch_images": arguments.epoch_images,
    }
    request = GivenBits(stage="final", allocation=allocation, plan=plan, quantizer="lsq")
    for _ in prepared.trainer.train(request):
        pass
    return result(prepared, next(prepared.score([allocation], "final")), [])


def normal_error(kind: str, rate: float, seed: int) -> Cell:
    """Error of a quantizer trained on a normal variable, from 4 bits and a step of 1/8."""
    x = torch.randn(TOY_SAMPLES, generator=torch.Generator().manual_seed(seed))
    row = PARAMETRIZATIONS[kind]
    pair = [torch.tensor(v, requires_grad=True) for v in row.start(0.125, 4, True)]
    errors: list[float] = []
    for _ in range(TOY_STEPS):
        loss = (row.quantize(x, row.grid(pair[0], pair[1], True, False), True) - x).square().mean()
        gradients = torch.autograd.grad(loss, pair)
        with torch.no_grad():
            stepped: list[Tensor] = [p - rate * g for p, g in zip(pair, gradients, strict=True)]
            for p, value in zip(
                pair, row.project(stepped[0], stepped[1], True, False, 2, 16), strict=True
            ):
                p.copy_(value)
        errors.append(loss.item())
    return {"error": min(errors[-1], 1e6)}


def dq_params(arguments: argparse.Namespace, **changes: Any) -> Cell:
    """Learning bits for three fifths of the epochs, weights alone for the rest."""
    bits = max(1, round(arguments.epochs * 3 / 5))
    return {
        "bits_epochs": bits,
        "final_epochs": arguments.epochs - bits,
        "rate": arguments.rate,
        **changes,
    }


def cells(arguments: argparse.Namespace) -> Iterator[Todo]:
    """Every cell as (what names it, what computes it), cheap and telling ones first."""
    size = {"model": arguments.model, "epochs": arguments.epochs, "rate": arguments.rate}
    size["epoch_images"] = arguments.epoch_images
    limits, wanted = budget(arguments), set(arguments.only)
    for seed in arguments.seeds if "D3" in wanted else ():
        for kind in UNIFORM_KINDS:
            for rate in (1.0, 0.1, 0.01):
                name = {"claim": "D3", "kind": kind, "rate": rate, "seed": seed}
                yield name, lambda k=kind, r=rate, s=seed: normal_error(k, r, s)  # type: ignore[misc]
    for seed in arguments.seeds:
        if wanted & {"D6", "table"}:
            yield from equal_bytes(arguments, seed, {**size, "bits": arguments.bits}, limits)
        if wanted & {"M3", "M4"}:
            yield from low_bits(arguments, seed, size)
        if "table" in wanted:
            yield from others(arguments, seed, {**size, "bits": arguments.bits}, limits)
        if "D8" in wanted:
            yield from activation_limits(arguments, seed, size)
        for kind in UNIFORM_KINDS if "D7" in wanted else ():
            for rate, clipping in itertools.product(RATES, ("published", "all")):
                name = {"claim": "D7", **size, "bits": arguments.bits, "seed": seed}
                name.update(kind=kind, rate=rate)
                # cells from before there was a choice clipped all
                name |= {} if clipping == "all" else {"clipping": clipping}
                params = dq_params(
                    arguments, parametrization=kind, rate=rate, clipping=clipping, start="four"
                )
                yield (
                    name,
                    lambda p=params, s=seed: searched(arguments, "dq", s, p, limits=limits),  # type: ignore[misc]
                )


def equal_bytes(
    arguments: argparse.Namespace, seed: int, size: Cell, limits: dict[str, float]
) -> Iterator[Todo]:
    """D6: all within the same bytes, trained for the same epochs."""
    name = {"claim": "D6", **size, "seed": seed}
    yield (
        {**name, "method": "exact + LSQ"},
        lambda: learned_steps(
            arguments, seed, lambda p: exact_allocation(p.problem, "dq"), limits=limits
        ),
    )
    yield (
        {**name, "method": "uniform + LSQ"},
        lambda: learned_steps(
            arguments, seed, lambda p: uniform_allocation(p.problem), limits=limits
        ),
    )
    for start in ("four", "exact"):
        params = dq_params(arguments, start=start)
        yield (
            {**name, "method": f"dq from {start}"},
            lambda p=params: searched(arguments, "dq", seed, p, limits=limits),  # type: ignore[misc]
        )


def low_bits(arguments: argparse.Namespace, seed: int, size: Cell) -> Iterator[Todo]:
    """M3 and M4: every layer, first and last too, of one bit or three levels."""
    for bits in (1, 2):
        for method, changes in LOW_METHODS.items():
            name = {"claim": "M4", **size, "weight_bits": bits, "method": method, "seed": seed}
            params = {
                "method": method,
                "allocation": "uniform",
                "epochs": arguments.epochs - 1,
                "tail_epochs": 1,
                **changes,
            }
            yield (
                name,
                lambda p=params, b=bits: searched(  # type: ignore[misc]
                    arguments, "mirror", seed, p, weight_bits=(b,)
                ),
            )


def others(
    arguments: argparse.Namespace, seed: int, size: Cell, limits: dict[str, float]
) -> Iterator[Todo]:
    """What else stands on the front at these bytes and epochs."""
    name, widths = {"claim": "D6", **size, "seed": seed}, (1, *WIDTHS)
    for method, tuning in (("portfolio", False), ("portfolio, tuned", True)):
        yield (
            {**name, "method": method},
            lambda t=tuning: untrained(arguments, seed, limits, t),  # type: ignore[misc]
        )
    yield (
        {**name, "method": "dq, steps of powers of two"},
        lambda: searched(
            arguments, "dq", seed, dq_params(arguments, power_of_two_steps=True), limits=limits
        ),
    )
    rounds = {"rounds": 1, "pretraining_epochs": 1, "round_epochs": 1, "evaluations": 60}
    free = {**rounds, "final_epochs": arguments.epochs - 2, "rate": arguments.rate}
    yield (
        {**name, "method": "gradfreebits"},
        lambda: searched(arguments, "gradfreebits", seed, free, limits=limits),
    )
    mixed = {"epochs": arguments.epochs - 1, "tail_epochs": 1}
    yield (
        {**name, "method": "exact + MD-tanh-S"},
        lambda: searched(arguments, "mirror", seed, mixed, limits=limits, weight_bits=widths),
    )


def activation_limits(arguments: argparse.Namespace, seed: int, size: Cell) -> Iterator[Todo]:
    """D8: the same share of what four bits everywhere take."""
    shape = MODELS[arguments.model].input_shape
    spec = find_layers(load_model(arguments.model), torch.zeros(1, *shape), arguments.model).spec
    four = costs_of(spec, BitAllocation.uniform(spec.layers, 4, 4))
    for cost in ("activation_bytes_max", "activation_bytes_sum"):
        name = {"claim": "D8", **size, "limit": cost, "seed": seed}
        # before the slack is spent, which would widen layers under either limit
        params = dq_params(arguments, use_slack=False, start="four")
        yield (
            name,
            lambda c=cost, p=params: searched(  # type: ignore[misc]
                arguments,
                "dq",
                seed,
                p,
                limits={c: four[c] * 0.75},
                activation_bits=WIDTHS,
            ),
        )


def main() -> None:
    """Compute what is missing, then say what holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="resnet8", choices=("resnet8", "resnet20", "mobilenet"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--epoch-images", type=int, default=8_000)
    parser.add_argument("--rate", type=float, default=0.02)
    parser.add_argument("--bits", type=float, default=2.5)
    claims = ["D3", "D6", "M3", "M4", "D8", "D7", "table"]
    parser.add_argument("--only", nargs="+", default=claims, choices=claims)
    parser.add_argument("--again", action="store_true", help="what other code measured, too")
    parser.add_argument("--verdicts", action="store_true", help="compute nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if not arguments.verdicts:
        compute_missing(RESULTS, cells(arguments), code_of, arguments.again)
    rows = [row["name"] | row["result"] for row in current(finished(RESULTS))]
    print("\n".join(verdicts(rows, arguments.model)))
    print("\n".join(table(rows, arguments.model)))
    drawing = draw(rows, arguments.model)
    if drawing is not None:
        FIGURE.write_text(drawing)


if __name__ == "__main__":
    main()
