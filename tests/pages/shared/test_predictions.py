import itertools

import pytest

from pages.shared import predictions
from pages.shared.columns import DAMAGE, column_of
from qcore.allocation import BitAllocation, LayerBits
from qcore.costs import COSTS, costs_of
from tests.pages import sample


def damage_of(table, allocation):
    return sum(table.score(name, bits) for name, bits in allocation.items())


def test_a_predicted_front_is_priced_and_scored_exactly():
    table = sample.table()
    front = predictions.predicted_front("x", table, sample.MODEL, "weight_bytes")
    for row in front.to_dict("records"):
        assert row[DAMAGE] == pytest.approx(damage_of(table, row["allocation"]))
        costs = costs_of(sample.MODEL, row["allocation"])
        assert row[column_of(COSTS["weight_bytes"])] == costs["weight_bytes"]
    assert front[column_of(COSTS["weight_bytes"])].is_monotonic_increasing
    assert front[DAMAGE].is_monotonic_decreasing


def test_a_long_front_is_thinned_and_keeps_its_ends():
    table = sample.table()
    whole = predictions.predicted_front("x", table, sample.MODEL, "weight_bytes", most=10**6)
    short = predictions.predicted_front("x", table, sample.MODEL, "weight_bytes", most=10)
    assert len(short) == 10 < len(whole)
    assert short[DAMAGE].iloc[[0, -1]].tolist() == whole[DAMAGE].iloc[[0, -1]].tolist()


def test_the_pick_is_the_optimum_of_a_full_enumeration():
    layers = sample.MODEL.layers[:4]
    model = type(sample.MODEL)("small", "0" * 64, layers)
    table = sample.table(activations=(4, 8))
    limits = {"weight_bytes": 4000.0, "bit_ops": 80e6}
    pick = predictions.predicted_pick("x", table, model, limits).iloc[0]
    choices = [LayerBits(w, a) for w in (2, 3, 4, 8) for a in (4, 8)]
    best = min(
        damage_of(table, allocation)
        for chosen in itertools.product(choices, repeat=len(layers))
        if all(
            costs_of(model, allocation)[name] <= limit
            for allocation in [BitAllocation(dict(zip(model.names, chosen, strict=True)))]
            for name, limit in limits.items()
        )
        for allocation in [BitAllocation(dict(zip(model.names, chosen, strict=True)))]
    )
    assert pick[DAMAGE] == pytest.approx(best)


def test_without_budgets_the_pick_has_the_least_damage_of_all():
    pick = predictions.predicted_pick("x", sample.table(), sample.MODEL, {}).iloc[0]
    assert pick["allocation"] == sample.uniform(8)


def test_nothing_is_picked_below_the_smallest():
    limits = {"weight_bytes": 10.0}
    assert predictions.predicted_pick("x", sample.table(), sample.MODEL, limits).empty


def test_a_table_without_activations_leaves_them_in_float():
    options = predictions.table_options(sample.table(), sample.MODEL)
    assert {bits.activation for row in options.values() for bits in row} == {32}
    options = predictions.table_options(sample.table(activations=(4,)), sample.MODEL)
    assert {bits.activation for row in options.values() for bits in row} == {4}


def test_the_table_names_the_unit_of_the_damage():
    pick = predictions.predicted_pick("x", sample.table(), sample.MODEL, {})
    assert "Predicted damage, nats" in predictions.predicted_table(pick, "nats").columns
