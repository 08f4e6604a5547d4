import base64
import json

import numpy as np
import pytest

from pages.explore import payload
from pages.explore.payload import picks
from pages.explore.view import read_view
from pages.shared import frames, predictions
from pages.shared.columns import DAMAGE, OBJECTIVE, SEARCH_SCORE, column_of
from pages.shared.judged import CLASSIFIER
from pages.shared.points_table import points_frame
from pages.shared.ranges import BUDGETS, spans_of
from qcore.allocation import LayerSpec, ModelSpec
from qcore.costs import COSTS, costs_of
from tests.pages import sample

SPANS = spans_of(sample.MODEL, 32)


def numbers(packed, kind):
    ((sent, text),) = packed.items()
    assert f"<{sent}" == kind or sent == kind
    return np.frombuffer(base64.b64decode(text), kind)


def shared(**changes):
    return payload.shared_payload("id", sample.MODEL, read_view({}, SPANS), SPANS, **changes)


def frame():
    runs = {1: sample.run_of(1, "uniform"), 2: sample.run_of(2, "random")}
    stored = [
        sample.stored(at, 1 + at % 2, sample.point(allocation, 700 + at))
        for at, allocation in enumerate(sample.allocations(30, activations=(4, 8)))
    ]
    return points_frame(stored, runs, sample.MODEL, floats=(sample.FLOAT, None))


def test_every_number_of_a_point_arrives_unchanged():
    table = frame()
    rows = picks.drawn(table, list(BUDGETS))
    body = json.loads(
        json.dumps(payload.measured_body(sample.MODEL, rows, CLASSIFIER, 92.0, SPANS))
    )
    for method in body["methods"]:
        mine = rows[rows["method"] == method["label"]]
        assert numbers(method["ids"], "<u4").tolist() == mine["point"].tolist()
        assert numbers(method["value"], "<f8").tolist() == mine[OBJECTIVE].tolist()
        assert numbers(method["y"]["score"], "<f8").tolist() == mine[SEARCH_SCORE].tolist()
        for axis in body["axes"]:
            sent = numbers(method["cost"][axis["id"]], "<f8").tolist()
            assert sent == mine[column_of(COSTS[axis["id"]])].tolist()
        chosen = mine[mine["selectable"]]
        bits = numbers(method["w"], "u1").reshape(len(chosen), -1)
        inputs = numbers(method["a"], "u1").reshape(len(chosen), -1)
        for row, weights, activations in zip(chosen["allocation"], bits, inputs, strict=True):
            assert [b.weight for b in row.values()] == weights.tolist()
            assert [b.activation for b in row.values()] == activations.tolist()


def test_predicted_prices_and_scores_add_up_to_those_of_the_allocation():
    table = sample.table(activations=(4, 8))
    limits = {"weight_bytes": 30_000.0}
    settled = predictions.predicted_pick("x", table, sample.MODEL, limits)
    body = payload.predicted_payload(shared(), sample.MODEL, SPANS, "x", table, settled, limits)
    choice = numbers(body["settled"]["choice"], "<u4")
    allocation = settled.iloc[0]["allocation"]
    weights = numbers(body["proxy"]["w"], "u1")[choice]
    assert weights.tolist() == [bits.weight for bits in allocation.values()]
    score = numbers(body["proxy"]["score"], "<f8")[choice].sum()
    assert score == pytest.approx(settled.iloc[0][DAMAGE])
    costs = costs_of(sample.MODEL, allocation)
    for name, packed in body["proxy"]["cost"].items():
        total = numbers(packed, "<f8")[choice].sum() + body["proxy"]["fixed"][name]
        assert total == costs[name] == body["settled"]["cost"][name]
        assert COSTS[name].reduce == "sum"


def test_layers_say_what_the_drawing_needs():
    first, *middle, last = shared(locked=True, table=sample.table())["layers"]
    assert first["lock"]
    assert last["lock"]
    assert not any(layer["lock"] for layer in middle)
    assert first["name"] == "conv1 (conv2d, layer 1)"
    assert first["facts"][-1] == "fixed by the search's settings"
    assert "fixed by the search's settings" not in middle[0]["facts"]
    ranks = [
        int(fact.split()[1])
        for layer in (first, *middle, last)
        for fact in layer["facts"]
        if fact.startswith("sensitivity: ") and fact.endswith(" of 10")
    ]
    assert sorted(ranks) == list(range(1, 11))


