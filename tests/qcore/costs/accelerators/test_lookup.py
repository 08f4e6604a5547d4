"""Energy and latency of layers, looked up by shape."""

import dataclasses
import itertools
import json

import pytest

from qcore.allocation import BIT_WIDTHS, BitAllocation, LayerBits
from qcore.costs import COSTS, applicable, costs_of, refusals
from qcore.costs.accelerators import ACCELERATOR_COSTS, lookup
from qcore.costs.accelerators.lookup import UNKNOWN, price_on, read_table, slot_of
from qcore.costs.accelerators.shapes import Shape, shape_of
from qcore.costs.formulas import UNPRICED, WORDS, values_per_word
from qcore.errors import InvalidConfig
from qcore.models.catalog import BUNDLED_NAMES, MODELS, bundled_spec
from tests.strategies import layer, model

IMAGE_NETWORKS = [name for name in BUNDLED_NAMES if not MODELS[name].inputs]
NAMES = [quantity.name for quantity in ACCELERATOR_COSTS]
DENSE = [quantity for quantity in ACCELERATOR_COSTS if quantity.word is None]
WHOLE = [quantity for quantity in ACCELERATOR_COSTS if quantity.word]
ENERGY = ACCELERATOR_COSTS[0]
CONV_KEY = "16x16 k3 s1 o28"


@pytest.fixture
def table(monkeypatch):
    """A table with one shape, made by the test."""

    def use(entries):
        monkeypatch.setattr(lookup, "read_table", lambda name: {CONV_KEY: entries})

    return use


FACTS = {
    "channels": 16,
    "in_channels": 16,
    "weights": 2304,
    "macs": 12544 * 144,
    "inputs": 12544,
    "outputs": 12544,
}


def conv():
    return layer("conv", **FACTS)


@pytest.mark.parametrize("name", IMAGE_NETWORKS)
def test_shapes_have_the_work_of_their_layers(name):
    for one in bundled_spec(name).layers:
        shape = shape_of(one)
        assert shape is not None
        weights = shape.outputs * shape.inputs * shape.groups * shape.kernel**2
        assert (weights, weights * shape.size**2) == (one.weights, one.macs)


def test_strides_and_groups_are_read_from_the_sizes():
    shapes = {one.name: shape_of(one) for one in bundled_spec("mobilenet").layers}
    assert shapes["features.4.body.3"] == Shape(1, 1, 64, 3, 14, 2)
    assert shapes["features.4.body.3"].key == "1x1 g64 k3 s2 o14"
    assert shapes["classifier"] == Shape(10, 160)


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "conv1d"},
        {"kind": "conv_transpose2d"},
        {"outputs": 16 * 28 * 27},
        {"macs": 2 * 12544 * 144},
        {"weights": 16 * 16 * 3 * 5},
        {"kind": "linear"},
    ],
)
def test_layers_whose_loops_cannot_be_told_have_no_shape(changes):
    assert shape_of(conv()) is not None
    assert shape_of(layer("conv", **{**FACTS, **changes})) is None


@pytest.mark.parametrize("name", IMAGE_NETWORKS)
def test_the_bundled_networks_have_all_their_costs(name):
    spec = bundled_spec(name)
    assert set(NAMES) <= set(applicable(spec))
    eight = costs_of(spec, BitAllocation.uniform(spec.layers, 8, 8))
    two = costs_of(spec, BitAllocation.uniform(spec.layers, 2, 2))
    for cost in NAMES:
        assert 0 < two[cost] < eight[cost] < UNPRICED
    # a chip does not win what bit operations promise: 2 bits are not a sixteenth of 8
    assert two["eyeriss_energy_pj"] > eight["eyeriss_energy_pj"] / 8
    assert two["bit_ops"] * 16 == eight["bit_ops"]


@pytest.mark.parametrize("accelerator", ["eyeriss_like", "simba_like"])
def test_every_width_was_searched_for_every_bundled_layer(accelerator):
    searched = set(itertools.product((2, 3, 4, 5, 6, 8, 16), repeat=2))
    table = read_table(accelerator)
    for name in IMAGE_NETWORKS:
        for one in bundled_spec(name).layers:
            shape = shape_of(one)
            assert shape is not None
            assert searched <= set(table[shape.key])


@pytest.mark.parametrize("name", NAMES)
def test_more_bits_never_take_less(name):
    price = COSTS[name].layer_cost
    for one in bundled_spec("resnet8").layers[::3]:
        for low, high in itertools.pairwise(BIT_WIDTHS):
            for other in BIT_WIDTHS:
                assert price(one, LayerBits(low, other)) <= price(one, LayerBits(high, other))
                assert price(one, LayerBits(other, low)) <= price(one, LayerBits(other, high))


def test_narrow_numbers_may_be_kept_in_wider_slots(table):
    table({(2, 8): (70, 1), (4, 8): (50, 1), (8, 8): (60, 1), (16, 16): (90, 1)})
    prices = [price_on(ENERGY, conv(), LayerBits(*bits)) for bits in ((2, 8), (3, 3), (5, 8))]
    assert prices == [50, 50, 60]


