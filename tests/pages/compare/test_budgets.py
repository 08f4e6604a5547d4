import pytest

from pages.compare.budgets import MOST_PROPOSED, default_budgets, read_budgets, write_budgets
from pages.compare.methods import run_rows
from pages.shared import frames
from pages.shared.columns import column_of
from pages.shared.ranges import uniform_bits
from qcore.costs import COSTS
from qcore.errors import InvalidParams
from tests.pages import sample

COST = COSTS["weight_bytes"]
COLUMN = column_of(COST)


def ladder_of(allocations):
    run = sample.run_of(1, "uniform")
    drawn = [
        sample.stored(at, 1, sample.point(a, 700 + at)) for at, a in enumerate(allocations, start=1)
    ]
    return run_rows(drawn, run, sample.MODEL)


@pytest.mark.parametrize("pin", [None, 8])
def test_budgets_are_the_exact_costs_of_the_ladder_that_was_measured(pin):
    uniform = [uniform_bits(sample.MODEL, bits, 8, pin) for bits in (2, 3, 4, 8)]
    ladder = ladder_of(uniform)
    budgets = default_budgets(sample.MODEL, COST, 8, ladder)
    assert budgets == sorted(ladder[COLUMN])
    # the same without points, as the runs would have them
    assert budgets == default_budgets(sample.MODEL, COST, 8, pin=pin)


@pytest.mark.parametrize("cost", ["weight_bytes", "bit_ops", "activation_bytes_sum"])
def test_every_budget_admits_the_uniform_point_it_is_named_after(cost):
    uniform = [uniform_bits(sample.MODEL, bits, bits, 8) for bits in (2, 3, 4, 8)]
    ladder = ladder_of(uniform)
    budgets = default_budgets(sample.MODEL, COSTS[cost], 8, ladder)
    words, _ = write_budgets(COSTS[cost], budgets)
    read = read_budgets(words, COSTS[cost], budgets)
    assert read == budgets
    costs = set(ladder[column_of(COSTS[cost])])
    assert set(read) <= costs
    assert {min(costs), max(costs)} <= set(read)


def test_a_ladder_of_many_pairs_proposes_a_few_of_its_front():
    uniform = [sample.uniform(w, a) for w in (2, 3, 4, 8) for a in (2, 3, 4, 8)]
    ladder = ladder_of(uniform)
    cost = COSTS["bit_ops"]
    budgets = default_budgets(sample.MODEL, cost, 8, ladder)
    assert len(budgets) == MOST_PROPOSED
    assert set(budgets) <= set(frames.front_of(ladder, cost)[column_of(cost)])
    # of one size each, however many activation bits there are
    assert len(default_budgets(sample.MODEL, COST, 8, ladder)) == 4


def test_what_is_typed_otherwise_is_taken_as_it_is():
    exact = default_budgets(sample.MODEL, COST, 8)
    words, unit = write_budgets(COST, exact)
    assert unit == "KiB"
    first = words.split(",")[0]
    assert read_budgets(f"{first}, 50", COST, exact) == [exact[0], 50 * 1024]


def test_budgets_may_have_units_and_be_shares_of_the_network():
    exact = default_budgets(sample.MODEL, COST, 8)
    eight, float_ = (COST.total(sample.MODEL, sample.uniform(bits)) for bits in (8, 32))
    weights = sum(layer.weights for layer in sample.MODEL.layers)
    found = read_budgets(
        "30 kB, 3.5 bits, 40 % of 8 bits, 16x smaller, 50 KiB", COST, exact, sample.MODEL
    )
    limits = [30_000, weights * 7 // 16, eight * 2 // 5, float_ // 16, 50 * 1024]
    assert found == sorted(limits)


@pytest.mark.parametrize("text", ["3,5 kB", "10,20 kB", "40,000 B"])
def test_a_comma_that_may_be_a_decimal_one_is_refused_in_words(text):
    with pytest.raises(InvalidParams, match="a comma and a space, and decimals have a point"):
        read_budgets(text, COST, [40_000.0])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ten",
        "10-20 kB",
        "20 bit-ops",
        "40 %",
        "0",
        "-3",
        "nan",
        "inf",
        "1,2,3,4,5,6,7,8,9",
        "1;2",
    ],
)
def test_budgets_that_are_none_are_refused_in_words(text):
    with pytest.raises(InvalidParams, match="KiB"):
        read_budgets(text, COST, [40_000.0])
