import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pages.plots import difference
from qcore.allocation import BitAllocation, LayerBits, LayerSpec, ModelSpec
from qcore.costs import COSTS
from qcore.errors import InvalidAllocation
from tests import strategies
from tests.pages import sample


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_layers_add_up_to_the_totals_and_turning_it_round_turns_the_signs(data):
    model = data.draw(strategies.model_specs())
    a, b = (data.draw(strategies.allocations(model)) for _ in range(2))
    frame, back = difference.diff_frame(model, a, b), difference.diff_frame(model, b, a)
    totals = difference.diff_totals(model, a, b)
    for column, cost in (
        (difference.BYTES_DELTA, "weight_bytes"),
        (difference.OPS_DELTA, "bit_ops"),
    ):
        old, new = totals[cost]
        assert frame[column].sum() == new - old
        assert (frame[column] == -back[column]).all()
    assert old == COSTS["bit_ops"].total(model, a)
    assert frame["changed"].tolist() == [a[name] != b[name] for name in model.names]


def one_change(layers=("conv1",), weight=3, activation=32):
    b = dict(sample.uniform(4))
    for name in layers:
        b[name] = LayerBits(weight, activation)
    return difference.diff_frame(sample.MODEL, sample.uniform(4), BitAllocation(b))


def texts(figure):
    found = [t for t in figure.data if t.name == "digits"]
    return [
        entry
        for _, entry in sorted((x, e) for t in found for x, e in zip(t.x, t.text, strict=True))
    ]


def test_equal_layers_are_left_out_until_asked_for():
    frame = one_change(("conv1", "fc"))
    few, all_of_them = difference.diff_figure(frame), difference.diff_figure(frame, everything=True)
    assert texts(few) == ["-1", "-1"]
    assert texts(all_of_them) == ["-1", *["="] * 8, "-1"]
    assert few.layout.xaxis.ticktext == ("conv1", "fc")
    assert "equal layers left out" in few.layout.xaxis.title.text


def test_activations_have_a_row_where_they_change():
    (heat, *_) = difference.diff_figure(one_change()).data
    assert list(heat.y) == ["weights"]
    (heat, *_) = difference.diff_figure(one_change(weight=4, activation=8)).data
    assert list(heat.y) == ["weights", "activations"]
    # from float to 8 bits: the colour of the strongest change, the true digit
    assert heat.z[1][0] == -difference.STRONGEST
    frame = one_change(weight=4, activation=8)
    assert frame["Activation bits"][0] == "float → 8"
    assert "-24" in texts(difference.diff_figure(frame))


def test_nothing_in_a_layer_name_is_a_tag_and_long_names_are_cut():
    name = "<b onmouseover=x>" + "a" * 500
    model = ModelSpec("m", "0" * 64, (LayerSpec(name, "linear", 8, 2, 0, 8, 4, 2),))
    four, two = (BitAllocation({name: LayerBits(bits, 8)}) for bits in (4, 2))
    figure = difference.diff_figure(difference.diff_frame(model, four, two))
    assert "<b on" not in str(figure.to_dict())
    assert len(figure.layout.xaxis.ticktext[0]) <= 40


def test_an_allocation_of_another_network_is_refused():
    with pytest.raises(InvalidAllocation):
        difference.diff_frame(
            sample.MODEL, sample.uniform(4), BitAllocation({"x": LayerBits(2, 2)})
        )


def test_predicted_damage_is_the_sum_of_the_table_or_nothing():
    table = sample.table()
    expected = sum((place + 1) * 0.5**4 for place in range(len(sample.MODEL.layers)))
    assert difference.predicted_damage(table, sample.uniform(4)) == pytest.approx(expected)
    assert difference.predicted_damage(table, sample.uniform(5)) is None
