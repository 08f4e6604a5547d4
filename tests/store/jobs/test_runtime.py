"""A trained network that switches is run at each of its bits by a process of its own."""

import json
from dataclasses import replace

import numpy as np
import pytest

from qcore.allocation import BitAllocation
from qcore.engine import drive
from qcore.errors import InvalidAllocation, InvalidData, InvalidParams
from qcore.pictures.served import MOST_SERVED, dump_served, parse_served
from qcore.pictures.serving import serve
from qcore.prepare import prepare
from qcore.qat.checkpoints import MemoryCheckpoints
from qcore.run_spec import RunSpec
from qcore.searches import SEARCHES
from store import create_run, open_store, run
from store.__main__ import main
from store.database.locations import URL_VARIABLE
from store.jobs import runtime
from store.runs.checkpoints import FileCheckpoints
from store.runs.points import add_point, save_model
from store.runs.queue import claim, finish
from tests.pages import sample
from tests.served import record_of


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path))
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    return open_store()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """An SP-Nets run of resnet8 on some made images: its spec, stage, points and preparation."""
    file = tmp_path_factory.mktemp("images") / "small.npz"
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (120, 1, 28, 28), np.uint8), rng.integers(0, 10, 120)
    np.savez(file, x=x, y=y, x_test=x[:16], y_test=y[:16])
    spec = RunSpec(
        "resnet8", f"tensors:{file}", "spnets", {"epochs": 1, "epoch_images": 16},
        weight_bits=(2, 8), activation_bits=(2, 8), calibration_images=16, search_images=24,
        device="cpu", objective="kl",
    )  # fmt: skip
    kept = MemoryCheckpoints()
    prepared = prepare(spec, checkpoints=kept)
    search = SEARCHES["spnets"]
    found = []
    drive(
        search, prepared.problem, search.read_params(spec.params), 0, score=prepared.score,
        on_event=lambda event: found.append(event) if hasattr(event, "allocation") else None,
    )  # fmt: skip
    return spec, prepared.trainer.saved("switches"), found, prepared


def kept(store, trained, state="done"):
    """The run in a database, with its network."""
    spec, stage, found, prepared = trained
    create_run(store, spec, "switching")
    held = claim(store, "test")
    save_model(store, prepared.model, spec.images, prepared.float_point, prepared.evaluator.judge)
    for point in found:
        add_point(store, *held, point)
    FileCheckpoints(store, *held).save("switches", 1, stage)
    if state:
        finish(store, *held, state)
    return run(store, held[0])


def test_its_answers_are_those_that_were_scored(trained):
    spec, stage, found, _ = trained
    assert len(found) == 2
    record = serve(spec, stage, [point.allocation for point in found], count=24)
    for point, each in zip(found, record.served, strict=True):
        assert each.allocation == point.allocation
        assert each.answers.divergence.mean() == pytest.approx(point.search.kl, rel=1e-4)
        alike = (each.answers.classes == record.floats.classes).mean()
        assert alike == pytest.approx(point.search.agreement)
        right = (each.answers.classes == record.labels).mean()
        assert right == pytest.approx(point.search.accuracy)


def test_bits_it_was_not_trained_at_are_refused(trained):
    spec, stage, _, prepared = trained
    with pytest.raises(InvalidAllocation, match="not trained for these bits"):
        serve(spec, stage, [BitAllocation.uniform(prepared.model.layers, 4, 4)])
    with pytest.raises(InvalidParams, match="got 0"):
        serve(spec, stage, [])


def test_the_command_keeps_a_record_that_the_server_finds(store, trained, capsys):
    entry = kept(store, trained)
    asked = [each.point.allocation for each in runtime.measured(store, entry)]
    path = runtime.record_path(store, entry, asked)
    assert runtime.read_record(path) is None
    assert main(["runtime", str(entry.id)]) == 0
    record = runtime.read_record(path)
    assert record.count == 10
    assert [each.allocation for each in record.served] == asked
    told = capsys.readouterr().out
    assert str(path) in told
    assert "no test sample was looked at" in told
    again = parse_served(dump_served(record))
    assert dump_served(again) == dump_served(record)


def test_what_cannot_be_run_is_said_in_words(store, trained, capsys):
    running = kept(store, trained, state="")
    assert main(["runtime", str(running.id)]) == 2
    assert "not trained to the end" in capsys.readouterr().err
    held = sample.add_run(store, "exact", [])
    finish(store, *held, "done")
    assert "trains no network that switches" in runtime.missing(store, run(store, held[0]))
    assert "recorded" in runtime.missing(store, replace(running, origin="recorded on a day"))


def damaged(change):
    """A record with one thing changed."""
    data = json.loads(dump_served(record_of([sample.uniform(8, 8), sample.uniform(2, 2)])))
    change(data)
    return json.dumps(data)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.update(version=2),
        lambda data: data.pop("floats"),
        lambda data: data.update(total=3),
        lambda data: data.update(served=[]),
        lambda data: data.update(served=data["served"] * MOST_SERVED),
        lambda data: data["served"][0].pop("answers"),
        lambda data: data["served"][0]["answers"].update(classes=None),
        lambda data: data["served"][0]["answers"]["divergence"].update(shape=[2, 2]),
        lambda data: data["served"][0]["answers"].update(
            divergence=data["served"][0]["answers"]["sure"] | {"dtype": "object"}
        ),
        lambda data: data["inputs"][0].update(form="other"),
        lambda data: data["served"][0]["allocation"].popitem(),
    ],
)
def test_a_damaged_record_is_refused_in_words(change):
    with pytest.raises(InvalidData, match="have it computed again"):
        parse_served(damaged(change))


def test_a_damaged_file_is_said_once_and_removed(tmp_path):
    path = tmp_path / "record.json"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidData, match="cannot be read"):
        runtime.read_record(path)
    assert runtime.read_record(path) is None


def test_of_many_points_those_on_a_front_are_kept():
    stored = [
        sample.stored(at, 1, sample.point(allocation, 700 + at % 200))
        for at, allocation in enumerate(sample.allocations(200))
    ]
    found = runtime.chosen(stored, sample.MODEL, "kl")
    assert 1 <= len(found) <= MOST_SERVED
    best = min(stored, key=lambda each: each.point.search.kl)
    assert min(each.point.search.kl for each in found) == best.point.search.kl
    assert runtime.chosen(stored[:5], sample.MODEL, "kl", most=5) != []
    assert len(runtime.chosen(stored, sample.MODEL, "kl", most=3)) <= 3
