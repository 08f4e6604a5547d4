import dataclasses
import shutil

import numpy as np
import pytest
from sqlalchemy import update

from pages.shared.text import literal
from qcore.models.cards import Card, write_card
from qcore.models.preprocessing import Preprocessing
from qcore.problem import Point, Scores
from qcore.quantization_card import card_of, rows
from qcore.run_spec import offered
from qcore.searches import SEARCHES
from store import all_runs, create_run, run, save_model
from store.database.schema import RunRow
from store.runs.lease import ON_CORRECTION, ON_DATA, log, requeue
from store.runs.queue import finish
from tests.pages import sample


def press(at, label):
    next(b for b in at.button if b.label == label).click().run()
    assert not at.exception
    return at


def inputs(at):
    """Keys of every input on the page."""
    kinds = (
        *(at.number_input, at.selectbox, at.toggle, at.multiselect, at.text_area, at.text_input),
    )
    return {element.key for kind in kinds for element in kind}


def runs_table(at):
    return next(each.value for each in at.dataframe if each.key == "runs-table")


def test_every_search_has_an_input_for_every_field_and_starts_with_its_defaults(app, store):
    at = app("searches")
    for name, search in SEARCHES.items():
        at.selectbox(key="search").set_value(name).run()
        fields = {f"p-{name}-{field.name}" for field in dataclasses.fields(search.params)}
        assert fields <= inputs(at), name
        if name == "given":  # it cannot do without allocations
            continue
        known = {entry.id for entry in all_runs(store)}
        press(at, "Start search")
        started = [entry for entry in all_runs(store) if entry.id not in known]
        seeds = [0, 1, 2] if search.chance else [0]
        assert sorted(entry.spec.seed for entry in started) == seeds, name
        assert {entry.state for entry in started} == {"queued"}
        for spec in (entry.spec for entry in started):
            assert (spec.search, spec.params) == (name, {})
            assert spec.weight_bits == offered(name, (2, 3, 4, 8))
            assert spec.activation_bits == (32,)
            assert spec.pin_first_last is None
            assert spec.correction is None


def test_what_is_filled_in_is_what_is_asked_for(app, store):
    at = app("searches", search="Exact front")
    at.number_input(key="p-exact-points").set_value(5)
    at.selectbox(key="p-exact-sensitivity").set_value("kl")
    at.toggle(key="f-pin").set_value(True)
    at.toggle(key="f-tuning").set_value(True)
    at.selectbox(key="f-quantizer").set_value("absmax")
    at.selectbox(key="f-rounding").set_value("gptq")
    at.selectbox(key="f-correction").set_value("parallel")
    at.segmented_control(key="f-what").set_value("weights and activations")
    at.text_input(key="f-seeds").set_value("7")
    at.number_input(key="f-search").set_value(512)
    at.number_input(key="f-reported").set_value(3)
    at.multiselect(key="f-limits").set_value(["weight_bytes"])
    at.text_input(key="f-name").set_value("mine")
    at.run()
    at.text_input(key="f-limit-weight_bytes").set_value("40 KiB").run()
    press(at, "Start search")
    (started,) = all_runs(store)
    assert started.name == "mine"
    spec = started.spec
    assert spec.params == {"points": 5, "sensitivity": "kl"}
    assert (spec.pin_first_last, spec.tuning, spec.seed, spec.search_images) == (8, True, 7, 512)
    assert (spec.reported, spec.quantizer, spec.rounding) == (3, "absmax", "gptq")
    assert spec.correction == "parallel"
    assert spec.activation_bits == (4, 8)
    assert spec.limits == {"weight_bytes": 40 * 1024}