def test_stages_and_blocks_cover_every_layer_once():
    body = shared()
    ends = [0, *(stop for _, _, stop in body["stages"])]
    assert [start for _, start, _ in body["stages"]] == ends[:-1]
    assert ends[-1] == len(sample.MODEL.layers)
    assert [name for name, *_ in body["stages"]][:2] == ["conv1", "layer1"]
    whole = sum(layer.weights for layer in sample.MODEL.layers)
    for place, layer in enumerate(body["layers"]):
        before = sum(each.weights for each in sample.MODEL.layers[:place])
        assert layer["from"]["bytes"] == pytest.approx(100 * before / whole)


def test_fronts_and_their_stops_are_those_of_the_points():
    table = frame()
    rows = picks.drawn(table, list(BUDGETS))
    body = payload.measured_body(sample.MODEL, rows, CLASSIFIER, 92.0, SPANS)
    for method in body["methods"]:
        mine = rows[rows["method"] == method["label"]].reset_index(drop=True)
        chosen = numbers(method["row"], "<i4")
        assert (chosen >= 0).tolist() == mine["selectable"].tolist()
        for name, span in SPANS.items():
            front = numbers(method["front"][name], "<u4")
            wanted = frames.front_of(mine, COSTS[name])
            assert mine["point"].iloc[front].tolist() == wanted["point"].tolist()
            stops = numbers(method["stops"][name], "<f8")
            for cost in wanted[column_of(COSTS[name])]:
                # the least budget on the slider's grid that allows it
                allowing = stops[stops * span.factor >= cost * (1 - 1e-9)]
                assert allowing[0] * span.factor - cost < span.factor * 10.0**-span.decimals


def test_an_axis_shows_all_of_its_front_and_its_ticks_lie_on_it():
    table = frame()
    rows = picks.drawn(table, list(BUDGETS))
    body = payload.measured_body(sample.MODEL, rows, CLASSIFIER, 92.0, SPANS)
    heights = {height["id"]: height["scale"] for height in body["ys"]}
    assert list(heights) == ["divergence", "loss", "score"]
    assert heights["score"]["high"] > 92.0
    assert heights["loss"]["low"] < 0
    for axis in body["axes"]:
        costs = rows[column_of(COSTS[axis["id"]])]
        for scale in (axis["lin"], axis["log"], *heights.values()):
            places = [place for place, _ in scale["ticks"]]
            assert len(places) >= 3
            assert places == sorted(places)
            assert scale["low"] <= places[0]
            assert places[-1] <= scale["high"] * (1 + 1e-9)
        assert axis["unit"] in axis["lin"]["title"]
        assert axis["least"]["cost"] == costs[rows["selectable"]].min()


@pytest.mark.parametrize("layers", [10, 200, 1000])
def test_a_payload_stays_within_its_limit(layers):
    specs = tuple(
        LayerSpec(f"stage{at // 10}.{at}", "conv2d", 1000, 8, 8, 9000, 400, 400)
        for at in range(layers)
    )
    model = ModelSpec("deep", "0" * 64, specs)
    for methods in (1, 4, 12):
        most = picks.most_selectable(model, methods)
        assert 20 <= most <= 500
        assert methods * most * layers * 2 * 4 / 3 <= picks.MOST_BYTES or most == 20


@pytest.mark.parametrize(
    ("query", "value", "on", "complaints"),
    [
        ({}, None, True, 0),
        ({"bw": "30.5"}, 30.5, True, 0),
        ({"bw": "-3"}, SPANS["weight_bytes"].low, True, 1),
        ({"bw": "1e9"}, SPANS["weight_bytes"].high, True, 1),
        ({"bw": "nan"}, None, True, 1),
        ({"bw": "many"}, None, True, 1),
        ({"lw": "false"}, None, False, 0),
        ({"pt": "3:x"}, None, True, 1),
    ],
)
def test_a_link_is_read_and_what_makes_no_sense_is_said(query, value, on, complaints):
    view = read_view(query, SPANS)
    assert view.values["weight_bytes"] == (SPANS["weight_bytes"].start if value is None else value)
    assert view.on == {"weight_bytes": on, "bit_ops": False, "points": False, "nats": False}
    assert len(view.wrong) == complaints
    assert list(view.limits(SPANS)) == (["weight_bytes"] if on else [])
