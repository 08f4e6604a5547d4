"""A network of one's own, from its file to a configuration that another process reproduces."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from qcore.models.catalog import default_data, read_models
from store import all_runs, config_text, float_point, model_spec, open_store, points_of, tables
from store.__main__ import main
from store.jobs.opening import write_json
from store.jobs.opening_worker import main as work
from tests.own_networks import resnet8_weights, tensor_file

ROOT = Path(__file__).parents[2]
REPRODUCE = """
import json, sys
from qcore import apply_bits, load_bits, load_model
from qcore.data import load_data
config = load_bits(sys.argv[1])
model = apply_bits(load_model(config.model.name), config)
test = load_data(sys.argv[2], calibration=16, search=16, model=config.model.name).test
right = sum(int((model(x).argmax(1) == y).sum()) for x, y in test.batches(32))
print(json.dumps([right / len(test), len(test)]))
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("BITDIAL_DATA", str(tmp_path / "data"))
        patch.delenv("BITDIAL_DATABASE_URL", raising=False)
        yield tmp_path


def test_from_a_file_to_a_configuration_that_another_process_reproduces(place, capsys):
    weights = resnet8_weights(place / "w.safetensors")
    data = f"tensors:{tensor_file(place / 'd.npz')}"
    few = ["--calibration-images", "16", "--search-images", "16"]
    added = main(
        ["add-model", "mine", "--source", "bundled", "--architecture", "resnet8", "--weights",
         str(weights), "--shape", "1x8x8", "--mean", "0.5", "--std", "0.29", "--data", data, *few]
    )  # fmt: skip
    said = capsys.readouterr().out
    assert added == 0
    assert f"Loading the network, {weights.stat().st_size / 1e6:,.1f} MB" in said
    assert "mine: 10 layers can be quantized, 100.00 % of the weights; 3 classes" in said
    assert "splits: 16 calibration, 16 search, 28 test" in said
    assert "n = 28), measured" in said
    assert default_data("mine") == data
    store = open_store()
    assert float_point(store, "mine", data).test.n == 28
    search = ["run", "--model", "mine", "--data", data, "--search", "uniform", "--reported", "2"]
    # its weights were never trained: that is said, and asked about before anything is stored
    assert main([*search, *few]) == 2
    assert "where guessing comes to 33.3 %" in capsys.readouterr().err
    assert all_runs(store) == []
    assert main([*search, *few, "--anyway"]) == 0
    assert "note: The float network names" in capsys.readouterr().out
    best = next(p for p in points_of(store, [1]) if p.has_config)
    file = place / "mine.bits.json"
    file.write_text(config_text(store, best.id))
    done = subprocess.run(
        [sys.executable, "-c", REPRODUCE, str(file), data], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    accuracy, n = json.loads(done.stdout)
    assert (accuracy, n) == (pytest.approx(best.point.test.accuracy), best.point.test.n)


def test_the_steps_of_the_page_leave_layers_scores_and_a_table(place):
    data = f"tensors:{tensor_file(place / 'd.pt')}"
    sizes = {"model": "mine", "data": data, "calibration": 16, "search": 16}
    table = {"sensitivity": "kl", "weight_bits": [2, 8], "activation_bits": [32]}
    new = {
        "name": "mine",
        "source": "bundled",
        "architecture": "resnet8",
        "weights": str(resnet8_weights(place / "w.pt")),
        "title": "",
        "input_shape": [1, 8, 8],
        "classes": None,
        "preprocessing": None,
        "kwargs": {},
        "by_order": False,
        "data": "",
    }
    requests = [
        {"kind": "add", "new": new},
        {"kind": "check", **sizes},
        {"kind": "sensitivity", **sizes, **table},
    ]
    reports = []
    for request in requests:
        write_json(place / "request.json", request)
        assert work(str(place), piped=False) == 0
        reports.append(json.loads((place / "result.json").read_text())["report"])
    assert read_models()["mine"].classes == 3
    assert len(reports[0]["spec"]["layers"]) == 10
    assert reports[1]["splits"] == {"calibration": 16, "search": 16, "test": 28}
    assert "where guessing comes to 33.3 %" in reports[1]["notes"][-1]
    spec = model_spec(open_store(), "mine")
    [(_, stored)] = tables(open_store(), spec.digest)
    assert (stored.kind, stored.n, set(stored.weight)) == ("kl", 16, set(spec.names))
    write_json(place / "request.json", {"kind": "check", **sizes, "calibration": 100})
    assert work(str(place), piped=False) == 1
    assert "Ask for fewer" in json.loads((place / "result.json").read_text())["error"]
    assert json.loads((place / "progress.json").read_text())["words"] == f"Loading {data}"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--source", "torchvision", "--architecture", "resnet81"], "nearest are resnet18"),
        (["--source", "bundled", "--architecture", "resnet8", "--shape", "1x8"], "3x224x224"),
        (["--source", "bundled", "--architecture", "resnet8", "--mean", "0.5"], "together"),
        (
            ["--source", "bundled", "--architecture", "resnet8", "--shape", "3x8x8",
             "--mean", "123.675,116.28,103.53", "--std", "58.395,57.12,57.375"],
            "the mean becomes 0.485, 0.456, 0.406",
        ),
        (
            ["--source", "bundled", "--architecture", "resnet8", "--shape", "3x8x8",
             "--mean", "0.5,0.5", "--std", "1"],
            "mean has 2 values for 3 channels",
        ),
        (
            ["--source", "factory", "--architecture", "os:getcwd", "--data", "mnist"],
            "BITDIAL_ALLOW_CODE=os",
        ),
        (["--source", "onnx", "--weights", "/x.onnx"], "how the images it was trained on were"),
        (
            ["--source", "onnx", "--weights", "/x.onnx", "--data", "imagefolder:/photos"],
            "--mean, --std and --shape",
        ),
        (
            ["--source", "onnx", "--weights", "/x.onnx", "--data", "mnist", "--shape", "3x28x28"],
            "--mean, --std and --shape",
        ),
        (["--source", "onnx", "--weights", "/x.onnx", "--data", "mnist"], "no file /x.onnx"),
        (
            ["--source", "torchvision", "--architecture", "squeezenet1_1",
             "--argument", "weights=DEFAULT"],
            "weights come from your file alone",
        ),
    ],
)  # fmt: skip
def test_the_command_says_in_one_line_what_is_wrong(place, capsys, words, message):
    assert main(["add-model", "mine", *words]) == 2
    assert message in capsys.readouterr().err
    assert not (place / "data" / "networks").exists()


