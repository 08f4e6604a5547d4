"""Recorded results come into a new database as they were measured, once, and say what they are."""

import gzip
import json
from dataclasses import replace

import numpy as np
import pytest

from qcore.judges import read_judge
from qcore.models.catalog import EXAMPLES, MODELS, bundled_spec
from qcore.problem import SensitivityTable
from store import all_runs, config_text, delete_run, events, open_store, points_of
from store.runs import points, queue
from store.runs.lease import FIGURES
from store.runs.recorded import FOLDER, dump_runs, load_recordings
from tests.store.fake import SPEC, FakePrepared

ORIGIN = "recorded on 2026-01-02 with bitdial 9"


def packed(content):
    # without the time, or every process that collects this file would name its tests anew
    return gzip.compress(content, mtime=0)


@pytest.fixture
def recorded(store):
    """A finished run with two points, one of them reported, in a store."""
    prepared = FakePrepared()
    run_id = queue.create_run(store, SPEC, "first")
    attempt = queue.claim(store, "here")[1]
    layers = [o[-1] for o in prepared.problem.options.values()]
    allocation = prepared.float_point.allocation
    for name, bits in zip(prepared.problem.options, layers, strict=True):
        allocation = allocation.replace(name, bits)
    point = next(prepared.score([allocation]))
    right = np.packbits(np.arange(point.search.n) % 2 == 0).tobytes()
    points.add_point(store, run_id, attempt, prepared.float_point)
    reported = replace(point, test=point.search, test_right=right)
    points.add_report(store, run_id, attempt, reported, "{}")
    points.save_model(store, prepared.model, SPEC.data, prepared.float_point)
    queue.progress(store, run_id, attempt, 1, 2, "", {"generation": 1})
    queue.finish(store, run_id, attempt, "done", "measured")
    return run_id


@pytest.fixture
def folder(store, recorded, tmp_path):
    place = tmp_path / "recordings"
    place.mkdir()
    (place / "toy.json.gz").write_bytes(dump_runs(store, [recorded], ORIGIN))
    return place


@pytest.fixture
def fresh(tmp_path):
    return open_store(tmp_path / "fresh" / "new.db")


def test_everything_comes_back_and_says_where_it_is_from(store, recorded, folder, fresh):
    assert load_recordings(fresh, folder) == 1
    (found,) = all_runs(fresh)
    (wanted,) = all_runs(store)
    assert found.origin == ORIGIN
    assert (found.spec, found.state, found.evaluations) == (wanted.spec, "done", 2)
    mine, theirs = points_of(fresh, [found.id]), points_of(store, [recorded])
    assert [p.point for p in mine] == [p.point for p in theirs]
    assert [p.has_config for p in mine] == [False, True]
    assert config_text(fresh, mine[1].id) == "{}"
    assert np.array_equal(
        points.test_right(fresh, [mine[1].id])[mine[1].id],
        points.test_right(store, [theirs[1].id])[theirs[1].id],
    )
    assert [e.data for e in events(fresh, found.id, [FIGURES])] == [{"generation": 1}]
    assert points.model_spec(fresh, SPEC.model) == points.model_spec(store, SPEC.model)


def test_they_come_once_and_never_among_results_of_ones_own(store, folder, fresh):
    assert load_recordings(store, folder) == 0
    assert load_recordings(fresh, folder) == 1
    (found,) = all_runs(fresh)
    delete_run(fresh, found.id)
    assert load_recordings(fresh, folder) == 0
    assert all_runs(fresh) == []


@pytest.mark.parametrize("content", [b"", b"no gzip", packed(b"{"), packed(b'{"format": "other"}')])
def test_a_damaged_recording_brings_nothing_and_the_others_come(folder, fresh, content, caplog):
    (folder / "bad.json.gz").write_bytes(content)
    assert load_recordings(fresh, folder) == 1
    assert [run.origin for run in all_runs(fresh)] == [ORIGIN]


def test_networks_have_files_of_their_own_which_come_together(store, recorded, fresh, tmp_path):
    other = replace(SPEC, model="other")
    run_id = queue.create_run(store, other, "second")
    attempt = queue.claim(store, "here")[1]
    prepared = FakePrepared()
    points.add_point(store, run_id, attempt, prepared.float_point)
    layers = replace(prepared.model, name="other", digest="of the other")
    points.save_model(store, layers, other.data, prepared.float_point)
    for network in (prepared.model, layers):
        table = SensitivityTable("kl", "nats", {"a": {2: 0.5}}, n=10)
        points.save_table(store, f"kl/{network.digest}", network.digest, table)
    queue.finish(store, run_id, attempt, "done", "measured")
    for name, number in (("toy", recorded), ("other", run_id)):
        (tmp_path / f"{name}.json.gz").write_bytes(dump_runs(store, [number], ORIGIN))
        document = json.loads(gzip.decompress((tmp_path / f"{name}.json.gz").read_bytes()))
        assert [model["name"] for model in document["models"]] == [name]
        assert len(document["tables"]) == 1
    assert load_recordings(fresh, tmp_path) == 2
    assert {run.spec.model for run in all_runs(fresh)} == {"toy", "other"}
    assert points.load_table(fresh, f"kl/{layers.digest}") == table


def test_a_file_that_holds_codes_is_left_out_of_a_recording(store, recorded, monkeypatch):
    monkeypatch.setattr("store.runs.recorded.MOST_CONFIG", 1)
    document = json.loads(gzip.decompress(dump_runs(store, [recorded], ORIGIN)))
    (run,) = document["runs"]
    assert [point["config"] for point in run["points"]] == [None, None]
    assert run["points"][-1]["test"] is not None


@pytest.mark.parametrize(
    ("name", "methods", "seeded"),
    [("resnet8", 12, 4), ("bearing", 8, 3), ("verse_decoder", 3, 0)],
)
def test_the_shipped_recordings_are_real_and_whole(name, methods, seeded):
    """Methods at several seeds; every reported point's file holds what was measured."""
    document = json.loads(gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes()))
    entry = MODELS[name]
    seeds = {}
    for run in document["runs"]:
        assert run["state"] == "done"
        assert run["spec"]["model"] == name
        assert read_judge(run["spec"].get("judge")) == entry.judge
        seeds.setdefault(run["spec"]["search"], set()).add(run["spec"]["seed"])
        for point in run["points"]:
            if point["config"] is not None:
                config = json.loads(point["config"])
                assert config["scores"]["test"]["accuracy"] == point["test"]["accuracy"]
    assert len(seeds) == methods
    assert len([s for s, found in seeds.items() if len(found) >= 3]) >= seeded
    assert [model["name"] for model in document["models"]] == [name]
    # what was recorded is the network that is shipped
    assert {model["digest"] for model in document["models"]} == {bundled_spec(name).digest}


def test_a_first_visit_has_results_of_every_example(fresh):
    assert {path.name for path in FOLDER.glob("*.json.gz")} == {f"{n}.json.gz" for n in EXAMPLES}
    load_recordings(fresh)
    runs = all_runs(fresh)
    assert {run.spec.model for run in runs} == set(EXAMPLES)
    assert all(run.origin.startswith("recorded on") for run in runs)
    assert {bool(MODELS[name].inputs) for name in EXAMPLES} == {True, False}


def test_a_recording_that_unpacks_to_too_much_is_left_out(sqlite_store, tmp_path, monkeypatch):
    monkeypatch.setattr("store.runs.recorded.MOST_RECORDING", 10_000)
    with gzip.open(tmp_path / "bomb.json.gz", "wb") as stream:
        stream.write(b"[" * 10_001)
    assert load_recordings(sqlite_store, tmp_path) == 0
