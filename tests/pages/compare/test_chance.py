"""What is told apart on the same test images, and how often that is chance."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from pages.compare.bootstrap import paired_bootstrap
from pages.compare.chance import NEAR, ONE_SEED, Contest, judged, paired_table, side_of
from pages.compare.methods import methods_of, run_rows
from pages.shared.columns import OBJECTIVE, TEST_SCORE, TRAINED, column_of
from qcore.costs import COSTS
from qcore.errors import InvalidData
from qcore.paired import compare, holm
from qcore.seeds import compare_methods, seed_spread
from tests.pages import sample

COST = COSTS["weight_bytes"]
COLUMN = column_of(COST)
IMAGES = 500


def method_of(numbers, search, allocations, **changes):
    """A method with one run per number; each has these points, all of them tested."""
    runs = [sample.run_of(n, search, seed=n, **changes) for n in numbers]
    rows = {
        run.id: run_rows(
            [
                sample.stored(100 * run.id + at, run.id, sample.point(a, 700 + 20 * at, True))
                for at, a in enumerate(allocations)
            ],
            run,
            sample.MODEL,
        )
        for run in runs
    }
    return methods_of(runs, rows)


LADDER = [sample.uniform(bits) for bits in (2, 3, 4, 8)]
COSTS_OF_LADDER = [float(COST.total(sample.MODEL, each)) for each in LADDER]


@pytest.fixture(scope="module")
def found():
    """Uniform bits; two seeds of portfolio and random on the same allocations."""
    return [
        *method_of([1], "uniform", LADDER),
        *method_of([2, 3], "portfolio", LADDER),
        *method_of([4], "random", LADDER),
    ]


def answers(points):
    """Run 1 names half of the images right, each run after it 15 % more."""
    rng = np.random.default_rng(0)
    drawn = rng.random(IMAGES)
    return {point: drawn < 0.35 + 0.15 * (point // 100) for point in points}


def test_every_method_is_held_against_the_baseline(found):
    budgets = COSTS_OF_LADDER[1:3]
    table = paired_table(found, "Uniform bits", COST, budgets, answers)
    assert table["Method"].tolist() == ["Portfolio"] * 2 + ["Random"] * 2
    a, b = (side_of(method, COST, budgets[1]).points for method in found[:2])
    assert (len(a), len(b)) == (1, 2)
    read = answers([*a, *b])
    sides = [read[p] for p in a], [read[p] for p in b]
    # uniform bits are the same with every seed; the two of portfolio tell how far seeds move
    pool = seed_spread([sides[1]])
    expected = compare_methods(*sides, pool, (False, True))
    (row,) = paired_table(found[:2], "Uniform bits", COST, budgets[1:], answers).to_dict("records")
    assert row["Difference, points"] == pytest.approx(expected.points, abs=0.01)
    assert row["Test images"] == IMAGES
    assert row["p, corrected"] == f"{expected.p_value:.3f}"
    assert row["In words"] == "cannot be told apart"
    assert row["Seeds"] == "2 and 1"
    assert row["Seed to seed, points"] == f"{pool.points:.2f}"
    assert row["Uses"] == row["Baseline uses"] != ""
    assert row["Activations, mean bits"] == "float"


def test_points_are_chosen_on_the_search_split_among_those_that_were_tested(found):
    for method, budget in itertools.product(found, COSTS_OF_LADDER):
        side = side_of(method, COST, budget)
        for trial, point in zip(method.trials, side.points, strict=True):
            rows = trial.rows[trial.rows[TEST_SCORE].notna() & (trial.rows[COLUMN] <= budget)]
            assert point == rows.loc[rows[OBJECTIVE].idxmin(), "point"]


def test_a_difference_of_sizes_is_not_called_one_of_methods(found):
    within, beyond = (COSTS_OF_LADDER[1] / (1 - NEAR * share) for share in (0.99, 1.01))
    table = paired_table(found[:2], "Uniform bits", COST, [within, beyond], answers)
    assert table["Difference, points"].notna().tolist() == [True, False]
    assert "% below the budget" in table["In words"].iloc[1]
    # what both use is said all the same
    assert table["Uses"].notna().all()


def test_what_cannot_be_paired_says_why(found):
    budgets = [100.0, COSTS_OF_LADDER[1]]
    table = paired_table(found[:2], "Portfolio", COST, budgets, lambda points: {})
    words = table["In words"].tolist()
    assert "not every run has a tested point here" in words[0]
    assert "measure again" in words[1]
    assert table["Difference, points"].isna().all()


def test_words_say_what_else_differs_than_weight_bits():
    plain = method_of([1], "uniform", [sample.uniform(bits, 8) for bits in (2, 3, 4, 8)])
    fewer = method_of([2], "spnets", [sample.uniform(bits, 2) for bits in (2, 3, 4, 8)])
    (method,) = fewer
    (trial,) = method.trials
    trials = (replace(trial, rows=trial.rows.assign(**{TRAINED: True})),)
    trained = [replace(method, trials=trials, reference=False)]
    budgets = COSTS_OF_LADDER[:1]
    table = paired_table([*plain, *trained], "Uniform bits", COST, budgets, answers)
    assert table["In words"].tolist() == [f"{ONE_SEED}; that of SP-Nets (trained) is more accurate"]
    assert table["Activations, mean bits"].tolist() == ["2"]
    assert table["Baseline activations, mean bits"].tolist() == ["8"]
    worse = paired_table(
        [*plain, *trained],
        "Uniform bits",
        COST,
        budgets,
        lambda points: {p: ~right for p, right in answers(points).items()},
    )
    assert worse["In words"].tolist() == [
        f"{ONE_SEED}; that of Uniform bits (activations of 8 bits) is more accurate"
    ]


def test_without_a_method_of_two_seeds_only_networks_are_compared(found):
    """Random depends on its seed and has one; the exact front finds the same with every seed."""
    exact = method_of([3], "exact", LADDER)
    table = paired_table(
        [found[0], found[2], *exact], "Uniform bits", COST, COSTS_OF_LADDER[:1], answers
    )
    told = table.set_index("Method")
    assert told.loc["Random", "In words"] == f"{ONE_SEED}; that of Random is more accurate"
    assert told.loc["Random", "Seed to seed, points"] == "not known"
    assert told.loc["Exact front", "In words"] == "Exact front is more accurate"
    assert told.loc["Exact front", "Seed to seed, points"] == "no part"
    networks = [answers([100, 300, 400])[p] for p in (100, 400, 300)]
    raw = [compare(networks[0], each).p_value for each in networks[1:]]
    assert max(holm(raw)) < 0.001


def test_methods_whose_seeds_are_as_far_apart_as_they_are_not_told_apart(found):
    """Two networks differ beyond doubt; the seeds of a third method say what that is worth."""
    rng = np.random.default_rng(5)
    drawn = rng.random(IMAGES)
    shares = {1: 0.5, 2: 0.5, 3: 0.7, 4: 0.66}

    def right(points):
        return {point: drawn < shares[point // 100] for point in points}

    others = [found[0], found[2]]
    alone = paired_table(others, "Uniform bits", COST, COSTS_OF_LADDER[:1], right)
    assert alone["In words"].tolist() == [f"{ONE_SEED}; that of Random is more accurate"]
    beside = paired_table(found, "Uniform bits", COST, COSTS_OF_LADDER[:1], right)
    told = beside.set_index("Method")
    assert told.loc["Random", "In words"] == "cannot be told apart"
    assert float(told.loc["Random", "Seed to seed, points"]) == pytest.approx(14, abs=1.5)
    assert told.loc["Random", "Seeds"] == "1 and 1"


def two_like(rng, n=2000, changed=0.04):
    """Answers of two networks that are equally good: they differ on some images, both ways."""
    base = rng.random(n) < 0.9
    return [np.where(rng.random(n) < changed / 2, ~base, base) for _ in range(2)]


@pytest.mark.parametrize(("seeds", "comparisons"), [(1, 1), (1, 8), (3, 4)])
def test_equal_methods_are_told_apart_in_at_most_one_table_of_twenty(seeds, comparisons):
    rng = np.random.default_rng(6)
    tables = 300 // comparisons
    wrong = 0
    for _ in range(tables):
        pairs = []
        for _ in range(comparisons):
            sides = [two_like(rng, 1000) for _ in range(seeds)]
            a, b = [a for a, _ in sides], [b for _, b in sides]
            pairs.append(Contest(a, b, seed_spread([a, b]), (True, True)))
        wrong += any(verdict.told_apart for verdict in judged(pairs))
    # three standard deviations above one in twenty
    assert wrong <= 0.05 * tables + 3 * (0.0475 * tables) ** 0.5


def test_a_difference_that_is_there_is_found():
    rng = np.random.default_rng(7)
    base = rng.random(5000) < 0.9
    worse = base & (rng.random(5000) > 0.02)
    (verdict,) = judged([Contest([worse], [base])])
    assert verdict.told_apart
    assert verdict.words("A", "B") == "B is more accurate"
    (turned,) = judged([Contest([base], [worse])])
    assert turned.words("A", "B") == "B is more accurate".replace("B", "A")
    (same,) = judged([Contest([base], [base])])
    assert (same.points, same.p, same.words("A", "B")) == (0, 1, "cannot be told apart")


def test_p_values_are_those_of_the_exact_test_corrected_and_intervals_widen_with_their_number():
    rng = np.random.default_rng(8)
    pairs = []
    for share in (0.0, 0.004, 0.01, 0.03):
        base = rng.random(3000) < 0.9
        pairs.append(Contest([base & (rng.random(3000) > share)], [base]))
    verdicts = judged(pairs)
    expected = holm([compare(pair.a[0], pair.b[0]).p_value for pair in pairs])
    assert [v.p for v in verdicts] == pytest.approx(expected)
    for pair, verdict in zip(pairs, verdicts, strict=True):
        alone = paired_bootstrap(pair.a, pair.b)
        assert verdict.points == alone.points
        assert verdict.high - verdict.low >= alone.high - alone.low - 1e-9


def test_sides_of_different_images_are_refused():
    with pytest.raises(InvalidData, match="same test images"):
        judged([Contest([np.ones(3, bool)], [np.ones(4, bool)])])
    assert judged([]) == []
