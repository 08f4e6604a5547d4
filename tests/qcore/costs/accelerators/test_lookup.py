"""Energy and latency of layers, looked up by shape."""

import itertools
import json

import pytest

from qcore.allocation import BIT_WIDTHS, BitAllocation, LayerBits
from qcore.costs import COSTS, applicable, costs_of, refusals
from qcore.costs.accelerators import ACCELERATOR_COSTS, lookup
from qcore.costs.accelerators.lookup import UNKNOWN, price_on, read_table
from qcore.costs.accelerators.shapes import Shape, shape_of
from qcore.costs.formulas import UNPRICED
from qcore.errors import InvalidConfig
from qcore.models.catalog import BUNDLED_NAMES, MODELS, bundled_spec
from tests.strategies import layer, model

IMAGE_NETWORKS = [name for name in BUNDLED_NAMES if not MODELS[name].inputs]
NAMES = [quantity.name for quantity in ACCELERATOR_COSTS]
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
def test_the_bundled_networks_have_all_four_costs(name):
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
    searched = set(itertools.product((2, 3, 4, 6, 8, 16), (2, 4, 8, 16)))
    table = read_table(accelerator)
    for name in IMAGE_NETWORKS:
        for one in bundled_spec(name).layers:
            shape = shape_of(one)
            assert shape is not None
            assert searched <= set(table[shape.key])


@pytest.mark.parametrize("name", NAMES)
def test_more_bits_never_take_less(name):
    price = COSTS[name].layer_cost
    for one in bundled_spec("resnet8").layers:
        for low, high in itertools.pairwise(BIT_WIDTHS):
            for other in BIT_WIDTHS:
                assert price(one, LayerBits(low, other)) <= price(one, LayerBits(high, other))
                assert price(one, LayerBits(other, low)) <= price(one, LayerBits(other, high))


def test_narrow_numbers_may_be_kept_in_wider_slots(table):
    table({(2, 8): (70, 1), (4, 8): (50, 1), (8, 8): (60, 1), (16, 16): (90, 1)})
    prices = [price_on(ENERGY, conv(), LayerBits(*bits)) for bits in ((2, 8), (3, 3), (5, 8))]
    assert prices == [50, 50, 60]


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
