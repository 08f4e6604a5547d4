"""Damaged files of networks are refused in words, whatever byte is wrong."""

import io
import random
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from qcore.errors import DataUnavailable, InvalidConfig, QcoreError, UnsupportedModel
from qcore.models.loading.code import read_pt2
from qcore.models.loading.onnx.parse import parse
from qcore.models.loading.onnx.takes import read_takes
from qcore.models.loading.onnx.widened import widened
from qcore.models.loading.weights import read_weights
from qcore.process import unpacking

FLIPS = 60
HOSTILE = Path(__file__).parents[3] / "data" / "hostile"
STATE = {"a.weight": torch.ones(8, 8), "a.bias": torch.zeros(8)}


def torch_file(**options):
    stream = io.BytesIO()
    torch.save(STATE, stream, **options)
    return stream.getvalue()


def safetensors_file():
    return pytest.importorskip("safetensors.torch").save(STATE)


def onnx_file():
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    weight = onnx.numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Relu", ["c"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", 1, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("y", 1, ["n", 4, 6, 6])],
        [weight],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()


def read_graph(path):
    return read_takes(widened(parse(path)), None, (), {})


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp("pt2") / "n.pt2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = torch.nn.Sequential(torch.nn.Linear(4, 2))
        torch.export.save(torch.export.export(network, (torch.ones(1, 4),)), path)
    return path.read_bytes()


def damaged(whole, count, seed=7):
    """The same with bits flipped, or cut."""
    rng = random.Random(seed)
    for at in range(count):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 2, 30))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        yield bytes(data) if at % 3 else whole[: rng.randrange(len(whole))]


def said(read, path):
    """The words of a refusal; "" where the file was read."""
    try:
        read(path)
    except QcoreError as error:
        words = str(error)
        assert len(words) < 2_000
        assert "weights_only" not in words.lower()
        assert "pickle" not in words.lower()
        return words
    return ""


KINDS = {
    "zip": (".pt", torch_file, read_weights),
    "before zip": (
        ".pth",
        lambda: torch_file(_use_new_zipfile_serialization=False),
        read_weights,
    ),
    "safetensors": (".safetensors", safetensors_file, read_weights),
    "onnx": (".onnx", onnx_file, read_graph),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_bytes_of_a_network_are_flipped_and_lost(kind, tmp_path):
    suffix, make, read = KINDS[kind]
    whole, path = make(), tmp_path / f"n{suffix}"
    path.write_bytes(whole)
    assert not said(read, path)
    words = []
    for data in damaged(whole, FLIPS):
        path.write_bytes(data)
        words.append(said(read, path))
    assert any(words)


@pytest.mark.filterwarnings("ignore")
def test_bytes_of_an_exported_program_are_flipped_and_lost(exported, tmp_path, monkeypatch):
    monkeypatch.setenv("BITDIAL_ALLOW_CODE", "pt2")
    path = tmp_path / "n.pt2"
    words = []
    for data in damaged(exported, 12):
        path.write_bytes(data)
        words.append(said(read_pt2, path))
    assert any(words)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(path.name for path in HOSTILE.glob("network-*")))
def test_what_fuzzing_found_is_refused_in_words(name):
    assert said(read_graph if name.endswith(".onnx") else read_weights, HOSTILE / name)


def test_a_file_that_comes_to_far_more_than_its_size_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "ROOM", 10_000)
    plain, packed = tmp_path / "plain.pt", tmp_path / "packed.pt"
    torch.save({"w": torch.zeros(100_000)}, plain)
    with zipfile.ZipFile(plain) as whole, zipfile.ZipFile(packed, "w", 8) as archive:
        for name in whole.namelist():
            archive.writestr(name, whole.read(name))
    assert set(read_weights(plain)) == {"w"}
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(InvalidConfig, match=r"would come to .* without compression"):
        read_weights(packed)


def test_weights_are_mapped_and_not_copied(tmp_path):
    path = tmp_path / "w.pt"
    torch.save({"w": torch.arange(1000.0)}, path)
    read = read_weights(path)["w"]
    assert torch.equal(read, torch.arange(1000.0))
    read += 1  # of this process alone
    assert torch.equal(read_weights(path)["w"], torch.arange(1000.0))


def test_what_makes_no_sense_is_refused_before_its_weights_are_read(tmp_path):
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(onnx_file())
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.dims[:] = [4, 3, 6000, 6000]
    weight.data_location = onnx.TensorProto.EXTERNAL
    entry = weight.external_data.add()
    entry.key, entry.value = "location", "not-there.bin"
    path = tmp_path / "x.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UnsupportedModel, match=r"'c' of nx4x-5991x-5991: a window of it is larger"):
        parse(path)
    weight.dims[:] = [4, 3, 3, 3]
    path.write_bytes(model.SerializeToString())
    with pytest.raises(DataUnavailable, match="no such file beside it"):
        parse(path)
    (tmp_path / "not-there.bin").write_bytes(np.ones(108, np.float32).tobytes())
    [read] = parse(path).graph.initializer
    assert onnx.numpy_helper.to_array(read).tolist() == np.ones((4, 3, 3, 3)).tolist()


@pytest.mark.parametrize("size", [0, 1, 107 * 4, 109 * 4])
def test_a_tensor_of_another_size_than_its_shape_takes_is_refused(tmp_path, size):
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(onnx_file())
    model.graph.initializer[0].raw_data = bytes(size)
    path = tmp_path / "x.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(QcoreError, match=r"its shape takes 432|no valid ONNX file"):
        parse(path)