def test_a_budget_that_cannot_be_met_is_refused_in_words(app, store):
    at = app("searches", search="Exact front")
    at.multiselect(key="f-limits").set_value(["weight_bytes"]).run()
    assert any("With these bits from" in caption.value for caption in at.caption)
    at.text_input(key="f-limit-weight_bytes").set_value("1 KiB").run()
    # said at the field at once, and to the byte when it is asked for
    assert ["the least is 18.8 KiB (19,268 B)" in error.value for error in at.error] == [True]
    assert any("It cannot begin: No bits fit" in caption.value for caption in at.caption)
    press(at, "Start search")
    assert literal("smallest possible is 19,268 B") in at.error[-1].value
    assert all_runs(store) == []


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("p-exact-points", 0, "between 1 and 500"),
        ("f-search", 0, "search images"),
        ("f-reported", 0, "Test 1 to"),
    ],
)
def test_a_number_out_of_range_is_refused_in_words(app, store, field, value, words):
    at = app("searches", search="Exact front")
    at.number_input(key=field).set_value(value).run()
    press(at, "Start search")
    assert words in at.error[0].value
    assert all_runs(store) == []


def test_allocations_are_read_from_lines_of_json(app, store):
    at = app("searches", search="Given allocations")
    at.text_area(key="p-given-allocations").set_value("{not json").run()
    assert "one JSON object per line" in at.error[0].value
    line = '{"conv1": [4, 32]}'
    at.text_area(key="p-given-allocations").set_value(f"{line}\n\n{line}").run()
    press(at, "Start search")
    assert all_runs(store)[0].spec.params["allocations"] == [{"conv1": [4, 32]}, {"conv1": [4, 32]}]


def test_a_model_without_bundled_data_asks_for_a_folder_that_is_there(app, store, tmp_path):
    at = app("searches", model="resnet18", search="Uniform bits")
    press(at, "Start search")
    assert "needs a folder" in at.error[0].value
    box = "f-folder-resnet18-imagefolder"
    at.text_input(key=box).set_value("/nowhere/images").run()
    press(at, "Start search")
    assert "There is nothing at" in at.error[0].value
    assert all_runs(store) == []
    for name in ("images", "a b/%#?"):
        (tmp_path / name).mkdir(parents=True)
        at.text_input(key=box).set_value(f"'{tmp_path}/{name}' ").run()
        press(at, "Start search")
        assert all_runs(store)[0].spec.data == f"imagefolder:{tmp_path}/{name}"


def test_the_table_lists_state_method_and_best(app, filled):
    at = app("searches")
    table = runs_table(at)
    assert table["Method"].tolist() == ["Random", "Portfolio", "Uniform bits"]
    assert set(table["State"]) == {"done"}
    assert table["Evaluations"].tolist() == [10, 20, 4]
    assert table["Best within budget, %"].tolist() == pytest.approx([74.9, 81.7, 86.0])


@pytest.mark.parametrize(
    ("typed", "limit"), [("3.5 bits", 33_719), ("40 % of 8 bits", 30_828), ("8x smaller", 38_536)]
)
def test_a_budget_is_typed_as_people_write_it(app, store, typed, limit):
    at = app("searches", search="Exact front")
    at.multiselect(key="f-limits").set_value(["weight_bytes"]).run()
    at.text_input(key="f-limit-weight_bytes").set_value(typed).run()
    press(at, "Start search")
    assert all_runs(store)[0].spec.limits == {"weight_bytes": limit}


def test_a_budget_that_is_none_is_refused_at_its_field_and_keeps_the_form(app, store):
    at = app("searches", search="Exact front")
    at.text_input(key="f-seeds").set_value("7")
    at.multiselect(key="f-limits").set_value(["weight_bytes"]).run()
    at.text_input(key="f-limit-weight_bytes").set_value("3,5 kB").run()
    assert [literal("with a point: 3.5 kB") in error.value for error in at.error] == [True]
    press(at, "Start search")
    assert not at.exception
    assert all_runs(store) == []
    at.text_input(key="f-limit-weight_bytes").set_value("40 kB").run()
    press(at, "Start search")
    (started,) = all_runs(store)
    assert (started.spec.limits, started.spec.seed) == ({"weight_bytes": 40_000}, 7)


