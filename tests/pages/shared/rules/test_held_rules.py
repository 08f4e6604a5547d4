"""What is set on layers and rules are the same, and predictions are exact under them."""

import random

import pytest

from pages.shared import predictions
from pages.shared.columns import DAMAGE, column_of
from pages.shared.held import NOTHING, Held, held_of, held_of_text
from pages.shared.rules.held_rules import held_of_rules, rules_of_held
from qcore.allocation import LayerBits, LayerSpec, ModelSpec
from qcore.costs import COSTS
from qcore.costs.budget import make_options
from qcore.models.catalog import bundled_spec
from qcore.problem import SensitivityTable
from qcore.rules.file import read_rules
from qcore.rules.resolve import resolve
from tests import held as made

MODEL = bundled_spec("resnet8")


def network(count):
    layers = (
        LayerSpec(f"a{at}.w", "conv2d", 100 + 37 * at, 8, 8, 900, 40 + at, 40, tensor=f"t{at // 2}")
        for at in range(count)
    )
    return ModelSpec("made-up", "0" * 64, tuple(layers))


def table_of(model, rng):
    def scores():
        return {b: rng.uniform(0.5, 9) * 0.4**b for b in made.WIDTHS}

    return SensitivityTable(
        "kl", "nats", {n: scores() for n in model.names}, {n: scores() for n in model.names}
    )


@pytest.mark.parametrize("seed", range(20))
def test_what_is_set_on_layers_allows_the_same_as_its_rules(seed):
    rng = random.Random(seed)
    model = network(6)
    names = list(model.names)
    # what is left empty could begin no search, as rules or otherwise
    widths = {name: sorted(rng.sample(made.WIDTHS, rng.choice((2, 3)))) for name in names[:3]}
    data = [{"pattern": n, "part": "weight", "allow": w} for n, w in widths.items()]
    data += [{"pattern": names[4], "part": "activation", "allow": [8]}]
    data += [{"tie": rng.sample(names[3:], 2), "part": p} for p in ("weight", "activation")]
    wanted = held_of(data, model)
    rules = rules_of_held(wanted, model)
    assert rules == read_rules([rule.to_json() for rule in rules])
    resolved = resolve(rules, model.layers, made.WIDTHS, made.WIDTHS)
    base = make_options(model.layers, made.WIDTHS, made.WIDTHS)
    again = held_of_rules(resolved, base, model)
    for _ in range(200):
        bits = {n: LayerBits(rng.choice(made.WIDTHS), rng.choice(made.WIDTHS)) for n in names}
        assert again.admits(bits) == wanted.admits(bits)


def test_rules_that_leave_all_widths_set_nothing():
    resolved = resolve((), MODEL.layers, (2, 4), (32,))
    assert held_of_rules(resolved, resolved.options, MODEL) == NOTHING
    assert rules_of_held(NOTHING, MODEL) == ()


def test_rules_that_allow_more_than_the_base_are_no_narrower():
    resolved = resolve(read_rules([{"layers": "*", "weights": [2, 3, 4]}]), MODEL.layers, (2, 4))
    assert held_of_rules(resolved, make_options(MODEL.layers, (2, 4), (32,)), MODEL) == NOTHING


@pytest.mark.parametrize("cost", ["weight_bytes", "activation_bytes_sum"])
@pytest.mark.parametrize("seed", range(6))
def test_a_predicted_front_under_ties_is_that_of_trying_everything(seed, cost):
    rng = random.Random(seed)
    model = network(3)
    rules = made.rules_of(list(model.names), rng)
    rules.append(
        {"tie": rng.sample(list(model.names), 2), "part": rng.choice(("weight", "activation"))}
    )
    table, wanted = table_of(model, rng), held_of(rules, model)
    front = predictions.predicted_front("x", table, model, cost, most=10**6, held=wanted)
    # tensors that tied layers read are counted once
    priced = predictions.sharing(model, wanted)
    every = sorted((costs[cost], damage) for costs, damage in made.every(priced, table, rules))
    best, least = [], float("inf")
    for price, damage in every:
        if damage < least - 1e-12:
            best = [one for one in best if one[0] != price] + [(price, damage)]
            least = damage
    found = list(zip(front[column_of(COSTS[cost])], front[DAMAGE], strict=True))
    assert [price for price, _ in found] == [price for price, _ in best]
    assert [damage for _, damage in found] == pytest.approx([damage for _, damage in best])
    assert all(wanted.admits(allocation) for allocation in front["allocation"])


def test_nothing_is_predicted_where_no_width_is_left():
    table = table_of(network(3), random.Random(0))
    nothing = held_of([{"pattern": "a0.w", "part": "weight", "allow": []}], network(3))
    apart = [
        {"pattern": "a0.w", "part": "weight", "allow": [2]},
        {"pattern": "a1.w", "part": "weight", "allow": [8]},
        {"tie": ["a0.w", "a1.w"], "part": "weight"},
    ]
    for each in (nothing, held_of(apart, network(3))):
        assert isinstance(each, Held)
        front = predictions.predicted_front("x", table, network(3), "weight_bytes", held=each)
        assert front.empty
        assert predictions.predicted_pick("x", table, network(3), {}, held=each).empty


def test_pairs_of_rules_are_kept_by_predictions_and_left_out_of_addresses():
    rng = random.Random(3)
    model = network(4)
    names = list(model.names)
    rules = read_rules([{"layers": "*", "pairs": "2/8, 8/4"}, {"layers": names[0], "weights": 2}])
    resolved = resolve(rules, model.layers, made.WIDTHS, made.WIDTHS)
    base = make_options(model.layers, made.WIDTHS, made.WIDTHS)
    held = held_of_rules(resolved, base, model)
    for _ in range(200):
        bits = {n: rng.choice([LayerBits(2, 8), LayerBits(8, 4), LayerBits(8, 8)]) for n in names}
        assert held.admits(bits) == all(bits[n] in resolved.options[n] for n in names)
    assert held.options(base) == resolved.options
    pick = predictions.predicted_pick("x", table_of(model, rng), model, {}, held=held).iloc[0]
    assert all(pick["allocation"][name] in resolved.options[name] for name in names)
    # what stands in an address allows no less
    assert held_of_text(held.to_text(model), model).admits(pick["allocation"])
    assert held_of(held.to_json(), model).allowed() == held.allowed()
