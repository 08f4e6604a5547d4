"""Made-up results of a network whose samples have a number each, as a judge gives them."""

import numpy as np

from qcore.problem import Point, Scores
from store import Store, save_model
from store.runs.queue import finish
from tests.pages import sample

JUDGES = {
    "signal": ({"name": "signal"}, 1.0),
    "tokens": ({"name": "tokens", "ids": "ids"}, 100.0),
    "embedding": ({"name": "embedding"}, 100.0),
}
"""Name to (a judge's JSON, what its score is multiplied with to be shown)."""

FLOAT = {"signal": 30.0, "tokens": 0.6, "embedding": 0.5}
SPREAD = {"signal": 3.0, "tokens": 0.2, "embedding": 0.4}
N, TESTED = 200, 300


def float_rows(name: str) -> np.ndarray:
    """The float network's score of every test sample."""
    rng = np.random.default_rng(7)
    return (FLOAT[name] + SPREAD[name] * rng.normal(size=TESTED)).astype(np.float32)


def rows_of(name: str, place: int) -> np.ndarray:
    """A quantized network's, worse by a little that differs from sample to sample."""
    rng = np.random.default_rng(100 + place)
    worse = (0.02 + 0.02 * place) * SPREAD[name]
    return (float_rows(name) - worse * (1 + rng.normal(size=TESTED))).astype(np.float32)


def scores(rows: np.ndarray, floats: np.ndarray, kl: float) -> Scores:
    """What `qcore.judges.tally` makes of them."""
    change = floats.astype(float) - rows.astype(float)
    n = len(rows)
    return Scores(
        n,
        kl,
        0.9,
        float(rows.astype(float).mean()),
        loss=kl,
        kl_error=kl / 20,
        score_error=float(rows.astype(float).std(ddof=1)) / n**0.5,
        change=float(change.mean()),
        change_error=float(change.std(ddof=1)) / n**0.5,
    )


def point(name: str, allocation, place: int, tested: bool = True) -> Point:
    """A point whose divergence rises with its place."""
    rows, floats, kl = rows_of(name, place), float_rows(name), 0.001 * 1.5**place
    search = scores(rows[:N], floats[:N], kl)
    test = scores(rows, floats, kl) if tested else None
    right = rows.astype("<f4").tobytes() if tested else None
    return Point(allocation, search, test, test_right=right)


def fill(store: Store, name: str) -> None:
    """Two finished searches judged by it, and the float network's scores."""
    judge, _ = JUDGES[name]
    floats = float_rows(name)
    float_point = Point(
        sample.uniform(32, 32), scores(floats[:N], floats[:N], 0.0), scores(floats, floats, 0.0)
    )
    save_model(store, sample.MODEL, "fashion-mnist", float_point)
    ladder = [point(name, sample.uniform(bits), 8 - bits) for bits in (2, 3, 4, 8)]
    finish(store, *sample.add_run(store, "uniform", ladder, judge=judge), "done")
    mixed = [
        point(name, allocation, at % 7, tested=at % 3 == 0)
        for at, allocation in enumerate(sample.allocations(12, seed=1))
    ]
    finish(store, *sample.add_run(store, "portfolio", mixed, judge=judge), "done")