def test_one_press_queues_methods_times_budgets_times_seeds(app, store):
    at = app("searches", search="CMA-ES")
    at.multiselect(key="f-also").set_value(["random"])
    at.multiselect(key="f-limits").set_value(["weight_bytes"])
    at.text_input(key="f-seeds").set_value("0-1").run()
    at.toggle(key="f-spread").set_value(True).run()
    assert any("20 runs" in caption.value for caption in at.caption)
    press(at, "Start search")
    queued = all_runs(store)
    assert len(queued) == len({entry.name for entry in queued}) == 20
    found = {(e.spec.search, e.spec.limits["weight_bytes"], e.spec.seed) for e in queued}
    assert len(found) == 20
    assert len({limit for _, limit, _ in found}) == 5


def test_a_link_asks_to_search_near_a_point(app, store):
    at = app("searches", search="CMA-ES", near="weight_bytes:40960,bit_ops:400000000,nonsense:3")
    assert at.multiselect(key="f-limits").value == ["weight_bytes", "bit_ops"]
    press(at, "Start search")
    assert all_runs(store)[0].spec.limits == {"weight_bytes": 40_960, "bit_ops": 400_000_000}
    at = app("searches", near="weight_bytes:-3,,bit_ops:many")
    assert at.multiselect(key="f-limits").value == []


def test_a_link_begins_with_the_bits_pins_and_images_of_a_run(app, store):
    spec = sample.spec_of(
        "exact",
        weight_bits=(3, 5),
        activation_bits=(6, 8),
        pin_first_last=8,
        search_images=2048,
        calibration_images=256,
        images_seed=3,
        seed=7,
        limits={"bit_ops": 9e8},
    )
    number = create_run(store, spec, "like this")
    at = app("searches", near="weight_bytes:40960", like=str(number))
    assert at.multiselect(key=f"f-limits-{number}").value == ["weight_bytes"]
    press(at, "Start search")
    queued = all_runs(store)[0].spec
    for name in ("weight_bits", "activation_bits", "pin_first_last", "search_images"):
        assert getattr(queued, name) == getattr(spec, name), name
    assert (queued.calibration_images, queued.images_seed, queued.seed) == (256, 3, 7)
    assert queued.limits == {"weight_bytes": 40_960}
    assert len(all_runs(store)) == 2
    # a run that is gone, or of another network, changes nothing
    for other in ("99", "x", "1e9"):
        at = app("searches", like=other)
        assert not at.exception
        assert at.text_input(key="f-seeds").value == "0, 1, 2"


def test_seeds_that_are_none_are_refused_in_words(app, store):
    at = app("searches")
    at.text_input(key="f-seeds").set_value("one").run()
    assert "whole numbers" in at.error[0].value
    assert all_runs(store) == []


def tick(at, rows):
    at.session_state["runs-table"] = {"selection": {"rows": rows, "columns": [], "cells": []}}
    return at.run()


def test_several_runs_can_be_repeated_and_deleted_at_once(app, filled):
    at = tick(app("searches"), [0, 2])
    at = press(at, "Repeat 2 with new seeds")
    fresh = [entry for entry in all_runs(filled) if entry.state == "queued"]
    assert {(e.spec.search, e.spec.seed) for e in fresh} == {("random", 1), ("uniform", 1)}
    at = tick(app("searches"), [2, 3])
    press(at, "Delete all for good")
    assert len(all_runs(filled)) == 3


def test_a_recorded_run_says_so(app, store):
    held = sample.add_run(store, "uniform", [sample.point(sample.uniform(4), 900)])
    finish(store, *held, "done")
    with store.write() as connection:
        words = "recorded on 2026-01-02 with bitdial 9"
        connection.execute(update(RunRow).values(origin=words))
    at = app("searches")
    assert runs_table(at)["Origin"].tolist() == [words]
    assert any(words in box.value for box in at.info)


def labels(at):
    """Buttons that can be pressed, the launch form's own left out."""
    others = ("Start search",)
    return [
        b.label
        for b in at.button
        if not b.disabled and b.label not in others and not (b.key or "").startswith("f-")
    ]


