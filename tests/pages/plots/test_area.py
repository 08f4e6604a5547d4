import itertools

import pytest

from pages.plots.area import AREAS, area_figure
from qcore.allocation import FLOAT_BITS, BitAllocation, LayerBits, LayerSpec, ModelSpec
from qcore.costs import COSTS
from qcore.errors import InvalidParams
from tests.pages import sample

MODEL = sample.MODEL
BITS = sample.allocations(1, seed=8, activations=(4, 8))[0]


def blocks(figure):
    """(left, width, height) of every block from left to right, in percent and bits."""
    return sorted(
        (left, width, height)
        for trace in figure.data
        if trace.type == "bar"
        for left, width, height in zip(trace.x, trace.width, trace.y, strict=True)
    )


@pytest.mark.parametrize("cost", list(AREAS))
def test_the_area_of_every_block_is_its_layers_cost(cost):
    drawn = blocks(area_figure(MODEL, BITS, cost))
    whole = sum(AREAS[cost].width(layer) for layer in MODEL.layers)
    per_unit = 1 if COSTS[cost].unit == "bit-ops" else 8
    for (_, width, height), layer in zip(drawn, MODEL.layers, strict=True):
        area = width / 100 * whole * height / per_unit
        # bytes are whole: a layer's last one may not be full
        wanted = COSTS[cost].layer_cost(layer, BITS[layer.name])
        assert wanted - 1 < area <= wanted * (1 + 1e-9)


def test_blocks_fill_the_width_side_by_side():
    drawn = blocks(area_figure(MODEL, BITS, "weight_bytes"))
    assert drawn[0][0] == 0
    for (left, width, _), (following, _, _) in itertools.pairwise(drawn):
        assert left + width == pytest.approx(following)
    assert sum(width for _, width, _ in drawn) == pytest.approx(100)


def test_the_outline_is_the_other_allocation():
    figure = area_figure(MODEL, BITS, "weight_bytes", outline=sample.uniform(3))
    line = figure.data[-1]
    assert line.name == "starting point"
    assert set(line.y) == {3}
    assert (line.x[0], line.x[-1]) == (0, 100)
    assert len(area_figure(MODEL, BITS, "weight_bytes").data) == len(figure.data) - 1


def test_float_is_hatched_and_every_width_has_its_own_trace():
    mixed = sample.uniform(4).replace("fc", LayerBits(FLOAT_BITS))
    traces = {t.name: t for t in area_figure(MODEL, mixed, "weight_bytes").data}
    assert set(traces) == {"4 bits", "float"}
    assert traces["float"].marker.pattern.shape == "/"
    assert not traces["4 bits"].marker.pattern.shape


def test_names_of_layers_are_no_markup_and_axes_have_units():
    layer = LayerSpec("<b>x</b>" * 100, "linear", 8, 2, 2, 8, 4, 2)
    model = ModelSpec("m", "0" * 64, (layer,))
    figure = area_figure(model, BitAllocation.uniform([layer], 8), "weight_bytes")
    assert "<b>x" not in figure.data[0].hovertext[0]
    assert figure.layout.xaxis.title.text.startswith("Share of weights, %")
    assert figure.layout.yaxis.title.text == "Bits per weight"


def test_a_cost_that_is_no_area_is_refused():
    with pytest.raises(InvalidParams, match="model_bytes"):
        area_figure(MODEL, BITS, "model_bytes")
