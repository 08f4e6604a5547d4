import random

import pandas as pd
import pytest

from pages.explore.payload import picks
from pages.shared import frames
from pages.shared.columns import OBJECTIVE, column_of
from qcore.costs import COSTS

NAMES = ("weight_bytes", "bit_ops")


def made_up(count, seed, methods=("A", "B")):
    """Few distinct values, so that there are ties of every kind."""
    rng = random.Random(seed)
    rows = [
        {
            "method": methods[at * len(methods) // count],
            "point": at,
            OBJECTIVE: float(rng.randrange(12)),
            **{column_of(COSTS[name]): rng.randrange(10) for name in NAMES},
        }
        for at in range(count)
    ]
    return pd.DataFrame(rows)


def limits_of(rng):
    names = [name for name in NAMES if rng.random() < 0.7]
    return {name: rng.choice([*range(1, 10), 4.5]) for name in names}


@pytest.mark.parametrize("seed", range(6))
def test_picking_from_the_selectable_points_is_picking_from_all(seed):
    frame = made_up(80, seed)
    rows = picks.drawn(frame, NAMES)
    rng = random.Random(seed)
    for _ in range(60):
        limits = limits_of(rng)
        wanted = frames.picks(frame, limits)
        assert frames.picks(rows[rows["selectable"]], limits)["point"].tolist() == (
            wanted["point"].tolist()
        )


@pytest.mark.parametrize("seed", range(4))
def test_every_selectable_point_is_the_pick_of_some_budget(seed):
    frame = made_up(60, seed, methods=("A",))
    places = [0.5, *range(10)]
    picked = set()
    for weights in (None, *places):
        for compute in (None, *places):
            asked = {"weight_bytes": weights, "bit_ops": compute}
            limits = {name: limit for name, limit in asked.items() if limit is not None}
            picked |= set(frames.picks(frame, limits)["point"])
    # a limit of 0 is below every slider, yet costs of 0 occur here
    assert set(frame["point"].iloc[picks.selectable(frame, NAMES)]) == picked


def test_all_rows_are_drawn_where_there_are_few():
    frame = made_up(50, 1)
    rows = picks.drawn(frame, NAMES)
    assert rows["point"].tolist() == frame["point"].tolist()


def test_more_rows_are_thinned_but_never_those_that_can_be_picked():
    frame = made_up(400, 2)
    rows = picks.drawn(frame, NAMES, all_of=50)
    assert len(rows) == 50
    chosen = [
        point
        for _, part in frame.groupby("method", sort=False)
        for point in part["point"].iloc[picks.selectable(part, NAMES)]
    ]
    assert rows.loc[rows["selectable"], "point"].tolist() == chosen


def test_a_spread_keeps_both_ends_and_its_size():
    costs = [float(at) for at in range(100)]
    kept = picks.spread(range(100), costs, 7)
    assert len(kept) == 7
    assert {kept[0], kept[-1]} == {0, 99}
    assert picks.spread([5, 3], costs, 7) == [3, 5]
