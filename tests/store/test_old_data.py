"""Databases, checkpoints and downloaded files of an earlier bitdial are read as they were written.

tests/data/before was written by the code of the commit that expected.json names; it says there what
each file must give.
"""

import csv
import dataclasses
import hashlib
import importlib
import io
import json
import os
import runpy
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from torch import nn

from qcore import BitAllocation, apply_bits, load_bits, load_model
from qcore.costs import costs_of
from qcore.costs.user_tables import read_costs
from qcore.data import load_data
from qcore.formats.config import dump_bits
from qcore.formats.exports.templates import packed_reader
from qcore.formats.imports import read_allocations
from qcore.models.catalog import read_models
from qcore.qat.switchable.runtime import load_switchable
from store import (
    all_runs,
    config_text,
    configs,
    create_run,
    events,
    float_point,
    has_stage,
    load_recordings,
    model_spec,
    open_store,
    points_of,
    resume,
    run,
    tables,
    trained_stage,
)
from store import test_right as right_of
from store.__main__ import main
from store.database.upgrade import newest_revision
from store.runs import queue
from store.workers import worker
from tests.variants import some

BEFORE = Path(__file__).parents[1] / "data" / "before"
SAID = json.loads((BEFORE / "expected.json").read_text(encoding="utf-8"))
RUNS, FILES = SAID["runs"], SAID["files"]
TENSORS = "tensors:images.npz"
DONE = [name for name, entry in RUNS.items() if entry["state"] == "done"]
MEASURED = [name for name in DONE if name not in ("uniform", "greedy")]
"""But for one that tunes, and so trains, and one that tests on 10,000 images."""
UNINTERRUPTED = {
    "cut_random": "random",
    "cut_mirror": "mirror",
    "cut_spnets": "spnets",
    "cut_dq": "dq",
}

