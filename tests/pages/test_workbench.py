import json

import pytest

from pages.workbench.bench import editor_key, state_key
from pages.workbench.draft import LOCKED, WEIGHT
from qcore.allocation import LayerBits
from qcore.problem import Point, Scores
from store import all_runs, configs, save_config
from store.runs.queue import finish
from tests.pages import sample
from tests.pages.test_app import texts

NAMES = sample.MODEL.names
EIGHT = "8.f"
"""As in an address: 8 bits in every layer, activations in float."""


def bench(at):
    return at.session_state[state_key(sample.MODEL)]


def bits(at):
    """(weight, activation) of every row of the draft."""
    return [(row.weight, row.activation) for row in bench(at).now.rows]


def type_in(at, **cells):
    """Type into the table as a browser does: row_2=4 types 4 weight bits into its row 2."""
    key = editor_key(sample.MODEL, bench(at))
    rows = {int(name.removeprefix("row_")): {WEIGHT: str(value)} for name, value in cells.items()}
    return edit(at, key, rows)


def edit(at, key, rows):
    at.session_state[key] = {"edited_rows": rows, "added_rows": [], "deleted_rows": []}
    at.run()
    assert not at.exception
    return at


def press(at, label):
    next(button for button in at.button if button.label == label).click().run()
    assert not at.exception
    return at


def drawn(at):
    """What the picture of the bits was given."""
    sent = [json.loads(element.proto.json) for element in at.get("bidi_component")]
    (data,) = [each for each in sent if "prediction" in each]
    return data


def damage(at, bits):
    """What the picture adds up for its bits "now" or at the "start"."""
    data = drawn(at)
    return sum(
        row[data["widths"].index(width)]
        for part, rows in data["prediction"]["damage"].items()
        for row, width in zip(rows, data[bits][part], strict=True)
    )


def metric(at, label):
    return next(metric for metric in at.metric if metric.label == label)


def figure(at, key):
    return next(
        json.loads(element.proto.spec)
        for element in at.get("plotly_chart")
        if key in element.proto.id
    )


def test_typed_bits_change_costs_prediction_and_link_at_once(app, filled):
    at = type_in(app("workbench", bits=EIGHT), row_2=4)
    wanted = [(8, 32)] * len(NAMES)
    wanted[2] = (4, 32)
    assert bits(at) == wanted
    # 2,304 weights at 4 bits less
    assert metric(at, "Weights").delta == "-1.12 KiB"
    assert damage(at, "now") == pytest.approx(0.391, abs=5e-4)
    assert damage(at, "start") == pytest.approx(0.215, abs=5e-4)
    assert drawn(at)["prediction"]["unit"] == "nats"
    assert at.query_params["bits"] == "8848888888.f"
    assert any(trace["name"] == "starting point" for trace in figure(at, "area")["data"])


def test_undo_redo_and_reset_go_through_what_was_typed(app, filled):
    at = type_in(app("workbench", bits=EIGHT), row_0=2)
    type_in(at, row_0=2, row_1=3)
    press(at, "Undo")
    assert bits(at)[:2] == [(2, 32), (8, 32)]
    press(at, "Redo")
    assert bits(at)[:2] == [(2, 32), (3, 32)]
    press(at, "Back to the start")
    assert set(bits(at)) == {(8, 32)}
    press(at, "Undo")
    assert bits(at)[:2] == [(2, 32), (3, 32)]


def test_bits_that_make_no_sense_are_named_and_kept(app, filled):
    at = type_in(app("workbench"), row_1=24, row_3=4)
    (error,) = at.error
    assert "row 2" in error.value
    assert "weight bits 24" in error.value
    assert bits(at)[1] == ("24", 32)
    assert metric(at, "Weights").value
    assert not at.query_params.get("bits")
    type_in(at, row_1=6, row_3=4)
    assert not at.error
    assert bits(at)[1] == (6, 32)
    assert bits(at)[3] == (4, 32)


def test_rules_leave_locked_layers_alone(app, filled):
    at = app("workbench", bits=EIGHT)
    key = editor_key(sample.MODEL, bench(at))
    edit(at, key, {0: {LOCKED: True}})
    at.selectbox(key="wb-bits").set_value(3).run()
    press(at, f"Apply to {len(NAMES) - 1} layers")
    assert bits(at)[0] == (8, 32)
    assert set(bits(at)[1:]) == {(3, 32)}


def test_a_link_opens_a_measured_point_and_its_edits(app, filled):
    stored = next(run for run in all_runs(filled, "resnet8") if run.spec.search == "uniform")
    at = app("workbench", model="resnet8", pt=f"{stored.id}:1", bits="4" * 9 + "8.f")
    assert bench(at).now.start.allocation == sample.uniform(2)
    assert bits(at) == [*[(4, 32)] * 9, (8, 32)]
    press(at, "Back to the start")
    assert "85.00" not in texts(at)
    assert "on the test split" in texts(at)
    assert "on the test split**, float 92.00 %" in texts(at)


@pytest.mark.parametrize(
    "query", [{"pt": "999:1"}, {"pt": "one:two"}, {"pt": "1:999999"}, {"bits": "44.f"}]
)
def test_a_stale_link_is_told_and_left_aside(app, filled, query):
    at = app("workbench", **query)
    assert len(at.toast) == 1
    # it opens where it does without a link
    plain = app("workbench")
    assert bits(at) == bits(plain)
    assert at.query_params["pt"] == plain.query_params["pt"]
    assert not at.query_params.get("bits")


