import math
from dataclasses import replace

import pytest

from pages.plots import sensitivity as plots
from qcore.allocation import BitAllocation, LayerBits, LayerSpec, ModelSpec
from qcore.problem import SensitivityTable
from tests.pages import sample

SMALL = ModelSpec(
    "small",
    "0" * 64,
    (
        LayerSpec("one", "conv2d", 8192, 8, 8, 100, 10, 10),
        LayerSpec("two", "linear", 1024, 8, 8, 100, 10, 10),
        LayerSpec("odd", "linear", 1024, 8, 8, 100, 10, 10),
    ),
)
TABLE = SensitivityTable(
    "kl",
    "nats",
    {
        "one": {2: 0.5, 4: 0.1, 8: 0.0},
        "two": {2: 0.4, 4: -0.1, 8: 0.01},
        "odd": {2: 0.3, 4: 0.2},
    },
    error={"one": 0.05},
)


def test_the_price_of_a_bit_by_hand():
    bits = BitAllocation({"one": LayerBits(8), "two": LayerBits(4), "odd": LayerBits(3)})
    frame = plots.price_frame(TABLE, SMALL, bits)
    # one: 8 to 4 bits saves 4 KiB for 0.1 nats; two: 4 to 2 bits saves 0.25 KiB for 0.5 nats;
    # odd has bits that the table does not know
    assert frame["layer"].tolist() == ["two", "one"]
    assert frame["saved"].tolist() == [0.25, 4]
    assert frame["price"].tolist() == pytest.approx([2.0, 0.025])
    assert list(zip(frame["bits"], frame["fewer"], strict=True)) == [(4, 2), (8, 4)]


def test_float_goes_to_the_widest_known_bits_and_the_fewest_bits_have_no_price():
    bits = BitAllocation({"one": LayerBits(32), "two": LayerBits(2), "odd": LayerBits(2)})
    (row,) = plots.price_frame(TABLE, SMALL, bits).to_dict("records")
    assert (row["layer"], row["fewer"], row["saved"]) == ("one", 8, 24)
    assert row["damage"] == 0


def test_the_frame_holds_every_score_and_errors_at_the_fewest_bits():
    frame = plots.sensitivity_frame(TABLE, SMALL, "weight")
    assert len(frame) == 8
    errors = {(r.layer, r.bits): r.error for r in frame.itertuples() if not math.isnan(r.error)}
    assert errors == {("one", 2): 0.05}
    assert plots.unseen(frame) == 2
    assert plots.sensitivity_frame(TABLE, SMALL, "activation").empty


def test_curves_are_logarithmic_and_name_the_most_damaging_layers():
    frame = plots.sensitivity_frame(sample.table(), sample.MODEL, "weight")
    figure = plots.curves_figure(frame, "nats")
    assert figure.layout.yaxis.type == "log"
    assert figure.layout.yaxis.title.text == "Damage, nats"
    assert len(figure.data) == len(sample.MODEL.layers)
    named = [trace.name for trace in figure.data if trace.showlegend]
    # the sample's damage rises with the layer's place
    assert set(named) == set(sample.MODEL.names[-plots.NAMED_LAYERS :])
    looks = {(t.line.color, t.line.dash) for t in figure.data if t.showlegend}
    assert len(looks) == plots.NAMED_LAYERS


def test_scores_that_a_logarithm_cannot_show_are_left_out_of_curves_and_map():
    frame = plots.sensitivity_frame(TABLE, SMALL, "weight")
    drawn = [y for trace in plots.curves_figure(frame, "nats").data for y in trace.y]
    assert sorted(drawn) == [0.01, 0.1, 0.2, 0.3, 0.4, 0.5]
    (heat,) = plots.sensitivity_heatmap(frame, "nats").data
    assert list(heat.y) == ["8", "4", "2"]
    assert heat.z[2][0] == pytest.approx(math.log10(0.5))
    assert next(row[2] for row in heat.z) is None


def test_widths_that_were_worked_out_are_named_for_weights_alone():
    assert plots.derived_words(TABLE, "weight") == ""
    told = replace(TABLE, derived=(5, 8))
    assert plots.derived_words(told, "weight").endswith("layer's output: 5, 8 bits.")
    assert plots.derived_words(told, "activation") == ""


def test_of_many_layers_the_dearest_and_the_cheapest_bits_are_drawn():
    layers = [LayerSpec(f"l{at}", "linear", 8192, 2, 2, 4, 2, 2) for at in range(100)]
    model = ModelSpec("deep", "0" * 64, tuple(layers))
    table = SensitivityTable("kl", "nats", {f"l{at}": {4: 1.0 + at, 8: 0.5} for at in range(100)})
    frame = plots.price_frame(table, model, BitAllocation.uniform(layers, 8))
    (bars,) = plots.price_figure(frame, "nats", most=10).data
    names = [entry[0] for entry in bars.customdata]
    assert names == [f"l{at}" for at in (99, 98, 97, 96, 95, 4, 3, 2, 1, 0)]
    assert list(bars.y) == sorted(bars.y, reverse=True)


def test_hostile_names_are_no_markup_in_any_figure():
    layer = LayerSpec("<a href='x'>" * 50, "linear", 8192, 8, 8, 100, 10, 10)
    model = ModelSpec("m", "0" * 64, (layer,))
    table = SensitivityTable("kl", "nats", {layer.name: {2: 0.5, 8: 0.1}})
    frame = plots.sensitivity_frame(table, model, "weight")
    price = plots.price_frame(table, model, BitAllocation.uniform([layer], 8))
    for figure in (
        plots.curves_figure(frame, "nats"),
        plots.sensitivity_heatmap(frame, "nats"),
        plots.price_figure(price, "nats"),
    ):
        assert "<a" not in figure.to_json().replace("\\u003c", "<")