# packages of other tools warn about themselves while they are imported
others = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("before")
    with tarfile.open(BEFORE / "data-folder.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def place(unpacked, tmp_path):
    """The data folder, and the folder one works in: the images are named from there."""
    folder = tmp_path / "place"
    shutil.copytree(unpacked, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BITDIAL_DATA", str(folder))
        patch.setenv("BITDIAL_ALLOW_CODE", "before_nets")
        patch.delenv("BITDIAL_DATABASE_URL", raising=False)
        patch.syspath_prepend(BEFORE)
        patch.chdir(folder)
        yield folder


@pytest.fixture
def old(place):
    opened = open_store()
    yield opened
    opened.engine.dispose()


@pytest.fixture
def images(place):
    """The test images whose logits were written down."""
    found = load_data(TENSORS, calibration=32, search=32, model="tiny").test
    return next(found.batches(SAID["sample"]))[0]


def near(got, wanted):
    """Logits but for what another processor rounds to the other side."""
    got = got.detach().numpy() if isinstance(got, torch.Tensor) else np.asarray(got)
    wanted = np.asarray(wanted)
    assert got.shape == wanted.shape
    difference = np.abs(got - wanted)
    assert np.median(difference) < 1e-4
    assert difference.max() < 0.05 * (wanted.max() - wanted.min())
    return True


def bits_of(name):
    return BitAllocation.from_json(FILES[name]["bits"])


def file_of(name, kind):
    return BEFORE / FILES[name]["formats"][kind]


def essence(store, run_id):
    """Every point as it was written down."""
    return [
        {
            "stage": s.point.stage,
            "images": list(s.point.images or ()),
            "digest": s.point.allocation.digest,
            "kl": s.point.search.kl,
            "agreement": s.point.search.agreement,
            "accuracy": s.point.search.accuracy,
            "test": s.point.test and s.point.test.headline,
            "config": s.has_config,
        }
        for s in points_of(store, [run_id], windows=True)
    ]


def alike(got, wanted, tolerance):
    """The same points in the same order, with scores that are as near as a processor gives them."""
    exact = ("stage", "images", "digest", "config")
    assert [[point[key] for key in exact] for point in got] == [
        [point[key] for key in exact] for point in wanted
    ]
    for mine, theirs in zip(got, wanted, strict=True):
        assert mine["kl"] == pytest.approx(theirs["kl"], rel=tolerance, abs=1e-4)
        for share in ("agreement", "accuracy", "test"):
            assert mine[share] == pytest.approx(theirs[share], abs=0.04), share
    return True


def queue_again(store, run_id):
    """As if its worker had died just before the end."""
    with store.write() as connection:
        connection.exec_driver_sql(f"UPDATE runs SET state = 'paused' WHERE id = {run_id}")
    resume(store, run_id)


def work_on(store, run_id, prepare=None):
    with store.write() as connection:  # whatever else waits has to wait on
        connection.exec_driver_sql(
            f"UPDATE runs SET state = 'paused' WHERE state = 'queued' AND id <> {run_id}"
        )
    claimed = queue.claim(store, "here")
    assert claimed[0] == run_id
    assert worker.work(store, *claimed, worker.Signals(), prepare) == 0
    assert run(store, run_id).state == "done"


def kept(store, run_id):
    """Every point's number, and every state of training with the attempt that wrote it."""
    query = f"SELECT stage, epoch, attempt FROM checkpoints WHERE run_id = {run_id}"
    with store.read() as connection:
        states = {tuple(row) for row in connection.exec_driver_sql(query)}
    return states | {stored.id for stored in points_of(store, [run_id], windows=True)}


@pytest.fixture
def untaught(monkeypatch):
    """Any step of training fails."""

    def refuse(*arguments, **more):
        raise AssertionError("it trains")

    monkeypatch.setattr(torch.Tensor, "backward", refuse)
    monkeypatch.setattr(torch.autograd, "grad", refuse)


class Silent:
    """A prepared problem that measures nothing."""

    def __init__(self, prepared):
        self._prepared = prepared

    def __getattr__(self, name):
        return getattr(self._prepared, name)

    def score(self, allocations, stage="ptq", images=None):
        raise AssertionError("it measures")

    report = tuned = score


def silent(spec, **callbacks):
    return Silent(worker.default_prepare(spec, **callbacks))


def test_the_database_opens_with_its_schema(place):
    with sqlite3.connect(place / "bitdial.db") as connection:
        written = connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]
    connection.close()
    assert written == SAID["schema"]
    store = open_store()
    with store.read() as connection:
        found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    assert found == newest_revision()
    assert sorted(entry.id for entry in all_runs(store)) == sorted(e["id"] for e in RUNS.values())
    store.engine.dispose()


def test_every_run_is_read_with_its_points_and_history(old):
    for entry in RUNS.values():
        found = run(old, entry["id"])
        assert (found.name, found.state) == (entry["name"], entry["state"])
        assert (found.spec.search, found.evaluations) == (entry["search"], entry["evaluations"])
        assert essence(old, found.id) == entry["points"]
        assert [event.kind for event in events(old, found.id)] == entry["events"]
        assert len(events(old, found.id, ["figures"])) == entry["figures"]
    failed = run(old, RUNS["failed"]["id"])
    assert failed.error == "There is no file gone.npz."
    assert "Traceback" in failed.traceback
    exact = run(old, RUNS["exact"]["id"]).spec
    assert dict(exact.limits) == {"bench": 60_000}
    assert (exact.pin_first_last, exact.objective, exact.seed) == (8, "loss", 3)


def written(scores):
    """Scores as they were written then; what was not counted then is not known now."""
    now = dataclasses.asdict(scores)
    later = ("lost", "gained", "kl_error", "score_error", "change", "change_error")
    assert {now.pop(name) for name in later} == {None}
    return now


def test_what_belongs_to_a_network_is_read(old):
    spec = model_spec(old, "tiny")
    assert spec.digest == SAID["models"]["tiny"]["digest"]
    found = [
        [key.split("/")[1], table.n, sum(sum(row.values()) for row in table.weight.values())]
        for key, table in tables(old, spec.digest)
    ]
    wanted = {kind: [kind, n, total] for kind, n, total in SAID["tables"]}
    # what it then held under this name was elementwise: the diagonal of its pairs is read instead
    (table,) = (table for _, table in tables(old, spec.digest) if table.kind == "gradient")
    kept = zip(table.pair_index, np.diagonal(table.pairs), strict=True)
    wanted["gradient"][2] = sum(score for (_, part, _), score in kept if part == "weight")
    assert sorted(found) == [[*row[:2], pytest.approx(row[2])] for row in sorted(wanted.values())]
    for name, scores in SAID["float"].items():
        data = "fashion-mnist" if name == "resnet8" else TENSORS
        assert written(float_point(old, name, data).test) == scores
    point = SAID["right"]["point"]
    right = right_of(old, [point])[point]
    assert (int(right.sum()), len(right)) == (SAID["right"]["right"], SAID["right"]["n"])


def test_networks_of_ones_own_are_loaded(place, images):
    for name, said in SAID["models"].items():
        assert read_models()[name].source == "own"
        with torch.no_grad():
            assert near(load_model(name)(images), said["logits"])


def test_a_cost_table_of_ones_own_prices_as_before(old):
    assert old.costs["bench"].unit == "ns"
    found = costs_of(model_spec(old, "tiny"), bits_of("linear"), old.costs)
    assert {name: found[name] for name in SAID["costs"]} == SAID["costs"]


def test_saved_configurations_are_read_and_still_do_what_they_say(old, capsys):
    found = {entry.name: entry for entry in configs(old)}
    assert set(found) == {"the given one", "trained low bits", "bits alone"}
    kept = found["the given one"]
    assert (kept.note, kept.tags) == ("for the camera", ("small", "talk"))
    assert kept.source["run"] == RUNS["given"]["id"]
    assert kept.text == file_of("given", "json").read_text(encoding="utf-8")
    for name in ("the given one", "trained low bits"):
        assert main(["verify", str(found[name].id)]) == 0
        assert "as saved" in capsys.readouterr().out
    assert main(["verify", str(found["bits alone"].id)]) == 1


def test_every_checkpoint_is_read_whole(old, place):
    count = 0
    for entry in RUNS.values():
        for stage in entry["stages"]:
            assert has_stage(old, entry["id"], stage)
            data = trained_stage(old, entry["id"], stage)
            files = (place / "checkpoints" / f"run-{entry['id']}").iterdir()
            assert data in [path.read_bytes() for path in files]
            count += 1
    assert count == 17


@pytest.mark.parametrize("name", SAID["switchable"])
def test_a_switchable_network_answers_as_before(old, images, name):
    said = SAID["switchable"][name]
    data = trained_stage(old, RUNS[name]["id"], said["stage"])
    assert data == (BEFORE / said["file"]).read_bytes()
    model = load_switchable(load_model("tiny"), images, data)
    with torch.no_grad():
        for switch, logits in said["switches"].items():
            model.set_switch(switch)
            assert near(model(images), logits)
        if "mixed" in said:
            model.set_allocation(BitAllocation.from_json(said["mixed"]["bits"]))
            assert near(model(images), said["mixed"]["logits"])


@pytest.mark.parametrize("name", some(DONE, 7))
def test_a_search_is_replayed_from_its_points_without_measuring_or_training(old, untaught, name):
    run_id = RUNS[name]["id"]
    before = points_of(old, [run_id], windows=True)
    queue_again(old, run_id)
    work_on(old, run_id, silent)
    assert points_of(old, [run_id], windows=True) == before
    assert essence(old, run_id) == RUNS[name]["points"]


@pytest.mark.parametrize("name", some(MEASURED, 6))
def test_a_search_is_measured_anew_from_tables_and_checkpoints_without_training(
    old, untaught, name
):
    run_id = RUNS[name]["id"]
    with old.write() as connection:
        connection.exec_driver_sql(f"DELETE FROM points WHERE run_id = {run_id}")
    queue_again(old, run_id)
    work_on(old, run_id)
    assert alike(essence(old, run_id), RUNS[name]["points"], 0.01)


@pytest.mark.parametrize("name", UNINTERRUPTED)
def test_a_paused_search_goes_on_to_where_it_would_have_ended(old, name):
    run_id, there = RUNS[name]["id"], kept(old, RUNS[name]["id"])
    assert there
    assert run(old, run_id).state == "paused"
    resume(old, run_id)
    work_on(old, run_id)
    # of its states dq has since kept that of least loss, not that of most right answers
    near = 0.05 if UNINTERRUPTED[name] == "dq" else 0.01
    assert alike(essence(old, run_id), RUNS[UNINTERRUPTED[name]]["points"], near)
    assert there <= kept(old, run_id)  # nothing of it was done again


def test_a_later_search_measures_the_network_of_an_old_run(old, untaught):
    trained = RUNS["bitmixer"]
    [point, *_] = points_of(old, [trained["id"]])
    spec = dataclasses.replace(
        run(old, RUNS["metanetwork"]["id"]).spec,
        params={"run": trained["id"], "allocations": [point.point.allocation.to_json()]},
    )
    run_id = create_run(old, spec)
    work_on(old, run_id)
    [again] = points_of(old, [run_id])
    assert again.point.stage == f"run-{trained['id']}/layer-wise"
    assert again.point.search.kl == pytest.approx(point.point.search.kl, rel=0.01)


@pytest.mark.parametrize("name", FILES)
def test_a_downloaded_configuration_gives_its_bits_scores_and_logits(old, images, name):
    said, path = FILES[name], file_of(name, "json")
    config = load_bits(path, read_costs())
    assert config.allocation == bits_of(name)
    assert config.allocation.digest == said["digest"]
    assert written(config.test) == said["test"]
    assert written(config.search) == said["search"]
    with torch.no_grad():
        assert near(apply_bits(load_model(said["model"]), config)(images), said["logits"])
    text = path.read_text(encoding="utf-8")
    assert dump_bits(config) == text
    points = points_of(old, [config.provenance["run"]])
    assert text in [config_text(old, stored.id) for stored in points]
    schema = json.loads((BEFORE / "bit-configuration.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(json.loads(dump_bits(config)))


@pytest.mark.parametrize("kind", ["json", "hawq", "haq", "mct", "modelopt"])
def test_a_downloaded_file_gives_the_same_allocation(old, kind):
    found = read_allocations(file_of("given", kind).read_bytes(), model_spec(old, "tiny"))
    assert found.format == kind
    assert list(found.choices.values()) == [bits_of("given")]


def test_bits_alone_are_read(old):
    config = load_bits(BEFORE / SAID["alone"])
    assert (config.allocation, config.test, config.state) == (bits_of("given"), None, {})
    found = read_allocations((BEFORE / SAID["alone"]).read_bytes(), model_spec(old, "tiny"))
    assert list(found.choices.values()) == [bits_of("given")]


@pytest.mark.parametrize("name", ["given", "attentive"])
def test_yaml_says_what_json_says(name):
    document = yaml.safe_load(file_of(name, "yaml").read_text(encoding="utf-8"))
    assert document == json.loads(file_of(name, "json").read_text(encoding="utf-8"))


def test_tables_name_the_bits_of_each_layer_and_the_points_of_the_database(old):
    for name in ("given", "linear"):
        with file_of(name, "csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        found = {r["layer"]: [int(r["weight_bits"]), int(r["activation_bits"])] for r in rows}
        assert found == FILES[name]["bits"]
    stored = {s.id: s.point for s in points_of(old, [entry["id"] for entry in RUNS.values()])}
    table = pd.read_parquet(BEFORE / "tiny.points.parquet")
    front = pd.read_csv(BEFORE / "tiny.front.csv")
    assert (len(table), len(front)) == (SAID["rows"]["points"], SAID["rows"]["front"])
    for row in (*table.to_dict("records"), *front.to_dict("records")):
        allocation = BitAllocation.from_json(json.loads(row["bits"]))
        assert allocation == stored[row["point"]].allocation
        if "search_kl" in row:
            assert row["search_kl"] == stored[row["point"]].search.kl
            assert row["bench"] == costs_of(model_spec(old, "tiny"), allocation, old.costs)["bench"]


def test_a_bundle_is_whole_and_its_files_are_read(old):
    with zipfile.ZipFile(BEFORE / "given.zip") as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    sums = dict(reversed(x.split("  ")) for x in files["SHA256SUMS"].decode().splitlines())
    assert set(sums) == set(files) - {"SHA256SUMS"}
    assert all(hashlib.sha256(files[name]).hexdigest() == digest for name, digest in sums.items())
    for kind in ("json", "hawq", "haq", "mct", "modelopt"):
        found = read_allocations(files[file_of("given", kind).name], model_spec(old, "tiny"))
        assert list(found.choices.values()) == [bits_of("given")]


def test_a_recording_is_brought_in(tmp_path, place):
    (tmp_path / "recordings").mkdir()
    shutil.copy(BEFORE / "recording.json.gz", tmp_path / "recordings")
    store = open_store(tmp_path / "new" / "bitdial.db")
    assert load_recordings(store, tmp_path / "recordings") == 1
    [found] = all_runs(store)
    assert (found.state, found.origin) == ("done", "recorded before")
    assert essence(store, found.id) == RUNS["given"]["points"]
    store.engine.dispose()


def alone(folder, *words):
    """Run a downloaded script where no bitdial is."""
    shutil.copy(BEFORE / "before_nets.py", folder)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=folder, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def downloaded(name, kind, monkeypatch):
    """What a downloaded script defines; what it brings along is forgotten afterwards."""
    for module in ("attention", "norm_then_rest", "window_attention", "rewriting"):
        # a script run before must not lend it its own
        monkeypatch.setitem(sys.modules, f"bitdial_{module}", None)
        monkeypatch.delitem(sys.modules, f"bitdial_{module}")
    return runpy.run_path(str(file_of(name, kind)))


@pytest.mark.parametrize("name", [name for name in FILES if "script" in FILES[name]["formats"]])
def test_a_downloaded_script_computes_the_measured_logits(place, images, monkeypatch, name):
    net = load_model(FILES[name]["model"])
    with torch.no_grad():
        model = downloaded(name, "script", monkeypatch)["apply"](net)
        assert near(model(images), FILES[name]["logits"])


def test_a_downloaded_script_runs_alone(place, images, monkeypatch):
    shutil.copy(file_of("given", "script"), place / "apply_bits.py")
    weights = place / "networks" / "tiny" / "weights.pt"
    words = alone(place, "apply_bits.py", "before_nets:tiny", "--weights", weights, "--out", "q.pt")
    assert "5 layers quantized" in words
    model = downloaded("given", "script", monkeypatch)["apply"](load_model("tiny"))
    for key, value in torch.load(place / "q.pt", weights_only=True).items():
        assert torch.allclose(value, model.state_dict()[key]), key


@others
@pytest.mark.parametrize("name", ["given", "attentive"])
def test_a_downloaded_brevitas_script_computes_the_measured_logits(
    place, images, monkeypatch, name
):
    pytest.importorskip("brevitas")
    net = load_model(FILES[name]["model"])
    model = downloaded(name, "brevitas", monkeypatch)["apply"](net)
    with torch.no_grad():
        assert near(model(images), FILES[name]["logits"])
    for layer, bits in bits_of(name).items():
        assert int(model.get_submodule(layer).quant_weight().bit_width) == bits.weight


@others
def test_a_downloaded_mct_script_sets_each_width(monkeypatch):
    # torchvision cannot be imported without the operators that the CPU build lacks
    importlib.import_module("qcore.models._torchvision")
    pytest.importorskip("model_compression_toolkit")
    script = downloaded("given", "mct", monkeypatch)
    widths = script["bit_width_config"]().manual_weights_bit_width_selection_list
    wanted = [bits.weight for bits in bits_of("given").values()]
    assert [entry.bit_width for entry in widths] == wanted


PACKED = [name for name in FILES if "packed" in FILES[name]["formats"]]


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("reader", ["old", "new"])
def test_bit_packed_weights_are_read_by_the_old_reader_and_by_the_new(
    place, images, monkeypatch, reader, name
):
    reads = vars(packed_reader)
    if reader == "old":  # where layers are hidden, it asks the bitdial that is there
        reads = runpy.run_path(str(BEFORE / "packed_reader.py"))
    net = importlib.import_module("before_nets").__dict__[FILES[name]["model"]]()
    model = reads["apply"](net, reads["parse"](file_of(name, "packed").read_bytes()))
    with torch.no_grad():
        assert near(model(images), FILES[name]["logits"])


def test_the_downloaded_reader_runs_alone(place):
    shutil.copy(BEFORE / "packed_reader.py", place)
    words = alone(
        place, "packed_reader.py", file_of("given", "packed"), "before_nets:tiny", "--out", "q.pt"
    )
    assert "5 layers read" in words
    found = torch.load(place / "q.pt", weights_only=True)
    assert found["layer1.0.conv1.weight"][0].unique().numel() <= 16


@pytest.mark.parametrize("kind", ["onnx", "onnx8", "onnx2"])
def test_onnx_files_run_as_before(images, kind):
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        file_of("given", kind).read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    [entry] = session.get_inputs()
    [found] = session.run(None, {entry.name: images.numpy()})
    assert near(found, FILES["given"]["outputs"][kind])
    assert near(found, FILES["given"]["logits"])


@others
def test_a_qonnx_file_runs_as_before(images):
    pytest.importorskip("qonnx")
    onnx = pytest.importorskip("onnx")
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_shapes import InferShapes

    model = onnx.load_from_string(file_of("given", "qonnx").read_bytes())
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = len(images)
    wrapped = ModelWrapper(model).transform(InferShapes())
    found = execute_onnx(wrapped, {model.graph.input[0].name: images.numpy()})
    assert near(found[model.graph.output[0].name], FILES["given"]["outputs"]["qonnx"])


@others
def test_a_torchao_file_is_loaded(place, images):
    pytest.importorskip("torchao.quantization")
    content = file_of("linear", "torchao").read_bytes()
    document = torch.load(io.BytesIO(content), weights_only=True)
    assert document["format"] == "bitdial-torchao"
    net = importlib.import_module("before_nets").tiny().eval()
    for layer, norm in document["folded_norms"].items():
        net.set_submodule(norm, nn.Identity())
        net.get_submodule(layer).bias = nn.Parameter(torch.zeros(4))
    net.load_state_dict(document["state_dict"], assign=True)
    with torch.no_grad():
        assert near(net(images), FILES["linear"]["logits"])


def test_ranges_and_colours_are_those_of_the_bits():
    encodings = json.loads(file_of("given", "aimet").read_text(encoding="utf-8"))
    results = json.loads(file_of("given", "model_explorer").read_text(encoding="utf-8"))
    for layer, bits in bits_of("given").items():
        entries = encodings["param_encodings"][f"{layer}.weight"]
        assert {entry["bitwidth"] for entry in entries} == {bits.weight}
        assert results["graph"]["results"][f"{layer}.weight"]["value"] == bits.weight