def test_measuring_queues_these_bits_once_and_shows_them_when_done(app, filled):
    at = type_in(app("workbench", bits=EIGHT), row_0=6)
    press(at, "Measure these bits")
    newest = all_runs(filled, "resnet8")[0]
    wanted = sample.uniform(8).replace(NAMES[0], LayerBits(6))
    assert newest.spec.search == "given"
    assert newest.spec.params["allocations"] == [wanted.to_json()]
    assert any("being measured" in info.value for info in at.info)
    assert "Measure these bits" not in [button.label for button in at.button]


def test_bits_can_be_measured_on_a_network_that_a_run_has_trained(app, filled):
    four, two = sample.uniform(4, 4), sample.uniform(2, 2)
    points = [sample.point(four, 812, stage="layer-wise")]
    widths = {"weight_bits": (2, 4), "activation_bits": (2, 4)}
    run, attempt = sample.add_run(filled, "bitmixer", points, **widths)
    finish(filled, run, attempt, "done")
    at = app("workbench", bits=EIGHT)
    at.selectbox(key="wb-network").select(run).run()
    assert "was not trained at 8\\/32 bits" in texts(at)
    assert "Measure these bits" not in [button.label for button in at.button]
    spread(at, 4)
    assert "81.20 %" in texts(at)
    spread(at, 2)
    press(at, "Measure these bits")
    asked = all_runs(filled, "resnet8")[0].spec
    assert (asked.search, asked.params["run"]) == ("metanetwork", run)
    assert asked.params["allocations"] == [two.to_json()]


def spread(at, width):
    """Start from the same bits everywhere, weights and activations."""
    at.selectbox(key="wb-uw").select(width)
    at.selectbox(key="wb-ua").select(width)
    at.button(key="wb-uniform").click().run()
    assert not at.exception


def test_measured_bits_can_be_saved_with_their_source(app, filled):
    at = app("workbench", pt="1:3")
    assert "on the test split" in texts(at)
    at.text_input[0].set_value("kept <b>bold</b>")
    press(at, "Save as configuration")
    (kept,) = configs(filled)
    assert kept.name == "kept <b>bold</b>"
    assert kept.source["run"] == 1


def test_a_pasted_list_that_does_not_fit_stays_and_names_what_is_wrong(app, filled):
    at = app("workbench", bits=EIGHT)
    at.segmented_control(key="wb-way").set_value("A pasted list").run()
    at.text_area(key="wb-paste").set_value('{"conv1": 19, "fc": [4, 8], "nowhere": 4}').run()
    (error,) = at.error
    assert "conv1 \\(19\\)" in error.value
    assert "nowhere" in at.text_area(key="wb-paste").value
    assert "Start from this" not in [button.label for button in at.button]
    at.text_area(key="wb-paste").set_value(json.dumps([[8, -1], *[[3, -1]] * 9])).run()
    press(at, "Start from this")
    assert bits(at) == [(8, 32), *[(3, 32)] * 9]
    assert bench(at).now.start.label == "a pasted list"
    press(at, "Undo")
    assert set(bits(at)) == {(8, 32)}


def test_starting_points_come_from_fronts_and_saved_configurations(app, filled):
    save_config(filled, "kept", sample.config_of(sample.point(sample.uniform(3), 900)))
    at = app("workbench")
    at.segmented_control(key="wb-way").set_value("A saved configuration").run()
    press(at, "Start from this")
    assert set(bits(at)) == {(3, 32)}
    at.segmented_control(key="wb-way").set_value("A measured point").run()
    press(at, "Start from this")
    assert bench(at).now.start.point == at.query_params["pt"]


def test_without_a_sensitivity_one_can_be_asked_for(app, store):
    at = app("workbench")
    assert "No sensitivity" in texts(at)
    press(at, "Compute a sensitivity")
    (asked,) = all_runs(store)
    assert asked.spec.search == "greedy"
    assert asked.spec.params == {"sensitivity": "kl", "points": 1}
    assert asked.spec.weight_bits == (2, 3, 4, 5, 6, 7, 8)
    assert "Compute a sensitivity" not in [button.label for button in at.button]


def test_a_model_that_was_never_prepared_leads_to_the_searches(app, store):
    at = app("workbench", model="resnet18")
    assert "layers are not known yet" in texts(at)
    assert not at.get("plotly_chart")


def test_predictions_that_rank_badly_hide_themselves(app, filled):
    # more bits measured worse: the opposite of what was predicted
    table = sample.table()
    points = [
        Point(bits, Scores(2048, 5.0 - sum(table.score(*item) for item in bits.items()), 0.9, 0.9))
        for bits in sample.allocations(40, seed=9)
    ]
    finish(filled, *sample.add_run(filled, "genetic", points, search_images=2048), "done")
    at = app("workbench")
    at.selectbox(key="on").set_value(
        next(o for o in at.selectbox(key="on").options if "2,048" in o)
    ).run()
    assert "predictions are hidden" in drawn(at)["prediction"]["words"]
    assert drawn(at)["prediction"]["damage"] is None


def test_another_model_has_a_draft_of_its_own(app, filled):
    at = type_in(app("workbench", bits=EIGHT), row_0=2)
    at.selectbox(key="model").set_value("resnet20").run()
    assert not at.exception
    at.selectbox(key="model").set_value("resnet8").run()
    assert not at.exception
    assert bits(at)[0] == (2, 32)
