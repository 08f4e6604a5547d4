"""The table of a paper: test scores, activation bits, differences, in the digits that are known."""

import numpy as np
import pytest

from pages.compare import chance, paper_table
from pages.compare.bootstrap import paired_bootstrap
from pages.compare.methods import methods_of, run_rows
from pages.shared.columns import ACTIVATION_BITS
from qcore.costs import COSTS
from qcore.problem import wilson_interval
from qcore.seeds import compare_methods, seed_spread
from tests.pages import compare_sample, sample

COST = COSTS["weight_bytes"]
BUDGETS = (29_000.0, 39_000.0)


@pytest.fixture(scope="module")
def found():
    """Uniform bits, two seeds of portfolio, dq; all tested, with answers for every point."""
    runs = [
        sample.run_of(1, "uniform"),
        sample.run_of(2, "portfolio", seed=0),
        sample.run_of(3, "portfolio", seed=1),
        sample.run_of(4, "dq"),
    ]
    rows, answers = {}, {}
    for run in runs:
        bits = [sample.uniform(bits, 8) for bits in (2, 3, 4)]
        points = [
            compare_sample.tested(one, 800 + at, 10 * run.id + at, 0.8 + 0.02 * run.id)
            for at, one in enumerate(bits)
        ]
        stored = [sample.stored(10 * run.id + at, run.id, one) for at, one in enumerate(points)]
        rows[run.id] = run_rows(stored, run, sample.MODEL, aim="loss")
        for one in stored:
            packed = np.frombuffer(one.point.test_right, np.uint8)
            right = np.unpackbits(packed, count=compare_sample.TEST_IMAGES)
            answers[one.id] = right.astype(bool)
    return methods_of(runs, rows), answers


def read(answers):
    return lambda points: {point: answers[point] for point in points if point in answers}


def test_rows_hold_what_was_measured(found):
    methods, answers = found
    table = paper_table.paper_table(methods, "Uniform bits", COST, BUDGETS, read(answers))
    assert len(table) == len(BUDGETS) * len(methods)
    assert set(table[ACTIVATION_BITS]) == {8.0}
    assert table.set_index("Method").loc["DQ (learned bits)", "Weights trained"].eq("yes").all()
    for method in methods:
        mine = table[table["Method"] == method.label]
        for budget, row in zip(BUDGETS, mine.to_dict("records"), strict=True):
            picks = chance.side_of(method, COST, budget).points
            share = np.mean([answers[point].mean() for point in picks])
            low, high = wilson_interval(share, compare_sample.TEST_IMAGES)
            digits = paper_table.digits_of(50 * (high - low))
            assert row["Test accuracy, %"] == pytest.approx(100 * share, abs=0.51 * 10**-digits)
            if method.label == "Uniform bits":
                assert np.isnan(row["Difference, points"])
                continue
            base = chance.side_of(methods[0], COST, budget).points
            sides = [answers[p] for p in base], [answers[p] for p in picks]
            # the two seeds of portfolio say how far seeds move; uniform bits have none
            both = [chance.side_of(methods[1], COST, budget).points]
            pool = seed_spread([[answers[p] for p in points] for points in both])
            expected = compare_methods(*sides, pool, (False, True))
            low, high = expected.interval()
            digits = 0.51 * 10 ** -paper_table.digits_of((high - low) / 2)
            assert row["Difference, points"] == pytest.approx(expected.points, abs=digits)
            assert row["Difference, points, 95 % low"] == pytest.approx(low, abs=digits)
            assert row["Interval over"] == "images and seeds"


def test_without_several_seeds_the_interval_is_that_of_two_networks(found):
    methods, answers = found
    alone = [method for method in methods if len(method.trials) == 1]
    table = paper_table.paper_table(alone, "Uniform bits", COST, BUDGETS[:1], read(answers))
    row = table.set_index("Method").loc["DQ (learned bits)"]
    base, picks = (chance.side_of(m, COST, BUDGETS[0]).points for m in alone)
    expected = paired_bootstrap([answers[p] for p in base], [answers[p] for p in picks])
    assert row["Difference, points, 95 % low"] == pytest.approx(expected.low, abs=0.051)
    assert row["Interval over"] == "images"


def test_answers_that_were_not_kept_leave_the_difference_empty(found):
    methods, _ = found
    table = paper_table.paper_table(methods, "Uniform bits", COST, BUDGETS, lambda points: {})
    assert table["Difference, points"].isna().all()
    printed = paper_table.printed(table)
    assert set(printed["Difference, points"]) == {""}
    assert printed["Test accuracy, %"].str.contains(" to ").all()


def test_a_budget_that_nothing_fits_has_no_row(found):
    methods, answers = found
    assert paper_table.paper_table(methods, "Uniform bits", COST, (10.0,), read(answers)).empty


@pytest.mark.parametrize("half", [0.0013, 0.02, 0.53, 1.94, 9.94, 12.0, 99.0])
def test_figures_have_two_digits_of_the_half_width(half):
    digits = paper_table.digits_of(half)
    if 0 < digits < 4:
        assert 10 <= round(half * 10**digits) <= 100
    assert digits in range(5)