def test_a_running_search_can_be_paused_stopped_and_resumed(app, store):
    number, attempt = sample.add_run(store, "uniform", [sample.point(sample.uniform(4), 900)])
    at = press(app("searches"), "Pause")
    assert run(store, number).want == "pause"
    assert any("pausing: stops when the batch in hand" in m.value for m in at.markdown)
    assert "Pause" not in labels(at)
    press(at, "Stop now")
    assert run(store, number).want == "stop"
    requeue(store, number, attempt, "its worker was killed")
    at = app("searches")
    assert labels(at) == ["Resume", "Cancel", "Delete for good"]
    press(at, "Resume")
    assert (run(store, number).state, run(store, number).want) == ("queued", "run")
    assert {"Pause", "Cancel"} <= set(labels(at))


def test_a_failed_search_can_be_tried_again(app, store):
    held = sample.add_run(store, "uniform", [sample.point(sample.uniform(4), 900)])
    finish(store, *held, "failed", "The disk is full.")
    press(app("searches"), "Try again")
    assert run(store, held[0]).state == "queued"


def test_a_wish_for_a_search_that_has_ended_meanwhile_changes_nothing(app, store):
    held = sample.add_run(store, "uniform", [sample.point(sample.uniform(4), 900)])
    at = app("searches")
    finish(store, *held, "done")
    press(at, "Cancel")
    assert run(store, held[0]).state == "done"
    assert labels(at) == ["Delete for good"]


def test_a_running_search_can_be_cancelled(app, store):
    number, _ = sample.add_run(store, "uniform", [sample.point(sample.uniform(4), 900)])
    at = app("searches")
    press(at, "Cancel")
    assert run(store, number).want == "cancel"
    assert any("cancelling" in m.value for m in at.markdown)


def test_a_finished_search_can_be_deleted(app, filled):
    at = app("searches", run="2")
    assert at.selectbox(key="run").value == 2
    press(at, "Delete for good")
    assert [entry.id for entry in all_runs(filled)] == [3, 1]


GUESSES = Scores(2_000, 0.0, 1.0, 0.1, 2.3)


@pytest.fixture
def guessing(store):
    """A network of ten classes that names a tenth of the images right."""
    everything = Point(sample.uniform(32, 32), GUESSES, GUESSES)
    save_model(store, sample.MODEL, "fashion-mnist", everything)
    return store


def test_a_network_that_guesses_is_searched_only_when_that_is_ticked(app, guessing):
    at = app("searches", search="Exact front")
    assert any(literal("comes to 10.0 %") in warning.value for warning in at.warning)
    press(at, "Start search")
    assert "Tick Search it anyway" in at.error[0].value
    assert all_runs(guessing) == []
    at.checkbox(key="f-anyway").check().run()
    press(at, "Start search")
    (started,) = all_runs(guessing)
    assert started.spec.anyway


def test_a_run_of_a_network_that_guesses_says_so_and_can_be_asked_for_again(app, guessing):
    held = sample.add_run(guessing, "uniform", [])
    finish(guessing, *held, "failed", "Nothing was searched.")
    at = app("searches", run=str(held[0]))
    assert any(literal("comes to 10.0 %") in warning.value for warning in at.warning)
    press(at, "Search anyway")
    again = max(all_runs(guessing), key=lambda entry: entry.id)
    assert again.id != held[0]
    assert again.spec.anyway


def test_a_run_shows_its_quantization_card(app, filled):
    at = app("searches", run="2")
    card = next(e.value for e in at.table if "How" in e.value)
    wanted = [[literal(cell) for cell in row] for row in rows(card_of(run(filled, 2).spec))]
    assert card.to_numpy().tolist() == wanted


def test_a_link_to_a_deleted_run_falls_back(app, filled):
    at = app("searches", run="77")
    assert at.selectbox(key="run").value == 3


def test_a_failure_keeps_its_traceback_at_hand(app, store):
    held = sample.add_run(store, "uniform", [])
    finish(store, *held, "failed", "Out of memory.", "Traceback: somewhere")
    at = app("searches")
    assert [error.value for error in at.error] == [literal("Out of memory.")]
    assert "Traceback: somewhere" in [code.value for code in at.code]


