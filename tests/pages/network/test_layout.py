"""Every arrow goes down, nothing lies on anything else, and branches can be told apart."""

import itertools

import pytest

from pages.network.layout import SIZES, place
from pages.network.wiring import read_wires
from qcore.models.catalog import bundled_spec
from tests.pages.network.chains import chain, model_of, residual

WIDE = dict.fromkeys("abcd", ("stem",))
MODELS = {
    "chain": chain(8),
    "resnet8": bundled_spec("resnet8"),
    "resnet20": bundled_spec("resnet20"),
    "mobilenet": bundled_spec("mobilenet"),
    "branches": model_of({"stem": (), **WIDE, "end": tuple("abcd")}, wanted={"end": 32}),
    "a thousand": residual(500),
}


@pytest.fixture(params=MODELS, scope="module")
def drawn(request):
    wires = read_wires(MODELS[request.param])
    return wires, place(wires)


def box(node, centre):
    (width, height), (x, y) = SIZES[node.kind], centre
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def test_every_arrow_goes_down_from_its_source_to_its_target(drawn):
    wires, placed = drawn
    for (source, target), line in zip(wires.arrows, placed.lines, strict=True):
        left, _, right, bottom = box(wires.nodes[source], placed.centres[source])
        assert line[0][1] == pytest.approx(bottom, abs=1)
        assert left - 1 <= line[0][0] <= right + 1
        left, top, right, _ = box(wires.nodes[target], placed.centres[target])
        assert line[-1][1] == pytest.approx(top, abs=1)
        assert left - 1 <= line[-1][0] <= right + 1
        heights = [y for _, y in line]
        assert heights == sorted(heights)


def test_no_two_nodes_overlap_and_all_lie_within_the_drawing(drawn):
    wires, placed = drawn
    boxes = [box(node, at) for node, at in zip(wires.nodes, placed.centres, strict=True)]
    by_top = sorted(boxes, key=lambda each: each[1])
    for at, (left, top, right, bottom) in enumerate(by_top):
        assert left >= 0
        assert top >= 0
        assert right <= placed.width
        assert bottom <= placed.height
        for other in by_top[at + 1 :]:
            if other[1] >= bottom:
                break
            assert other[2] <= left or other[0] >= right


def test_a_branch_that_passes_layers_by_does_not_run_through_them(drawn):
    wires, placed = drawn
    ends = dict(enumerate(wires.arrows))
    boxes = [box(node, at) for node, at in zip(wires.nodes, placed.centres, strict=True)]
    layers = [at for at, node in enumerate(wires.nodes) if node.kind == "layer"]
    for number, line in enumerate(placed.lines):
        for (x, y), (x2, y2) in itertools.pairwise(line):
            left, right, top, bottom = min(x, x2), max(x, x2), min(y, y2), max(y, y2)
            for at in layers:
                if at in ends[number]:
                    continue
                a, b, c, d = boxes[at]
                assert right <= a or left >= c or bottom <= b or top >= d


def test_residual_branches_are_marked_and_the_straight_way_is_not():
    wires = read_wires(MODELS["resnet20"])
    placed = place(wires)
    joins = {at for at, node in enumerate(wires.nodes) if node.kind == "join"}
    passing = [at for at, way in enumerate(placed.passing) if way]
    assert len(passing) == len(joins)
    assert {wires.arrows[at][1] for at in passing} == joins
    assert not any(place(read_wires(chain(8))).passing)


def test_the_same_graph_is_drawn_the_same():
    wires = read_wires(MODELS["resnet20"])
    assert place(wires) == place(wires)


def test_what_runs_again_is_led_back_at_the_right():
    wires = read_wires(model_of({"a": ("c",), "b": ("a",), "c": ("b",)}))
    placed = place(wires)
    (line,) = placed.again
    assert line[0][1] > line[-1][1]
    assert max(x for x, _ in line) > max(x + SIZES["layer"][0] / 2 for x, _ in placed.centres)
    assert max(x for x, _ in line) <= placed.width
