"""What is set on layers, in the page's address, its payload and its picks."""

import json
import random

import pytest

from pages.explore.payload import picks
from pages.shared import frames, predictions, session
from pages.shared.columns import WEIGHT_BITS
from pages.shared.held import held_of, held_of_text
from pages.shared.points_table import points_frame
from pages.shared.ranges import BUDGETS
from pages.workbench.bench import state_key
from store import all_runs
from tests import held as by_hand
from tests.pages import sample

NAMES = list(sample.MODEL.names)


def sent(at):
    """What the explorer in the browser was given."""
    (element,) = [each for each in at.get("bidi_component") if each.key == "explorer"]
    return json.loads(element.proto.json)


@pytest.mark.parametrize("seed", range(8))
def test_picks_of_what_is_set_are_those_of_all_points_that_have_it(seed):
    rng = random.Random(seed)
    stored = [
        sample.stored(at, 1 + at % 2, sample.point(bits, 700 + rng.randrange(200)))
        for at, bits in enumerate(sample.allocations(120, activations=(4, 8)))
    ]
    runs = {1: sample.run_of(1, "uniform"), 2: sample.run_of(2, "random")}
    frame = points_frame(stored, runs, sample.MODEL)
    layer, other = rng.sample(NAMES, 2)
    rules = [
        {"pattern": layer, "part": "weight", "allow": rng.sample((2, 3, 4, 8), 2)},
        {"tie": [layer, other], "part": "activation"},
    ]
    rows = picks.drawn(frame, list(BUDGETS), held=held_of(rules, sample.MODEL))
    having = frame[[by_hand.admits(rules, bits) for bits in frame["allocation"]]]
    assert 0 < len(having) < len(frame)
    assert set(rows.loc[rows["kept"], "point"]) == set(having["point"])
    usable = rows[rows["selectable"] & rows["kept"]]
    for limit in (25_000.0, 35_000.0, 45_000.0, 1e9):
        for limits in ({"weight_bytes": limit}, {"weight_bytes": limit, "bit_ops": 300 * limit}):
            wanted = frames.picks(having, limits)["point"].tolist()
            assert frames.picks(usable, limits)["point"].tolist() == wanted


def test_a_link_sets_layers_and_the_pick_below_has_them(app, filled):
    frame = session.frame(filled, all_runs(filled, "resnet8"), sample.MODEL)
    chosen = frames.picks(frame[frame["method"] == "Random"], {})["allocation"].iloc[0]
    width = chosen[NAMES[2]].weight
    at = app(held=f"w2b{width}", lw="false")
    assert sent(at)["init"]["held"] == [{"pattern": NAMES[2], "part": "weight", "allow": [width]}]
    having = frame[[bits[NAMES[2]].weight == width for bits in frame["allocation"]]]
    best = frames.picks(having, {})
    table = next(each.value for each in at.dataframe if "Method" in each.value)
    assert table["Method"].tolist() == best["method"].tolist()
    told = dict(zip(table["Method"], table[WEIGHT_BITS], strict=True))
    for row in best.to_dict("records"):
        assert float(told[row["method"]]) == pytest.approx(row[WEIGHT_BITS], abs=0.005)


def test_a_predicted_pick_has_what_the_link_sets(app, filled):
    words = "w1b8_w5.7"
    at = app(src="predicted", held=words, bw="40")
    body = sent(at)
    held = held_of_text(words, sample.MODEL)
    assert body["settled"]["held"] == body["init"]["held"] == held.to_json()
    table = next(iter(session.sensitivity_tables(filled, sample.MODEL).values()))
    limits = {"weight_bytes": 40 * 1024.0}
    pick = predictions.predicted_pick("x", table, sample.MODEL, limits, held=held).iloc[0]
    free = predictions.predicted_pick("x", table, sample.MODEL, limits).iloc[0]
    assert body["settled"]["score"] == pytest.approx(pick["Predicted damage"])
    assert pick["Predicted damage"] > free["Predicted damage"]


@pytest.mark.parametrize("source", ["measured", "predicted"])
def test_what_leaves_nothing_is_said_below_too(app, filled, source):
    at = app(src=source, held="w0b")
    assert any("with what is set on the layers" in info.value for info in at.info)


def test_a_link_to_the_workbench_brings_locks_along(app, filled):
    number = next(run.id for run in all_runs(filled, "resnet8") if run.spec.search == "uniform")
    at = app("workbench", model="resnet8", pt=f"{number}:1", held="w0.3b2_a5b32_w7b2.3")
    bench = at.session_state[state_key(sample.MODEL)]
    locked = [place for place, row in enumerate(bench.now.rows) if row.locked]
    assert locked == [0, 3, 5]