def test_what_happened_is_listed(app, filled):
    at = app("searches")
    assert any("submitted" in line.value for line in at.text)
    assert any("claimed" in line.value for line in at.text)


def test_what_was_left_out_of_a_runs_data_is_said_as_text(app, store):
    run_id = create_run(store, sample.spec_of("uniform"))
    words = "1 of 9 files was left out. /photos/*a* <img src=x>.png cannot be read."
    with store.write() as connection:
        log(connection, run_id, ON_DATA, words)
    at = app("searches", run=str(run_id))
    assert literal(words) in [info.value for info in at.info]


def test_a_run_says_how_its_layers_are_corrected_and_why(app, store):
    run_id = create_run(store, sample.spec_of("uniform", correction="off"))
    words = "Correction of quantized layers: off. Divergence (1 - *cosine*) at 3 bits: off 0.1."
    with store.write() as connection:
        log(connection, run_id, ON_CORRECTION, words)
    at = app("searches", run=str(run_id))
    assert literal(words) in [caption.value for caption in at.caption]


def test_who_searches_on_from_a_run_corrects_as_it_did(app, store):
    run_id = create_run(store, sample.spec_of("uniform", correction="off"))
    at = app("searches", model="resnet8", like=str(run_id))
    assert at.selectbox(key=f"f-correction-{run_id}").value == "off"


def test_the_form_says_how_many_runs_it_would_start(app, store):
    at = app("searches")
    assert any(note.value.startswith("3 runs") for note in at.caption)


@pytest.fixture
def own(place):
    """A network of one's own that was added with files of its own."""
    steps = Preprocessing(1, 8, 8, mean=(0.5,), std=(0.5,))
    place.mkdir(parents=True, exist_ok=True)
    np.savez(place / "*all*.npz", x=np.zeros((1, 1, 8, 8), np.float32))
    data = (f"tensors:{place}/*all*.npz", "imagefolder:/other")
    card = Card("mine", "Mine", "onnx", "onnx2torch", (1, 8, 8), 3, steps, data=data)
    write_card(card, None, dataclasses.replace(sample.MODEL, name="mine"))
    yield card
    shutil.rmtree(place / "networks")


def test_a_network_of_ones_own_begins_with_the_data_it_was_added_with(app, store, own):
    at = app(model="mine")
    assert literal(f"On {own.data[0]}") in "".join(caption.value for caption in at.caption)
    press(at, "Start the first search")
    press(app("searches", model="mine", search="Uniform bits"), "Start search")
    names = [entry.name for entry in all_runs(store) if entry.spec.search == "uniform"]
    # the first search is not over yet, and nobody chose these names
    assert names == ["Uniform bits on mine (2)", "Uniform bits on mine"]
    assert {entry.spec.data for entry in all_runs(store)} == {own.data[0]}


def test_several_searches_of_one_network_are_explored_together(app, filled):
    at = tick(app("searches"), [0, 2])
    (link,) = [p.proto for p in at.get("page_link") if p.proto.label == "Explore 2 runs"]
    assert "runs=3%2C1" in link.query_string or "runs=3,1" in link.query_string


def test_the_network_of_a_finished_bitmixer_run_can_be_searched_again(app, store):
    sample.fill(store)
    widths = {"weight_bits": (2, 4), "activation_bits": (2, 4)}
    points = [sample.point(sample.uniform(4, 4), 812, stage="layer-wise")]
    held = sample.add_run(store, "bitmixer", points, **widths)
    finish(store, *held, "done")
    at = app("searches", run=str(held[0]))
    at.number_input(key="again-bits").set_value(2.5).run()
    at.button(key="again").click().run()
    assert not at.exception
    spec = all_runs(store)[0].spec
    weights = sum(layer.weights for layer in sample.MODEL.layers)
    assert (spec.search, spec.weight_bits) == ("metanetwork", (2, 4))
    assert spec.params == {"run": held[0], "stage": "layer-wise", "methods": ["exact"]}
    assert spec.limits == {"weight_bytes": weights * 2.5 / 8}
