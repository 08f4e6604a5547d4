"""Rules of docs/rules, from the file through search and export to the runtime they are for."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from qcore.formats.config import parse_bits
from qcore.rules.file import load_rules
from qcore.rules.resolve import resolve
from store import config_text, points_of
from store.__main__ import main
from store.runs.points import model_facts
from tests.attention_nets import CLASSES, SIDE

RULES = Path(__file__).parents[2] / "docs" / "rules"
FEW = ["--calibration-images", "32", "--search-images", "32", "--reported", "6"]
KINDS = {"weight": {4: onnx.TensorProto.INT4, 8: onnx.TensorProto.INT8}}
KINDS["activation"] = {4: onnx.TensorProto.UINT4, 8: onnx.TensorProto.UINT8}


@pytest.fixture
def store(sqlite_store, monkeypatch):
    monkeypatch.delenv("BITDIAL_DATABASE_URL", raising=False)
    return sqlite_store


def data_file(folder, classes, *shape):
    """Random images with labels: whether bits are as chosen asks for no better ones."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (120, *shape), dtype=np.uint8)
    np.savez(folder / "d.npz", x=x, y=np.arange(120) % classes)
    return f"tensors:{folder / 'd.npz'}"


@pytest.fixture
def vit(store, tmp_path, monkeypatch):
    """A small vision transformer, added as a network of one's own with its data."""
    monkeypatch.setenv("BITDIAL_ALLOW_CODE", "tests.attention_nets")
    data = data_file(tmp_path, CLASSES, 3, SIDE, SIDE)
    added = main(
        ["add-model", "small-vit", "--source", "factory", "--architecture",
         "tests.attention_nets:vit", "--shape", f"3x{SIDE}x{SIDE}", "--mean", "0.5,0.5,0.5",
         "--std", "0.3,0.3,0.3", "--data", data, *FEW[:4]]
    )  # fmt: skip
    assert added == 0
    return "small-vit", data


@pytest.fixture
def resnet8(store, tmp_path):
    """The bundled network, and data of its shape."""
    return "resnet8", data_file(tmp_path, 10, 1, 28, 28)


def searched(store, network, *words):
    """The reported configurations of a search along the exact front, by point."""
    model, data = network
    search = ["run", "--model", model, "--data", data, "--search", "exact", "--param", "points=6"]
    assert main([*search, "--anyway", *FEW, *words]) == 0
    return {
        p.id: parse_bits(config_text(store, p.id)) for p in points_of(store, [1]) if p.has_config
    }


def exported(point, folder, capsys):
    """The ONNX file of a point, and its report."""
    file = folder / f"{point}.onnx"
    capsys.readouterr()
    assert main(["export", "--point", str(point), "--format", "onnx", "--out", str(file)]) == 0
    said = capsys.readouterr().out
    return file.read_bytes(), json.loads(said[said.index("{") :])


def stored(content):
    """(layer, part) to the element type of its codes, or of its input's zero point."""
    found = {}
    for each in onnx.load_from_string(content).graph.initializer:
        layer, _, _ = each.name.rpartition(".weight")
        if each.name.endswith(".codes"):
            found[layer, "weight"] = each.data_type
        elif each.name.endswith(".input.zero"):
            found[each.name.removesuffix(".input.zero"), "activation"] = each.data_type
    return found


def wanted(config):
    return {
        (name, part): KINDS[part][getattr(bits, part)]
        for name, bits in config.allocation.items()
        for part in KINDS
        if getattr(bits, part) != 32
    }


