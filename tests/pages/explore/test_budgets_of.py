"""Networks with tables of ids are told in bits for each weight, scales included."""

from pages.explore.view import query_of, read_view
from pages.shared.ranges import PER_WEIGHT, budgets_of, spans_of
from qcore.costs import COSTS
from tests.strategies import layer, model

PLAIN = model()
TABLE = model(layer("words", kind="embedding", weights=4000, inputs=0), layer("fc", kind="linear"))


def test_a_table_of_ids_makes_bits_for_each_weight_the_size():
    assert budgets_of(PLAIN) == ("weight_bytes", "bit_ops")
    assert budgets_of(TABLE) == (PER_WEIGHT, "bit_ops")
    tied = model(layer("head", kind="tied_embedding"))
    assert budgets_of(tied) == (PER_WEIGHT, "bit_ops")


def test_the_size_is_the_axis_and_has_a_budget_where_nobody_says_otherwise():
    for network in (PLAIN, TABLE):
        size, other = budgets_of(network)
        view = read_view({}, spans_of(network))
        assert view.x == size
        assert view.on[size]
        assert not view.on[other]
        assert list(view.limits(spans_of(network))) == [size]
    assert read_view({"x": COSTS["model_bytes"].title}, spans_of(TABLE)).x == "model_bytes"


def test_a_link_keeps_a_budget_in_bits_for_each_weight():
    spans = spans_of(TABLE)
    said = {"values": {PER_WEIGHT: 3.5}, "on": {PER_WEIGHT: True}, "x": PER_WEIGHT}
    query = query_of(said, spans)
    view = read_view(query, spans)
    assert view.limits(spans) == {PER_WEIGHT: 3_500_000}
    assert view.x == PER_WEIGHT
