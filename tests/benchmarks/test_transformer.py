"""What the comparison on transformers rests on: its rule of thumb, its estimate, its intervals."""

import re
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from benchmarks.transformer import hand, shapley, table
from qcore.solvers.quadratic import form_value
from tests.helpers import toy_problem


def game(layers, seed):
    """A damage with pairs, as a function of the layers that are down, and its form."""
    rng = np.random.default_rng(seed)
    form = rng.normal(size=(layers, layers))
    form = form + form.T + np.diag(rng.uniform(3, 9, layers))

    def damage(down):
        at = np.array(sorted(down), int)
        return 1.5 + float(form[np.ix_(at, at)].sum())

    return damage, form


def test_contributions_of_an_order_sum_to_the_damage_of_all():
    damage, form = game(6, 0)
    orders = shapley.orders_of(6, 4, np.random.default_rng(0))
    assert (orders[1] == orders[0][::-1]).all()
    assert all(sorted(order) == list(range(6)) for order in orders)
    rows = shapley.contributions(damage, orders)
    assert rows.sum(1) == pytest.approx(form.sum())


def test_shapley_values_are_those_of_all_orders_and_forward_and_back_already_give_their_sum():
    """Of a damage with pairs alone an order and its reverse together have no error at all."""
    damage, form = game(5, 1)
    true = form.diagonal() + (form.sum(1) - form.diagonal())
    orders = shapley.orders_of(5, 2, np.random.default_rng(3))
    assert shapley.contributions(damage, orders).mean(0) == pytest.approx(true)


def test_enough_orders_give_the_very_pairs_and_few_draw_them_towards_nothing():
    damage, form = game(5, 2)
    rng = np.random.default_rng(0)
    orders = shapley.orders_of(5, 40, rng)
    rows = shapley.contributions(damage, orders)
    found = shapley.interactions(rows, orders, drawn=1e-9)
    assert found == pytest.approx(form, abs=1e-5)
    few = shapley.interactions(rows[:2], orders[:2], drawn=1e6)
    assert few - np.diag(few.diagonal()) == pytest.approx(np.zeros((5, 5)), abs=1e-3)
    assert few.diagonal() == pytest.approx(rows[:2].mean(0), rel=1e-3)


def test_the_table_predicts_the_form_of_the_layers_that_are_down():
    _, form = game(4, 3)
    names = ["a", "b", "c", "d"]
    made = shapley.table_of(form, names, 2, 4, "nats", 64)
    place = {entry: at for at, entry in enumerate(made.pair_index)}
    for size in range(5):
        for down in combinations(range(4), size):
            rows = [place[n, "weight", 2 if at in down else 4] for at, n in enumerate(names)]
            at = np.array(down, int)
            assert form_value(made.pairs, np.array(rows)) == pytest.approx(
                float(form[np.ix_(at, at)].sum())
            )


BLOCK = {
    "bert": ("attention.self.query", "attention.self.key", "attention.self.value",
             "attention.output.dense", "intermediate.dense", "output.dense"),
    "llama": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
              "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"),
}  # fmt: skip
UP = {"bert": r"(value|(?<!attention\.)output\.dense)$", "llama": r"(v_proj|down_proj)$"}


def layers_of(family, blocks=4):
    one = toy_problem(1).problem.model.layers[0]
    names = [f"model.layers.{b}.{name}" for b in range(blocks) for name in BLOCK[family]]
    return [replace(one, name=name, weights=1000 + 100 * at) for at, name in enumerate(names)]


@pytest.mark.parametrize("family", BLOCK)
@pytest.mark.parametrize("bits", [2.5, 3.0, 3.5, 4.0])
def test_the_rule_of_thumb_raises_values_downs_and_the_last_block_within_the_size(family, bits):
    layers = layers_of(family)
    wanted = {x.name for x in layers if re.search(UP[family], x.name) or ".3." in x.name}
    assert set(hand.raised(layers)) == wanted
    widths = hand.widths(layers, bits)
    total = sum(x.weights for x in layers)
    mean = sum(x.weights * widths[x.name] for x in layers) / total
    assert bits - 0.05 < mean <= bits
    low = min(widths.values())
    assert np.mean([widths[n] > low for n in wanted]) >= 0.7
    assert all(widths[n] <= low + 1 for n in widths if n not in wanted)


def test_without_known_names_there_is_no_rule_of_thumb():
    assert hand.widths(toy_problem(4).problem.model.layers, 3.0) is None


def cells(draws=(0, 1)):
    rng = np.random.default_rng(0)
    found = []
    for draw in draws:
        base = rng.uniform(0.05, 0.15, 400)
        for method, factor in (("uniform", 1.0), ("portfolio", 0.75)):
            name = {"model": "m", "draw": draw, "rounding": "gptq", "bits": 3.0, "method": method}
            noise = rng.normal(0, 0.01, 400) if method == "portfolio" else 0.0
            result = {
                "kl": (factor * base + noise).tolist(),
                "agreement": [1.0] * 300 + [0.0] * 100,
                "evaluations": 12,
                "tables": {"kl": 60.0, "gradient": 20.0},
                "search_cpu_seconds": 20.0,
                "point_cpu_seconds": 8.0,
            }
            found.append({"name": name, "result": result, "cpu_seconds": 1.0})
    return found


def test_changes_are_paired_with_uniform_bits_of_the_same_draw_and_rounding():
    uniform, portfolio = table.summary(cells())
    assert uniform["change"] == [0.0, 0.0]
    assert portfolio["change"] == pytest.approx([-0.25, -0.25], abs=0.02)
    # half of the interval is about 1.96 sd / sqrt(n), relative; unpaired it would be wider
    assert 0.005 < portfolio["half_width"] < 0.02
    other = [{**c, "name": {**c["name"], "rounding": "nearest"}} for c in cells()[1:2]]
    assert table.summary([*cells(), *other])[2]["change"] == []


def test_the_table_stands_between_its_marks_and_says_which_draws_are_missing():
    rows = table.summary(cells())
    text = f"before\n{table.START}old\n{table.END}\nafter\n"
    written = table.with_tables(text, rows)
    assert written.startswith("before\n")
    assert written.endswith("after\n")
    assert "old" not in written
    assert table.with_tables(written, rows) == written
    assert "| portfolio | 0.0" in written
    assert "-25 % +-1 (2 of 3 draws) | 75 % | 12 | 80 + 20 |" in written
    assert table.DOCUMENT.read_text().count(table.START) == 1