def kernels(content, folder):
    """Operators that ONNX Runtime makes of a file, and the bits of its packed products."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(options.optimized_model_filepath).graph.node
    packed = Counter(
        attribute.i
        for node in nodes
        if node.op_type == "MatMulNBits"
        for attribute in node.attribute
        if attribute.name == "bits"
    )
    return Counter(node.op_type for node in nodes), packed


def mixed(found):
    """The point with the most different widths, and its configuration."""
    return max(found.items(), key=lambda item: len(set(item[1].allocation.values())))


def runs_as_chosen(config, content, report):
    assert report["widened"] == {}
    assert stored(content) == wanted(config)
    assert report["argmax_agreement"] == 1
    # an input between two levels may round the other way, and images have 256 values
    assert report["max_abs_diff"] < 0.05 * report["logit_range"]
    assert report["optimised"]["argmax_agreement"] >= 0.9


def test_a_transformer_under_the_rules_runs_packed_at_the_widths_that_were_chosen(
    store, vit, tmp_path, capsys
):
    found = searched(store, vit, "--rules", str(RULES / "onnxruntime.yaml"))
    point, config = mixed(found)
    layers = [x.name for x in config.model.layers if x.kind == "linear"]
    widths = [config.allocation[name].weight for name in layers]
    assert set(widths) == {4, 8}
    content, report = exported(point, tmp_path, capsys)
    runs_as_chosen(config, content, report)
    _, packed = kernels(content, tmp_path)
    # all but the classifier, whose input has two axes
    assert packed == Counter(widths[:-1])


@pytest.mark.parametrize("file", ["onnxruntime.yaml", "onnx-stored.yaml"])
def test_a_convolutional_network_under_the_rules_is_stored_and_runs_as_chosen(
    store, resnet8, tmp_path, capsys, file
):
    found = searched(store, resnet8, "--rules", str(RULES / file))
    point, config = mixed(found)
    assert len(set(config.allocation.values())) > 1
    content, report = exported(point, tmp_path, capsys)
    runs_as_chosen(config, content, report)
    made, _ = kernels(content, tmp_path)
    if file == "onnxruntime.yaml":
        assert made["QLinearConv"] == 3  # one in each block: the others end in additions


def test_without_the_rules_the_same_search_is_widened(store, resnet8, tmp_path, capsys):
    widths = ["--activation-bits", "6,8"]
    point, config = mixed(searched(store, resnet8, *widths))
    _, report = exported(point, tmp_path, capsys)
    odd = [n for n, b in config.allocation.items() if not {b.weight, b.activation} <= {4, 8}]
    assert odd
    assert sorted(report["widened"]) == sorted(odd)


def test_first_and_last_at_8_is_what_pinning_them_gives(store):
    layers = model_facts(store, "mobilenet").layers
    rules = load_rules(RULES / "first-last-8.yaml")
    for inputs in ((32,), (4, 8)):
        ruled = resolve(rules, layers, (2, 4, 8), inputs).options
        assert ruled == resolve((), layers, (2, 4, 8), inputs, pin_first_last=8).options


def test_every_file_of_rules_holds_on_every_bundled_network(store):
    files = sorted(RULES.glob("*.yaml"))
    assert len(files) >= 3
    for model in ("resnet8", "resnet20", "mobilenet"):
        for file in files:
            assert main(["rules", str(file), "--model", model]) == 0


def test_pairs_are_told_on_the_command_line(store, tmp_path, capsys):
    file = tmp_path / "pairs.yaml"
    file.write_text("- {layers: '*', pairs: [8/8, 4/float]}\n- {layers: role:first, lock: 8}\n")
    words = ["--weight-bits", "4,8", "--activation-bits", "8,float"]
    assert main(["rules", str(file), "--model", "resnet8", *words]) == 0
    said = capsys.readouterr().out
    assert "layer1.0.conv1: 4/float, 8/8" in said
    assert "\nconv1: 8 / 8\n" in said
    assert "2. role:first: 1 layer: conv1\n" in said
    # the smallest is said beforehand, and is what a search refuses less than
    first, *others = (layer.weights for layer in model_facts(store, "resnet8").layers)
    least = first + sum(others) // 2
    assert f"weights: from {least:,} to {first + sum(others):,} B" in said
    run = ["run", "--search", "exact", "--rules", str(file), *words, "--limit"]
    assert main([*run, f"weight_bytes={least - 1}"]) == 2
    assert f"smallest possible is {least:,} B" in capsys.readouterr().err