def test_a_name_that_is_taken_is_asked_about_before_weights_give_way(place, capsys):
    data = f"tensors:{tensor_file(place / 'd.npz')}"
    words = ["add-model", "mine", "--source", "bundled", "--architecture", "resnet8", "--shape",
             "1x8x8", "--mean", "0.5", "--std", "0.29", "--weights"]  # fmt: skip
    first = str(resnet8_weights(place / "a.safetensors", seed=3))
    few = ["--data", data, "--calibration-images", "16", "--search-images", "16"]
    assert main([*words, first, *few]) == 0
    kept = read_models()["mine"].card
    second = str(resnet8_weights(place / "b.safetensors", seed=4))
    capsys.readouterr()
    assert main([*words, second]) == 2
    assert "a network 'mine' of yours already" in (said := capsys.readouterr().err)
    assert "--replace" in said
    assert read_models()["mine"].card == kept
    assert float_point(open_store(), "mine", data) is not None
    assert main([*words, second, "--replace"]) == 0
    assert read_models()["mine"].card.sha256 != kept.sha256
    # the score was of the weights that went
    assert float_point(open_store(), "mine", data) is None


def test_a_card_that_cannot_be_read_keeps_its_name(place, capsys):
    folder = place / "data" / "networks" / "mine"
    folder.mkdir(parents=True)
    (folder / "card.json").write_text("{")
    words = ["add-model", "mine", "--source", "bundled", "--architecture", "resnet8"]
    assert main(words) == 2
    assert "of yours already" in capsys.readouterr().err
    assert (folder / "card.json").read_text() == "{"


def onnx_of(path: Path, nodes: list[object], tensors: dict[str, object], given: tuple) -> Path:
    """An ONNX file of one input (name, kind, sizes) and the output y."""
    import onnx
    from onnx import helper, numpy_helper

    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info(*given)],
        [helper.make_tensor_value_info("y", 1, ["n", 3])],
        [numpy_helper.from_array(values, name) for name, values in tensors.items()],
    )  # fmt: skip
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


def test_an_onnx_file_says_itself_what_it_takes(place, capsys):
    node = pytest.importorskip("onnx").helper.make_node
    weights = np.random.default_rng(0).normal(size=(48, 3)).astype(np.float32)
    table = np.random.default_rng(1).normal(size=(30, 8)).astype(np.float32)
    head = [node("Flatten", ["e"], ["f"]), node("MatMul", ["f", "w"], ["y"], name="head")]
    path = onnx_of(
        place / "n.onnx", [node("Gather", ["table", "ids"], ["e"]), *head],
        {"w": weights, "table": table}, ("ids", 7, ["n", 6]),
    )  # fmt: skip
    assert main(["add-model", "ids", "--source", "onnx", "--weights", str(path)]) == 0
    said = capsys.readouterr().out
    assert "it takes ids (6,) int64 below 30; compared by the judge classes" in said
    pictures = onnx_of(
        place / "p.onnx", [node("Relu", ["x"], ["e"]), *head], {"w": weights},
        ("x", 1, ["n", 3, 4, 4]),
    )  # fmt: skip
    assert main(["add-model", "pictures", "--source", "onnx", "--weights", str(pictures)]) == 2
    assert "Say how the images it was trained on were normalised" in capsys.readouterr().err
