"""The run-time page: a demand moves a network's switches, and its answers follow."""

from dataclasses import replace

import pytest

from pages.run_time import answers, options
from pages.shared.judged import CLASSIFIER
from qcore.costs import COSTS
from qcore.pictures.served import dump_served
from store import run
from store.jobs import runtime
from store.runs.checkpoints import FileCheckpoints
from store.runs.queue import finish
from tests.pages import sample
from tests.served import record_of

SWITCHES = [(2, 800), (4, 900), (8, 930)]


def points():
    return [
        sample.point(sample.uniform(bits, bits), right, tested=bits == 8, stage="switches")
        for bits, right in SWITCHES
    ]


def trained(store, weights=b"weights"):
    held = sample.add_run(store, "spnets", points())
    if weights:
        FileCheckpoints(store, *held).save("switches", 5, weights)
    finish(store, *held, "done")
    return run(store, held[0])


def keep(store, entry):
    asked = [each.point.allocation for each in runtime.measured(store, entry)]
    path = runtime.record_path(store, entry, asked)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dump_served(record_of(asked)), encoding="utf-8")
    return path


def said(at):
    kinds = (at.markdown, at.caption, at.info, at.warning, at.error, at.subheader)
    return "\n".join(element.value for kind in kinds for element in kind)


def test_without_a_network_that_switches_the_page_says_how_to_train_one(app, filled):
    at = app("run_time", model="resnet8")
    assert "that switches was trained yet" in said(at)
    assert not at.slider


def test_a_demand_moves_bits_cost_and_answers(app, store):
    sample.fill(store)
    entry = trained(store)
    keep(store, entry)
    at = app("run_time", model="resnet8")
    assert not at.error
    assert "Now: 8/8 bits" in said(at).replace("\\", "")
    assert "float network's: 2 of 4" in said(at).replace("\\", "")
    slider = next(each for each in at.slider if each.key.startswith("rt-level"))
    at = slider.set_value(slider.min).run()
    assert "Nothing that was measured meets this demand" in said(at)
    assert "Now: 2/2 bits" in said(at).replace("\\", "")
    assert "float network's: 0 of 4" in said(at).replace("\\", "")
    at = next(e for e in at.selectbox if e.key == "rt-kind").select("score").run()
    slider = next(each for each in at.slider if each.key == "rt-level-score")
    at = slider.set_value(85.0).run()
    assert "Now: 4/4 bits" in said(at).replace("\\", "")
    # names of classes are text
    assert "<b>boot</b>" not in said(at)
    assert not at.exception


def test_a_pasted_trace_is_replayed_and_nonsense_is_refused_in_words(app, store):
    sample.fill(store)
    keep(store, trained(store))
    at = app("run_time", model="resnet8")
    at.session_state["rt-mode"] = "Replay a trace"
    at = at.run()
    assert any(each.key == "rt-step" for each in at.slider)
    assert "every demand was met" in said(at) or "were not met" in said(at)
    at = next(e for e in at.selectbox if e.key == "rt-trace").select("Pasted numbers").run()
    at = at.text_area(key="rt-pasted").set_value("0 x").run()
    assert "Step 2 of the trace is" in said(at)
    at = at.text_area(key="rt-pasted").set_value("0 1e9 0").run()
    assert "3 steps, 2 switches; 2 were not met" in said(at).replace("\\", "")
    assert "Now: 2/2 bits" in said(at).replace("\\", "")
    at = next(each for each in at.slider if each.key == "rt-step").set_value(2).run()
    assert "Now: 8/8 bits" in said(at).replace("\\", "")
    assert not at.exception


def test_recorded_results_move_without_answers_and_say_what_to_do(app, store):
    sample.fill(store)
    trained(store, weights=b"")
    at = app("run_time", model="resnet8")
    assert "is not on this machine" in said(at)
    assert "Now: 8/8 bits" in said(at).replace("\\", "")
    assert "rt-compute" not in [each.key for each in at.button]


def test_a_network_that_is_here_can_be_asked_for_its_answers(app, store):
    sample.fill(store)
    path = keep(store, trained(store))
    path.write_text("{}", encoding="utf-8")
    at = app("run_time", model="resnet8")
    assert "cannot be read" in said(at)
    assert "rt-compute" in [each.key for each in at.button]


@pytest.mark.parametrize("kind", [options.SCORE, "weight_bytes", "bit_ops"])
def test_a_slider_reaches_all_that_can_run_and_further_than_anything_can(kind):
    stored = [sample.stored(at, 1, point) for at, point in enumerate(points())]
    able = options.options_of(stored, sample.MODEL, "kl", COSTS, CLASSIFIER)
    span = options.span_of(able, kind, COSTS)
    ends = [options.choose(able, kind, end * span.factor, "weight_bytes")
            for end in (span.low, span.high)]  # fmt: skip
    assert sorted(pick.met for pick in ends) == [False, True]
    assert span.low < span.high


def test_every_sample_says_what_changed():
    record = record_of([sample.uniform(8, 8), sample.uniform(2, 2)])
    lines = answers.lines_of(record, record.served[1].answers)
    assert [line.changed for line in lines] == [True, False, False, False]
    assert lines[0].before == "shirt, 90 %"
    assert lines[0].now == "<b>boot</b>, 50 %"
    numbers = replace(record, floats=replace(record.floats, classes=None, sure=None))
    assert "no classes" in answers.summary(numbers, lines)