@pytest.mark.parametrize("word", WORDS)
def test_a_slot_is_a_word_divided_among_the_values_it_holds_whole(word):
    for bits in range(1, word + 1):
        assert slot_of(bits, word) * values_per_word(bits, word) == word
        assert slot_of(bits, word) >= bits
    # a value wider than a word takes several
    assert slot_of(word + 1, word) == 2 * word
    published = {1: 1, 2: 2, 3: 3.2, 4: 4, 5: 16 / 3, 6: 8, 7: 8, 8: 8, 9: 16, 16: 16}
    if word == 16:
        assert {bits: float(slot_of(bits, word)) for bits in published} == published


def test_a_slot_between_two_widths_costs_what_the_line_between_them_does(table):
    energy = dataclasses.replace(ENERGY, word=16)
    table({(w, a): (1000 * w + a, 1) for w in range(1, 17) for a in range(1, 17)})
    prices = {
        bits: price_on(energy, conv(), LayerBits(*bits))
        for bits in ((2, 2), (3, 4), (5, 4), (6, 4), (7, 4), (8, 4), (4, 6), (3, 3), (32, 7))
    }
    assert prices == {
        (2, 2): 2002,
        (3, 4): 3204,
        (5, 4): 5338,  # 5 1/3 bits, rounded up to a whole pJ
        (6, 4): 8004,
        (7, 4): 8004,
        (8, 4): 8004,
        (4, 6): 4008,
        (3, 3): 3204,  # 3203.2
        (32, 7): 16008,
    }


def test_a_table_that_does_not_reach_a_slot_has_no_price_for_it(table):
    table({(4, 8): (50, 1), (6, 8): (60, 1)})
    energy = dataclasses.replace(ENERGY, word=16)
    assert price_on(energy, conv(), LayerBits(4, 8)) == 50
    assert price_on(ENERGY, conv(), LayerBits(6, 8)) == 60
    # two values of 6 bits leave no word for a third: each takes 8
    assert price_on(energy, conv(), LayerBits(6, 8)) == UNKNOWN


@pytest.mark.parametrize("quantity", WHOLE, ids=lambda quantity: quantity.name)
def test_where_words_are_not_split_six_seven_and_eight_bits_cost_the_same(quantity):
    price = COSTS[quantity.name].layer_cost
    for one in (each for name in IMAGE_NETWORKS for each in bundled_spec(name).layers):
        for other in BIT_WIDTHS:
            for row in (
                (LayerBits(w, other) for w in (6, 7, 8)),
                (LayerBits(other, a) for a in (6, 7, 8)),
            ):
                assert len({price(one, bits) for bits in row}) == 1


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("quantity", DENSE, ids=lambda quantity: quantity.name)
def test_not_splitting_orders_widths_as_the_words_of_weights_do(quantity, word):
    """Never cheaper than dense, equal where as many fit a word, else in the order of the words."""
    whole = dataclasses.replace(quantity, word=word)
    for one in bundled_spec("resnet8").layers:
        for other in (2, 4, 8, 32):
            for low, high in itertools.combinations(range(1, 9), 2):
                cheap, dear = (price_on(whole, one, LayerBits(w, other)) for w in (low, high))
                alike = values_per_word(low, word) == values_per_word(high, word)
                assert cheap == dear if alike else cheap <= dear
                assert price_on(quantity, one, LayerBits(low, other)) <= cheap
                if word % low == 0:  # nothing is wasted
                    assert price_on(quantity, one, LayerBits(low, other)) == cheap


def test_energy_in_words_agrees_with_the_bytes_in_words_where_density_contradicts_them():
    spec = bundled_spec("resnet8")
    six, eight = (BitAllocation.uniform(spec.layers, w, 8) for w in (6, 8))
    dense, words, packed = (
        COSTS[name].total
        for name in ("eyeriss_energy_pj", "eyeriss_packed16_energy_pj", "packed16_bytes")
    )
    assert packed(spec, six) == packed(spec, eight)
    assert words(spec, six) == words(spec, eight) == dense(spec, eight)
    assert dense(spec, six) < dense(spec, eight)


def test_float_counts_as_sixteen_bits(table):
    table({(2, 16): (30, 1), (16, 16): (90, 1)})
    assert price_on(ENERGY, conv(), LayerBits(32, 32)) == 90
    assert price_on(ENERGY, conv(), LayerBits(2, 32)) == 30
    assert price_on(ENERGY, conv(), LayerBits(8, 8)) == 90


def test_a_network_with_another_shape_is_left_out_and_told_which(table):
    table({(16, 16): (90, 1)})
    spec = model(conv(), layer("odd"))
    assert price_on(ENERGY, spec.layers[1], LayerBits(8, 8)) == UNKNOWN == UNPRICED
    assert "of odd" in refusals(spec)[ENERGY.name]
    assert ENERGY.name not in costs_of(spec, BitAllocation.uniform(spec.layers, 8, 8))


@pytest.mark.parametrize("text", ["{", "[]", '{"shapes": {"a": {"8": [1, 2]}}}'])
def test_a_damaged_table_is_named(tmp_path, monkeypatch, text):
    monkeypatch.setattr(lookup, "FOLDER", tmp_path)
    (tmp_path / "chip.json").write_text(text)
    with pytest.raises(InvalidConfig, match=r"chip\.json is damaged"):
        read_table("chip")


def test_tables_say_which_engine_made_them():
    for quantity in ACCELERATOR_COSTS:
        path = lookup.FOLDER / f"{quantity.accelerator}.json"
        assert json.loads(path.read_text())["engine"].startswith("zigzag-dse 3.9")
