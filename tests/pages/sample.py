"""Made-up results for the pages: fast, and with every case a page must draw."""

import random
from collections.abc import Sequence

from qcore.allocation import BitAllocation, LayerBits, ModelSpec
from qcore.formats.config import BitConfig, dump_bits
from qcore.models.catalog import bundled_spec
from qcore.problem import Point, Scores, SensitivityTable
from qcore.run_spec import RunSpec
from store import Run, Store, StoredPoint, create_run, save_model, save_table
from store.runs.points import add_point, add_report
from store.runs.queue import claim, finish, progress

MODEL: ModelSpec = bundled_spec("resnet8")
FLOAT = Scores(1000, 0.0, 1.0, 0.93, 0.2)


def allocations(count: int, seed: int = 0, activations: Sequence[int] = (32,)) -> list:
    """Distinct random allocations."""
    rng = random.Random(seed)
    found: dict[BitAllocation, None] = {}
    while len(found) < count:
        bits = {
            layer.name: LayerBits(rng.choice((2, 3, 4, 8)), rng.choice(activations))
            for layer in MODEL.layers
        }
        found.setdefault(BitAllocation(bits))
    return list(found)


def uniform(weight: int, activation: int = 32) -> BitAllocation:
    return BitAllocation.uniform(MODEL.layers, weight, activation)


def point(allocation: BitAllocation, correct: int, tested: bool = False, stage: str = "ptq"):
    """A point that names the class of `correct` of 1,000 search images; fewer diverge more."""
    share = correct / 1000
    far = round((1001 - correct) / 2000, 6)
    search = Scores(1000, far, share, share, 0.3 + far)
    test = Scores(10_000, 0.1, share - 0.01, share - 0.01, 0.3) if tested else None
    return Point(allocation, search, test, stage)


def spec_of(search: str, **changes) -> RunSpec:
    return RunSpec("resnet8", "fashion-mnist", search, **changes)


def run_of(number: int, search: str, state: str = "done", **changes) -> Run:
    """A run that no database knows."""
    spec = spec_of(search, **changes)
    return Run(
        id=number,
        name=f"{search} {number}",
        spec=spec,
        state=state,
        want="run",
        attempt=1,
        beat=0,
        step=3,
        total=4,
        message="measured 3 of 4",
        error=None,
        traceback=None,
        created="2026-01-01T00:00:00.000+00:00",
        started="2026-01-01T00:00:00.000+00:00",
        finished=None,
        evaluations=3,
    )


def stored(number: int, run_id: int, point: Point, has_config: bool = False) -> StoredPoint:
    return StoredPoint(number, run_id, point, has_config)


def table(kind: str = "kl", activations: Sequence[int] = ()) -> SensitivityTable:
    """Damage that halves with every bit and differs by layer."""
    rows = {
        layer.name: {bits: (place + 1) * 0.5**bits for bits in (2, 3, 4, 8)}
        for place, layer in enumerate(MODEL.layers)
    }
    inputs = {
        layer.name: {bits: 0.3 * (place + 1) * 0.5**bits for bits in activations}
        for place, layer in enumerate(MODEL.layers)
        if activations
    }
    return SensitivityTable(kind, "nats", rows, inputs, n=1000, seconds=1.0)


def config_of(point: Point) -> str:
    """A configuration file without quantizer state."""
    return dump_bits(
        BitConfig(MODEL, point.allocation, search=point.search, test=point.test, float_test=FLOAT)
    )


def add_run(store: Store, search: str, points: Sequence[Point], **changes) -> tuple[int, int]:
    """A running run that has these points; those with test scores are reported."""
    create_run(store, spec_of(search, **changes), f"{search} run")
    held = claim(store, "test")
    assert held is not None
    for each in points:
        add_point(store, *held, each)
        if each.test is not None:
            add_report(store, *held, each, config_of(each))
    progress(store, *held, len(points), 2 * len(points), "measuring")
    return held


def fill(store: Store) -> None:
    """Three finished searches of resnet8, its float scores and a sensitivity table."""
    float_point = Point(uniform(32, 32), FLOAT, Scores(10_000, 0.0, 1.0, 0.92, 0.2))
    save_model(store, MODEL, "fashion-mnist", float_point)
    save_table(store, "kl/test", MODEL.digest, table())
    ladder = [point(uniform(bits), 700 + 20 * bits, tested=True) for bits in (2, 3, 4, 8)]
    finish(store, *add_run(store, "uniform", ladder), "done")
    mixed = [
        point(allocation, 760 + 3 * at, tested=at % 5 == 4)
        for at, allocation in enumerate(allocations(20, seed=1))
    ]
    finish(store, *add_run(store, "portfolio", mixed), "done")
    both = [
        point(allocation, 740 + at)
        for at, allocation in enumerate(allocations(10, seed=2, activations=(4, 8)))
    ]
    finish(store, *add_run(store, "random", both, activation_bits=(4, 8)), "done")
