"""MLPerf Tiny's architectures: as large as published, and the user's weights and data go in."""

import numpy as np
import pytest
import torch
from torch import nn

from qcore.add_network import add_network, check_network_on
from qcore.errors import InvalidConfig, UnsupportedModel
from qcore.example_inputs import example_inputs
from qcore.inputs import parse_input
from qcore.models.architectures import ARCHITECTURES
from qcore.models.bundled import BUILDERS
from qcore.models.cards import read_cards
from qcore.models.new_network import NewNetwork
from qcore.models.zoo import load_model
from qcore.network.layers import find_layers
from qcore.prepare import prepare
from qcore.run_spec import RunSpec
from qcore.trees import call
from tests.variants import some

torch.set_num_threads(1)

# Parameters as Keras counts them, running statistics included, in the benchmark's own models;
# NXP's eIQ model zoo lists 221,794 for the MobileNet and 23,756, without them, for DS-CNN.
# Multiply-accumulates are those usually given: 2.7, 0.26, 7.5 and 12.5 million.
# (parameters, multiply-accumulates, layers, outputs)
PUBLISHED = {
    "ds_cnn": (24_908, 2_656_768, 10, 12),
    "tiny_autoencoder": (269_992, 264_192, 10, 640),
    "vww_mobilenet": (221_794, 7_489_664, 28, 2),
    "tiny_resnet8": (78_666, 12_501_632, 10, 10),
}


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path / "data"))
    return tmp_path


def sample(name, n=1):
    known = ARCHITECTURES[name]
    if known.inputs:
        return example_inputs(known.inputs, n)
    return torch.rand(n, *known.input_shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", PUBLISHED)
def test_they_are_as_large_as_published(name):
    parameters, macs, layers, outputs = PUBLISHED[name]
    network = BUILDERS[name]().eval()
    statistics = sum(b.numel() for n, b in network.named_buffers() if "running" in n)
    assert sum(p.numel() for p in network.parameters()) + statistics == parameters
    spec = find_layers(network, sample(name), name, ARCHITECTURES[name].inputs).spec
    assert sum(layer.macs for layer in spec.layers) == macs
    assert (len(spec.layers), spec.coverage, spec.classes) == (layers, 1.0, outputs)
    assert network(sample(name, 3)).shape == (3, outputs)


def test_every_architecture_is_built_by_its_name_and_the_other_way_round():
    assert set(BUILDERS) == set(ARCHITECTURES)
    for name, known in ARCHITECTURES.items():
        assert known.input_shape == (known.inputs[0].shape if known.inputs else known.input_shape)
        network = BUILDERS[name](in_channels=known.input_shape[0]).eval()
        assert call(network, sample(name)).shape[0] == 1


@pytest.mark.parametrize(("size", "kernel", "before", "after"), [(96, 3, 0, 1), (32, 3, 0, 1)])
def test_even_sizes_are_padded_as_tensorflow_pads_them(size, kernel, before, after):
    """SAME with stride 2: ceil(size / 2) places, the padding split with the larger part behind."""
    total = (-(-size // 2) - 1) * 2 + kernel - size
    assert (total // 2, total - total // 2) == (before, after)
    for name in ("vww_mobilenet", "tiny_resnet8"):
        modules = list(BUILDERS[name]().modules())
        strided = [m for m in modules if isinstance(m, nn.Conv2d) and m.stride == (2, 2)]
        pads = [m.padding for m in modules if isinstance(m, nn.ZeroPad2d)]
        assert len(pads) == len([m for m in strided if m.kernel_size == (3, 3)]) > 0
        assert set(pads) == {(before, after, before, after)}
        assert {m.padding for m in strided} == {(0, 0)}


@pytest.mark.parametrize("name", some(PUBLISHED, 2))
def test_weights_and_data_of_the_users_go_in(name, folder):
    torch.manual_seed(3)
    network = BUILDERS[name]().eval()
    torch.save(network.state_dict(), folder / "weights.pt")
    card, spec, notes = add_network(
        NewNetwork("mine", "bundled", name, weights=str(folder / "weights.pt"))
    )
    known = ARCHITECTURES[name]
    assert (card.inputs, card.judge) == (known.inputs, known.judge)
    assert card.input_shape == known.input_shape
    assert not any("chance" in note for note in notes)
    x = sample(name, 2)
    with torch.inference_mode():
        assert torch.equal(load_model("mine")(x), network(x))
    rng = np.random.default_rng(0)
    shape, n = known.input_shape, 60
    columns = {"x": rng.normal(size=(n, *shape)).astype(np.float32), "y": np.arange(n) % 2}
    if not known.inputs:
        columns["x"] = rng.random((n, *shape)).astype(np.float32)
    np.savez(folder / "data.npz", **columns)
    data = f"tensors:{folder / 'data.npz'}"
    if known.inputs:  # the others have classes of their own, which these labels are not
        report = check_network_on("mine", data, 20, 20).report
        assert report["splits"] == {"calibration": 20, "search": 20, "test": 20}
        run = RunSpec("mine", data, "uniform", calibration_images=20, search_images=20)
        ready = prepare(run)
        assert ready.model == spec
        assert ready.float_point.search.kl == 0


def test_sizes_other_than_the_published_ones_are_built(folder):
    torch.save(BUILDERS["ds_cnn"](classes=35).state_dict(), folder / "words.pt")
    card, _, _ = add_network(
        NewNetwork("words", "bundled", "ds_cnn", weights=str(folder / "words.pt"))
    )
    assert card.classes == 35
    card, _, _ = add_network(
        NewNetwork("rows", "bundled", "tiny_autoencoder", inputs=(parse_input("row:float32:320"),))
    )
    assert (card.classes, card.input_shape, card.judge.name) == (320, (320,), "signal")
    assert load_model("rows")(torch.zeros(1, 320)).shape == (1, 320)
    card, _, _ = add_network(
        NewNetwork("grey", "bundled", "vww_mobilenet", input_shape=(1, 64, 64))
    )
    assert (card.input_shape, card.inputs) == ((1, 64, 64), ())
    assert set(read_cards()[0]) == {"words", "rows", "grey"}


def test_weights_of_another_network_and_unknown_names_are_refused(folder):
    torch.save(BUILDERS["tiny_resnet8"]().state_dict(), folder / "weights.pt")
    with pytest.raises(InvalidConfig, match="missing"):
        add_network(NewNetwork("x", "bundled", "ds_cnn", weights=str(folder / "weights.pt")))
    with pytest.raises(UnsupportedModel, match=r"ds_cnnn.*ds_cnn"):
        add_network(NewNetwork("x", "bundled", "ds_cnnn"))
    assert read_cards()[0] == {}
