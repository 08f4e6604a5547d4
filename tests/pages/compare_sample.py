"""Made-up runs to compare: several methods and seeds, with every test image's answer kept."""

from dataclasses import replace

import numpy as np

from qcore.problem import Point, Scores
from store import Store, save_model, save_table
from store.runs.queue import finish
from tests.pages import sample

TEST_IMAGES = 2000


def tested(allocation, correct: int, seed: int, share: float) -> Point:
    """A point that names `correct` of 1,000 search images and this share of test images."""
    right = np.random.default_rng(seed).random(TEST_IMAGES) < share
    value = float(right.mean())
    test = Scores(TEST_IMAGES, 0.1, value, value, 0.3)
    plain = sample.point(allocation, correct)
    return replace(plain, test=test, test_right=np.packbits(right).tobytes())


def add(store: Store, search: str, correct: int, count: int, **changes) -> int:
    """A finished run of `count` points around `correct` right answers; every fifth is reported.

    The last one, of 8 bits everywhere as the ladder's, is too: methods meet at that budget.
    """
    seed = changes.get("seed", 0)
    drawn = sample.allocations(count, seed=seed + 10 * len(search), activations=(4, 8))
    drawn[-1] = sample.uniform(8, 4)
    points = [
        tested(allocation, correct + at, at, correct / 1000)
        if at % 5 == 0 or at == count - 1
        else sample.point(allocation, correct + at)
        for at, allocation in enumerate(drawn)
    ]
    held = sample.add_run(store, search, points, **changes)
    finish(store, *held, "done")
    return held[0]


def fill(store: Store) -> None:
    """Run 1: uniform bits. 2, 3: portfolio, seeds 0 and 1. 4: random, 30 evaluations."""
    float_point = Point(
        sample.uniform(32, 32), sample.FLOAT, Scores(TEST_IMAGES, 0.0, 1.0, 0.92, 0.2)
    )
    save_model(store, sample.MODEL, "fashion-mnist", float_point)
    save_table(store, "kl/test", sample.MODEL.digest, sample.table(activations=(4, 8)))
    ladder = [tested(sample.uniform(b, 8), 700 + 20 * b, b, 0.75) for b in (2, 3, 4, 8)]
    finish(store, *sample.add_run(store, "uniform", ladder, activation_bits=(4, 8)), "done")
    add(store, "portfolio", 860, 20, seed=0, activation_bits=(4, 8))
    add(store, "portfolio", 870, 12, seed=1, activation_bits=(4, 8))
    add(store, "random", 760, 30, seed=0, activation_bits=(4, 8))
