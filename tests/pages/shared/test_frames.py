import pandas as pd
import pytest

from pages.searches.run_table import runs_frame
from pages.shared import frames
from pages.shared.columns import (
    OBJECTIVE,
    POINT_COLUMNS,
    SEARCH_HIGH,
    SEARCH_LOW,
    SEARCH_N,
    SEARCH_SCORE,
    SMALLER,
    TEST_SCORE,
    column_of,
)
from pages.shared.points_table import points_frame
from qcore.costs import COSTS, applicable, costs_of
from qcore.front import best_within
from tests.pages import sample

RUNS = {1: sample.run_of(1, "uniform"), 2: sample.run_of(2, "exact")}


def measured(count=12):
    ladder = [
        sample.stored(bits, 1, sample.point(sample.uniform(bits), 700 + 20 * bits), bits == 4)
        for bits in (2, 3, 4, 8)
    ]
    mixed = [
        sample.stored(20 + at, 2, sample.point(allocation, 800 + 7 * (at % 5), at % 3 == 0))
        for at, allocation in enumerate(sample.allocations(count))
    ]
    return [*ladder, *mixed]


def test_every_number_says_its_unit():
    for cost in COSTS.values():
        assert column_of(cost).endswith((", B", ", µbit", ", bit-ops", ", pJ", ", cycles"))
    for column in (SEARCH_SCORE, TEST_SCORE, SEARCH_LOW):
        assert column.endswith("%")


def test_costs_in_the_table_are_those_of_the_allocation():
    frame = points_frame(measured(), RUNS, sample.MODEL)
    for row in frame.to_dict("records"):
        for name, value in costs_of(sample.MODEL, row["allocation"]).items():
            assert row[column_of(COSTS[name])] == value


def test_scores_are_in_percent_with_their_interval():
    frame = points_frame(measured(), RUNS, sample.MODEL)
    first = frame.iloc[0]
    assert first["method"] == "Uniform bits"
    assert first[SEARCH_SCORE] == pytest.approx(74.0)
    assert first[SEARCH_LOW] < 74.0 < first[SEARCH_HIGH]
    assert first[SEARCH_N] == 1000
    assert pd.isna(first[TEST_SCORE])


def test_methods_that_found_the_same_bits_share_test_scores_and_files():
    same = sample.uniform(4)
    points = [
        sample.stored(1, 1, sample.point(same, 900, tested=True), has_config=True),
        sample.stored(2, 2, sample.point(same, 900)),
    ]
    frame = points_frame(points, RUNS, sample.MODEL)
    assert frame["config_point"].tolist() == [1, 1]
    assert frame[TEST_SCORE].tolist() == pytest.approx([89.0, 89.0])


def test_tuned_weights_are_a_method_of_their_own():
    points = [
        sample.stored(1, 2, sample.point(sample.uniform(4), 900)),
        sample.stored(2, 2, sample.point(sample.uniform(4), 910, stage="ptq+tuned"), True),
    ]
    frame = points_frame(points, RUNS, sample.MODEL)
    assert frame["method"].tolist() == ["Exact front", "Exact front, tuned"]
    assert frame["config_point"].tolist() == [-1, 2]


def test_all_stages_of_a_search_that_trains_are_one_method():
    points = [
        sample.stored(1, 2, sample.point(sample.uniform(4), 900, stage="pretraining")),
        sample.stored(2, 2, sample.point(sample.uniform(4), 910, stage="final")),
    ]
    frame = points_frame(points, RUNS, sample.MODEL)
    assert frame["method"].tolist() == ["Exact front"] * 2
    assert frame["stage"].tolist() == ["pretraining", "final"]


def test_points_of_another_model_are_left_out():
    other = sample.uniform(4)
    foreign = type(other)({f"x.{name}": bits for name, bits in other.items()})
    points = [sample.stored(1, 1, sample.point(foreign, 900))]
    frame = points_frame(points, RUNS, sample.MODEL)
    assert frame.empty
    priced = [column_of(COSTS[name]) for name in applicable(sample.MODEL)]
    assert list(frame.columns) == [*POINT_COLUMNS, *priced]


@pytest.mark.parametrize("limits", [{}, {"weight_bytes": 30_000}, {"bit_ops": 1.2e9}])
def test_each_method_shows_the_pick_of_the_one_rule(limits):
    frame = points_frame(measured(), RUNS, sample.MODEL)
    chosen = frames.picks(frame, limits)
    for method, rows in frame.groupby("method"):
        costs = {name: rows[column_of(cost)].tolist() for name, cost in COSTS.items()}
        best = best_within(costs, rows[OBJECTIVE].tolist(), limits)
        assert chosen[chosen["method"] == method]["point"].tolist() == [rows["point"].iloc[best]]


