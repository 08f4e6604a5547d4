"""The smallest that is shown to lose at most so much: against brute force, and its promise."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pages.shared import promised, session
from pages.shared.columns import (
    OBJECTIVE,
    TEST_DIVERGENCE,
    TEST_DIVERGENCE_ERROR,
    TEST_GAINED,
    TEST_LOST,
    TEST_N,
    column_of,
)
from qcore.costs import COSTS
from qcore.errors import InvalidParams
from qcore.paired import loss_bounds, shared_level
from qcore.problem import Scores
from store import all_runs, open_store
from store.jobs import pick
from store.runs.queue import finish
from tests.pages import sample

BYTES, OPS = (column_of(COSTS[name]) for name in ("weight_bytes", "bit_ops"))


def frame(seed, count=40, methods=("A", "B")):
    """Points of which half were tested; the dearer diverge less, mostly."""
    rng = np.random.default_rng(seed)
    costs = rng.integers(100, 200, count)
    tested = rng.random(count) < 0.5
    lost = rng.integers(0, 300, count).astype(float)
    return pd.DataFrame(
        {
            "method": [methods[at % len(methods)] for at in range(count)],
            OBJECTIVE: 1 / costs + rng.normal(0, 0.0005, count),
            BYTES: costs,
            OPS: rng.integers(100, 200, count),
            TEST_N: np.where(tested, 5000.0, np.nan),
            TEST_LOST: np.where(tested, lost, np.nan),
            TEST_GAINED: np.where(tested, 100.0, np.nan),
            TEST_DIVERGENCE: np.where(tested, 2 / costs, np.nan),
            TEST_DIVERGENCE_ERROR: np.where(tested, 0.001, np.nan),
        }
    )


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("limits", [{}, {"bit_ops": 150.0}])
def test_the_pick_is_the_last_before_the_first_that_fails(seed, limits):
    """Walked down by hand: each method's tested front, until the first bound above the loss."""
    table, level = frame(seed), shared_level(2)
    for within in (0.5, 2.0, 4.0):
        found = promised.smallest(table, within, "weight_bytes", limits)
        chosen = dict(zip(found["method"], found[BYTES], strict=True))
        for method in ("A", "B"):
            rows = table[(table["method"] == method) & table[TEST_N].notna()]
            best, wanted = np.inf, None
            members = []
            for _, row in rows.sort_values([BYTES, OBJECTIVE]).iterrows():
                if row[OBJECTIVE] < best:
                    best = row[OBJECTIVE]
                    members.append(row)
            for row in reversed(members):
                bound = loss_bounds([row[TEST_N]], [row[TEST_LOST]], [row[TEST_GAINED]], level)[0]
                if bound > within:
                    break
                if row[OPS] <= limits.get("bit_ops", np.inf):
                    wanted = row[BYTES]
            assert chosen.get(method) == wanted


def test_more_loss_never_gives_a_larger_pick_and_more_methods_never_a_smaller_one():
    table = frame(3)
    sizes = []
    for within in np.linspace(0, 6, 25):
        found = promised.smallest(table, float(within), "weight_bytes")
        sizes.append(dict(zip(found["method"], found[BYTES], strict=True)))
    for method in ("A", "B"):
        known = [size[method] for size in sizes if method in size]
        assert known == sorted(known, reverse=True)
    found = 0
    for within in np.linspace(0, 6, 25):
        alone = promised.smallest(table[table["method"] == "A"], float(within), "weight_bytes")
        among = promised.smallest(table, float(within), "weight_bytes")
        among = among[among["method"] == "A"]
        found += len(among)
        if len(among):
            assert among[BYTES].iloc[0] >= alone[BYTES].iloc[0]
    assert found


def test_nats_are_promised_with_their_own_error():
    table = frame(5)
    found = promised.smallest(table, 0.02, "weight_bytes", unit="nats")
    assert (found[TEST_DIVERGENCE] + 1.96 * found[TEST_DIVERGENCE_ERROR] <= 0.02 + 1e-6).all()
    assert promised.smallest(table, 0.0, "weight_bytes", unit="nats").empty


def test_untested_points_promise_nothing():
    table = frame(1)
    table[[TEST_N, TEST_LOST, TEST_GAINED]] = np.nan
    assert promised.smallest(table, 100.0, "weight_bytes").empty


def test_the_command_line_names_what_the_pages_show(tmp_path):
    store = open_store(str(tmp_path / "bitdial.db"))
    sample.fill(store)
    for search, step in (("exact", 0.003), ("greedy", 0.001)):
        points = [
            replace(
                sample.point(allocation, 900 + at),
                test=Scores(10_000, 0.01, 0.99, 0.92 - step * (5 - at), 0.3, kl_error=0.001),
            )
            for at, allocation in enumerate(sample.allocations(6, seed=len(search)))
        ]
        finish(store, *sample.add_run(store, search, points), "done")
    frame = session.frame(store, all_runs(store), sample.MODEL)
    runs = pick.comparable(store, "resnet8")
    seen = 0
    for within, unit in ((0.3, "points"), (1.0, "points"), (2.0, "points"), (0.02, "nats")):
        for limits in ({}, {"bit_ops": float(frame[OPS].median())}):
            shown = promised.smallest(frame, within, "weight_bytes", limits, unit=unit)
            named = pick.smallest(store, runs, within, unit=unit, limits=limits)
            assert {p.method: p.cost for p in named} == dict(
                zip(shown["method"], shown[BYTES], strict=True)
            )
            assert [p.cost for p in named] == sorted(p.cost for p in named)
            assert all(p.bound <= within for p in named)
            seen += len(named)
    assert seen
    for wrong in ({"within": -1.0}, {"within": float("nan")}, {"within": 1.0, "cost": "feet"}):
        with pytest.raises(InvalidParams):
            pick.smallest(store, runs, **wrong)
    with pytest.raises(InvalidParams, match="no runs of resnet20"):
        pick.comparable(store, "resnet20")
