"""Locks, widths and ties in the explorer: their arithmetic, gestures, keys and words."""

import random

import pytest

from benchmarks.dashboard import bare
from pages.shared import predictions
from pages.shared.columns import DAMAGE, column_of
from pages.shared.held import held_of
from qcore.costs import COSTS
from tests import held

pytestmark = [
    pytest.mark.e2e,
    # Playwright's event loop is closed by its own driver
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

LIMITED = [("weight_bytes",), ("bit_ops",), ("weight_bytes", "bit_ops"), ()]
SOLVE = """([data, limits, rules]) => {
    const { proxy, layers } = code.decode(data);
    const set = code.heldOf(rules, layers, code.widthsOf(proxy));
    const found = code.solve(proxy, limits, code.problemOf(proxy, set));
    return found && { score: found.score, gap: found.gap, cost: found.cost,
        w: [...found.choice].map(at => proxy.w[at]), a: [...found.choice].map(at => proxy.a[at]) };
}"""
LINE = """([data, rules, name]) => {
    const { proxy, layers } = code.decode(data);
    const set = code.heldOf(rules, layers, code.widthsOf(proxy));
    return code.lineOf(proxy, code.problemOf(proxy, set), name);
}"""


@pytest.mark.parametrize("seed", range(12))
def test_what_is_set_is_solved_exactly_as_by_trying_everything_and_as_in_python(page, seed):
    bare.load(page)
    rng = random.Random(seed)
    model = bare.network([f"block.{at}" for at in range(3 + seed % 2)], seed)
    table = bare.table_of(model, seed)
    data = bare.predicted(model, table)
    for trial in range(4):
        rules = held.rules_of(list(model.names), rng)
        every = held.every(model, table, rules)
        limits = held.limits_of(LIMITED[(seed + trial) % 4], every, rng)
        wanted = held.least(every, limits)
        found = page.evaluate(SOLVE, [data, list(limits.items()), rules])
        pick = predictions.predicted_pick("x", table, model, limits, held=held_of(rules, model))
        if wanted is None:
            assert found is None
            assert pick.empty
            continue
        assert found["score"] == pytest.approx(wanted)
        assert found["gap"] == 0
        assert pick.iloc[0][DAMAGE] == pytest.approx(wanted)
        bits = dict(zip(model.names, zip(found["w"], found["a"], strict=True), strict=True))
        shaped = {name: held.LayerBits(*pair) for name, pair in bits.items()}
        assert held.admits(rules, shaped)
        assert held.admits(rules, pick.iloc[0]["allocation"])
        for name, limit in limits.items():
            assert found["cost"][name] <= limit
            assert pick.iloc[0][column_of(COSTS[name])] <= limit


def test_the_line_that_is_drawn_is_on_the_front_of_what_is_allowed(page):
    bare.load(page)
    model = bare.network(["a", "b.c", "d"], 2)
    table = bare.table_of(model, 2)
    data = bare.predicted(model, table)
    rules = [
        {"tie": ["a", "d"], "part": "weight"},
        {"tie": ["a", "b.c", "d"], "part": "activation"},
        {"pattern": "d", "part": "weight", "allow": [3, 4, 8]},
    ]
    every = held.every(model, table, rules)
    for name in ("weight_bytes", "bit_ops"):
        line = page.evaluate(LINE, [data, rules, name])
        assert len(line["costs"]) > 4
        for cost, damage in zip(line["costs"], line["damages"], strict=True):
            assert damage == pytest.approx(held.least(every, {name: cost}))
        # both ends are there: the cheapest and the best
        assert line["costs"][0] == min(costs[name] for costs, _ in every)
        assert min(line["damages"]) == pytest.approx(min(damage for _, damage in every))