def test_nothing_is_picked_below_the_smallest():
    frame = points_frame(measured(), RUNS, sample.MODEL)
    assert frames.picks(frame, {"weight_bytes": 10}).empty


def test_a_front_rises_in_cost_and_falls_in_divergence():
    frame = points_frame(measured(60), RUNS, sample.MODEL)
    front = frames.front_of(frame, COSTS["weight_bytes"])
    assert front[column_of(COSTS["weight_bytes"])].is_monotonic_increasing
    assert front[OBJECTIVE].is_monotonic_decreasing
    assert len(front) > 1


def test_a_long_table_is_thinned_to_the_same_rows_each_time():
    frame = pd.DataFrame({"x": range(20_000)})
    once, twice = frames.thin(frame), frames.thin(frame)
    assert len(once) == 5000
    assert once["x"].tolist() == twice["x"].tolist()
    assert frames.thin(frame.head(10))["x"].tolist() == list(range(10))


def test_bits_are_listed_for_weights_and_activations_of_every_layer():
    frame = points_frame(measured(), RUNS, sample.MODEL)
    bits = frames.bits_frame(frames.picks(frame, {}), sample.MODEL)
    assert len(bits) == 2 * 2 * len(sample.MODEL.layers)
    ladder = bits[(bits["method"] == "Uniform bits") & (bits["part"] == "weights")]
    assert ladder["layer"].tolist() == list(sample.MODEL.names)
    assert set(ladder["bits"]) == {8}
    assert ladder["Bytes, B"].sum() == COSTS["weight_bytes"].total(sample.MODEL, sample.uniform(8))


def test_the_table_says_on_which_images_an_accuracy_was_measured():
    points = [
        sample.stored(1, 1, sample.point(sample.uniform(8), 900)),
        sample.stored(2, 2, sample.point(sample.uniform(4), 900, tested=True)),
    ]
    frame = points_frame(points, RUNS, sample.MODEL)
    table = frames.picks_table(frames.picks(frame, {}))
    search = table["Accuracy, search split, %"].tolist()
    assert search == ["90.00 (88.0 to 91.7)", "90.00 (88.0 to 91.7)"]
    assert table["Accuracy, test split, %"].tolist() == ["", "89.00 (88.4 to 89.6)"]
    words = frames.splits_words(frames.picks(frame, {}))
    assert "1,000 images" in words
    assert "10,000 images" in words
    assert "cells of others are empty" in words
    assert table["Weights, KiB"].tolist() == [75.27, 37.63]
    told = frames.picks_table(frames.picks(frame, {}), model=sample.MODEL)
    assert told[SMALLER].tolist() == [
        "4.0x smaller than float, as large as 8 bits",
        "8.0x smaller than float, 2.0x than 8 bits",
    ]


def test_a_run_gets_better_only_within_its_budget():
    run = sample.run_of(1, "uniform", limits={"weight_bytes": 30_000})
    points = [
        sample.stored(1, 1, sample.point(sample.uniform(8), 950)),
        sample.stored(2, 1, sample.point(sample.uniform(2), 700)),
        sample.stored(3, 1, sample.point(sample.uniform(3), 800)),
    ]
    history = frames.history_frame(points, run, sample.MODEL)
    assert history["Within budget"].tolist() == [False, True, True]
    assert history["Best so far, %"].tolist()[1:] == [70.0, 80.0]
    assert pd.isna(history["Best so far, %"].iloc[0])
    best = frames.best_scores(points, run, sample.MODEL)
    assert best is not None
    assert best.headline == 0.8


def test_runs_are_listed_with_their_best_and_its_interval():
    run = sample.run_of(7, "exact", "running", limits={"weight_bytes": 30_000})
    best = sample.point(sample.uniform(3), 800).search
    row = runs_frame([run], {7: best}).iloc[0]
    assert row["State"] == "running"
    assert row["Progress, %"] == 75.0
    assert row["Best within budget, %"] == 80.0
    assert row["95 % interval, %"] == "77.4 to 82.4"
    assert row["Budget"] == "Weights at most 29.3 KiB"
    empty = runs_frame([run], {7: None}).iloc[0]
    assert empty["95 % interval, %"] == ""
