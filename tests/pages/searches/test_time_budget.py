"""Minutes become epochs by the measured speed, on the page and on the command line."""

import dataclasses
import json

import pytest

from qcore.qat.pace import Pace, paced
from qcore.run_spec import RunSpec
from qcore.searches import SEARCHES
from store import all_runs
from store.__main__ import main
from store.jobs import pace as paces
from store.jobs.opening import Look

PACE = Pace(1 / 650, 1 / 2500, 12.0, 7952, 1024, 10_000)
SPEC = RunSpec("resnet8", "fashion-mnist", "dq")


def keep(store, text: str | None = None) -> None:
    path = paces.pace_path(store, SPEC)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(PACE.to_json()) if text is None else text)


def said(at) -> str:
    return " ".join(each.value for each in at.caption)


def test_minutes_become_epochs_of_every_run_that_trains(app, store):
    keep(store)
    at = app("searches", search="DQ (learned bits)")
    at.multiselect(key="f-also").set_value(["exact", "spnets"]).run()
    at.segmented_control(key="f-minutes").set_value("30 min").run()
    assert not at.exception
    assert "at 650 samples a second here" in said(at)
    # what the minutes work out is shown, and not to be edited beside them
    fields = {each.label: each.disabled for each in at.number_input}
    work = SEARCHES["dq"].work
    labels = [field.metadata["label"] for field in dataclasses.fields(SEARCHES["dq"].params)
              if field.name in work.epochs]  # fmt: skip
    assert labels
    assert all(fields[label] for label in labels)
    assert sum(fields.values()) == len(labels)
    assert r"SP\-Nets\: 5 min" in said(at)
    next(b for b in at.button if b.label == "Start search").click().run()
    assert not at.exception
    started = {run.spec.search: run.spec for run in all_runs(store)}
    for name in ("dq", "spnets"):
        assert started[name].params == paced(SEARCHES[name], 30, PACE, 4)
    assert started["exact"].params == {}


def test_until_the_speed_is_known_nothing_can_be_started(app, store, monkeypatch):
    asked = []
    monkeypatch.setattr(paces, "start", lambda store, spec: asked.append(spec))
    monkeypatch.setattr(paces, "look", lambda store, spec: Look("running", "Calibrating"))
    at = app("searches", search="DQ (learned bits)")
    at.segmented_control(key="f-minutes").set_value("5 min").run()
    assert not at.exception
    assert asked[0].model == "resnet8"
    assert "Measuring how fast" in said(at)
    assert next(b for b in at.button if b.label == "Start search").disabled
    keep(store)
    at.run()
    assert not next(b for b in at.button if b.label == "Start search").disabled


def test_a_measurement_that_failed_is_told_once_and_can_be_tried_again(app, store, monkeypatch):
    asked = []
    monkeypatch.setattr(paces, "start", lambda store, spec: asked.append(spec))
    monkeypatch.setattr(paces, "look", lambda store, spec: Look("failed", "no <b>labels</b>"))
    at = app("searches", search="DQ (learned bits)")
    at.segmented_control(key="f-minutes").set_value("5 min").run()
    at.run()
    assert any("labels" in each.value for each in at.error)
    count = len(asked)
    at.run()
    assert len(asked) == count
    at.button(key="f-pace-again").click().run()
    assert len(asked) > count


def test_searches_that_train_nothing_have_no_minutes(app, store):
    at = app("searches", search="Exact front")
    assert "f-minutes" not in [each.key for each in at.segmented_control]


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"train_seconds": 1e999}', "null"])
def test_a_damaged_pace_is_no_pace(store, text):
    keep(store, text)
    assert paces.read_pace(store, SPEC) is None


def test_the_command_line_takes_minutes_too(store, capsys):
    keep(store)
    url = ["--database", store.url]
    dq = ["run", "--search", "dq", "--limit", "weight_bytes=24085", "--detach"]
    assert main([*url, *dq, "--minutes", "30"]) == 0
    (run,) = all_runs(store)
    assert run.spec.params == paced(SEARCHES["dq"], 30, PACE, 4)
    assert "30 minutes: Epochs of bits" in capsys.readouterr().out
    assert main([*url, "run", "--search", "exact", "--detach", "--minutes", "30"]) == 2
    assert "trains nothing" in capsys.readouterr().err
    assert main([*url, *dq, "--minutes", "0.01"]) == 2
    assert "too few" in capsys.readouterr().err
    assert len(all_runs(store)) == 1
