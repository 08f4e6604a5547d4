"""What the browser is handed: plain data with the numbers of the facts, and names as text."""

import json
import math
from dataclasses import replace

import pytest

from pages.network.facts import layer_facts
from pages.network.payload import picture, state
from pages.network.view import Change, read_change
from qcore.allocation import BitAllocation, LayerBits
from qcore.problem import InputRange
from tests.pages import sample
from tests.pages.network.chains import model_of

SEEN = InputRange(-1.0, 3.0, (0, 10, 1000), {4: (-0.5, 2.5, 0.2, 0.015), 8: (-1.0, 3.0, 0.01, 0.0)})


def test_it_is_json_and_holds_every_layer_with_its_curve():
    table = sample.table(activations=(4, 8))
    drawn = json.loads(json.dumps(picture(sample.MODEL, table)))
    assert [layer["name"] for layer in drawn["layers"]] == list(sample.MODEL.names)
    for layer, spec in zip(drawn["layers"], sample.MODEL.layers, strict=True):
        assert layer["weights"] == spec.weights
        for part, rows in (("weight", table.weight), ("activation", table.activation)):
            known = dict(layer["curve"][part])
            assert known == pytest.approx(rows[spec.name], rel=1e-3)
    assert (drawn["unit"], drawn["damage"]) == ("nats", "Predicted damage (kl)")
    width, height = drawn["size"]
    assert all(0 < n["x"] < width and 0 < n["y"] < height for n in drawn["nodes"])


def test_a_layer_says_how_many_of_its_weights_are_rounded_to_zero():
    name = sample.MODEL.names[0]
    table = replace(sample.table(), zeros={name: {4: 0.104, 2: 0.4, 8: math.nan}})
    first, second = picture(sample.MODEL, table)["layers"][:2]
    assert first["facts"][-1] == ["Rounded to zero", "40 % at 2 bits, 10 % at 4 bits"]
    assert "Rounded to zero" not in dict(second["facts"])


def test_ranges_are_bars_and_words_and_absent_where_nothing_was_measured():
    names = sample.MODEL.names
    drawn = picture(sample.MODEL, sample.table(), {names[0]: SEEN})
    kept, other = drawn["layers"][0]["range"], drawn["layers"][1]["range"]
    assert other is None
    assert kept["bars"] == sorted(kept["bars"])
    assert (kept["bars"][0], kept["bars"][-1]) == (0, 60)
    assert [grid["bits"] for grid in kept["grids"]] == [8, 4]
    assert "1.5 % of the values lie outside" in kept["grids"][1]["words"]


def test_without_a_table_there_is_no_curve_and_no_damage():
    drawn = picture(sample.MODEL)
    assert drawn["damage"] == ""
    assert all(layer["curve"] == {"weight": [], "activation": []} for layer in drawn["layers"])


def test_what_is_no_number_is_not_drawn():
    rows = {name: {2: math.nan, 4: math.inf, 8: 0.5} for name in sample.MODEL.names}
    drawn = picture(sample.MODEL, replace(sample.table(), weight=rows))
    assert {len(layer["curve"]["weight"]) for layer in drawn["layers"]} == {1}


def test_state_has_bits_in_model_order_whatever_the_order_of_the_allocation():
    bits = {name: LayerBits(1 + at % 8, 8) for at, name in enumerate(sample.MODEL.names)}
    backwards = BitAllocation(dict(reversed(bits.items())))
    told = state(sample.MODEL, backwards, "mine")
    assert told["bits"]["weight"] == [each.weight for each in bits.values()]
    assert told["bits"]["activation"] == [8] * len(bits)
    assert state(sample.MODEL)["bits"] is None
    assert state(sample.MODEL)["locked"] == [False] * len(bits)


def test_names_are_handed_over_as_text_and_kept_short():
    evil = '<img src=x onerror="hacked()">\u202e'
    drawn = picture(model_of({evil: (), "n" * 900: (evil,)}))
    first, second = drawn["layers"]
    assert first["name"] == evil[:-1]
    assert 100 < len(second["name"]) <= 200


def test_facts_say_shapes_kernel_and_neighbours():
    model = sample.MODEL
    facts = dict(layer_facts(model.layers[model.names.index("layer2.0.conv1")], model))
    assert facts["Channels"] == "16 in, 32 out"
    assert facts["Kernel"] == "3x3"
    assert facts["Input"] == "16 x 28 x 28"
    assert facts["Output"] == "32 x 14 x 14"
    assert facts["Reads"] == "conv1, layer1.0.conv2"
    assert facts["Feeds"] == "layer2.0.conv2"
    assert dict(layer_facts(model.layers[0], model))["Reads"] == "the input"
    last = dict(layer_facts(model.layers[-1], model))
    assert last["Feeds"] == "the output"
    assert "Kernel" not in last
    # nothing is said of neighbours that are not known
    unknown = model_of({"a": (), "b": ()})
    assert dict(layer_facts(unknown.layers[0], unknown))["Reads"] == "not known"


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {"layer": 99, "weight": 4, "activation": 8, "locked": False},
        {"layer": -1, "weight": 4, "activation": 8, "locked": False},
        {"layer": True, "weight": 4, "activation": 8, "locked": False},
        {"layer": 0, "weight": 19, "activation": 8, "locked": False},
        {"layer": 0, "weight": 4.0, "activation": 8, "locked": False},
        {"layer": 0, "weight": 4, "activation": 8, "locked": "yes"},
        {"layer": 0, "weight": [4], "activation": 8, "locked": False},
    ],
)
def test_a_change_that_makes_no_sense_is_left_aside(value):
    assert read_change(value, sample.MODEL) is None


def test_a_change_is_read():
    value = {"layer": 2, "weight": 4, "activation": 32, "locked": True}
    assert read_change(value, sample.MODEL) == Change(2, LayerBits(4, 32), True)
