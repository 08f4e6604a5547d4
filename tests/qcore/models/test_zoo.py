import json
import pickle
from itertools import islice
from pathlib import Path
from urllib.error import URLError

import pytest
import torch

from qcore.data import load_data
from qcore.errors import DataUnavailable, InvalidConfig, UnsupportedModel
from qcore.example_inputs import example_inputs
from qcore.models.catalog import BUNDLED_NAMES, MODELS, WEIGHTS, bundled_facts, bundled_spec
from qcore.models.zoo import BUNDLED, build_model, load_model, write_spec
from qcore.network.layers import find_layers, weights_digest
from tests.variants import some

torch.set_num_threads(1)

IMAGE_NETWORKS = [name for name in BUNDLED_NAMES if not MODELS[name].inputs]


@pytest.fixture
def state_file(tmp_path):
    """A file of resnet8 weights, changed by the test, as a function of the change."""

    def write(change=lambda state: state):
        path = tmp_path / "weights.pt"
        torch.save(change(dict(build_model("resnet8", seed=3).state_dict())), path)
        return path

    return write


@pytest.mark.parametrize("name", BUNDLED_NAMES)
def test_bundled_weights_load_into_eval_mode_as_float32(name):
    model = load_model(name)
    assert not any(module.training for module in model.modules())
    tensors = {k: v for k, v in model.state_dict().items() if not k.endswith("tracked")}
    assert {value.dtype for value in tensors.values()} == {torch.float32}
    stored = torch.load(WEIGHTS / f"{name}.pt", weights_only=True)
    assert set(stored) == set(tensors)
    assert all(torch.equal(tensors[key], value.float()) for key, value in stored.items())


@pytest.mark.parametrize("name", BUNDLED_NAMES)
def test_the_shipped_layers_are_those_of_the_shipped_weights(name):
    entry = MODELS[name]
    example = torch.zeros(1, *entry.input_shape)
    if entry.inputs:
        example = example_inputs(entry.inputs, 1)
    spec = find_layers(load_model(name), example, name, entry.inputs).spec
    assert bundled_spec(name) == spec
    assert (spec.input_shape, spec.classes) == (entry.input_shape, entry.classes)


@pytest.mark.parametrize("name", some(IMAGE_NETWORKS, 2))
def test_bundled_networks_reach_about_their_stated_accuracy(name):
    data = load_data("fashion-mnist", calibration=1, search=1)
    model = load_model(name)
    with torch.inference_mode():
        hits = sum(
            int((model(images).argmax(1) == labels).sum())
            for images, labels in islice(data.test.batches(125), 8)
        )
    # five standard errors on 1,000 of the 10,000 images
    assert hits / 1000 == pytest.approx(bundled_facts(name)["test_accuracy"], abs=0.045)


def test_the_builders_are_the_bundled_names():
    assert tuple(BUNDLED) == BUNDLED_NAMES


def test_write_spec_writes_what_bundled_spec_reads(monkeypatch, tmp_path):
    (tmp_path / "resnet8.pt").write_bytes((WEIGHTS / "resnet8.pt").read_bytes())
    monkeypatch.setattr("qcore.models.zoo.WEIGHTS", tmp_path)
    monkeypatch.setattr("qcore.models.catalog.WEIGHTS", tmp_path)
    monkeypatch.setattr("qcore.network.kept_wiring.KEPT", tmp_path / "wirings.json")
    path = write_spec("resnet8")
    assert json.loads((tmp_path / "wirings.json").read_text()).keys() == {"resnet8"}
    assert path == tmp_path / "resnet8.spec.json"
    assert json.loads(path.read_text())["name"] == "resnet8"
    assert bundled_spec("resnet8").digest == weights_digest(load_model("resnet8"))


def test_same_seed_builds_the_same_weights_and_leaves_the_global_seed_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, same, other = (weights_digest(build_model("resnet8", seed=s)) for s in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)
    assert one == same != other


def test_networks_take_other_channels_and_classes():
    model = build_model("mobilenet", classes=7, in_channels=3)
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 7)
    with pytest.raises(UnsupportedModel, match="3-channel"):
        build_model("resnet18", in_channels=1)


@pytest.mark.parametrize(
    ("name", "hint"), [("resnet81", "resnet8"), ("zzz", "qcore.models.catalog")]
)
def test_an_unknown_name_is_refused_with_a_hint(name, hint):
    with pytest.raises(UnsupportedModel, match=hint):
        load_model(name)


def test_a_file_of_weights_is_used(state_file):
    assert weights_digest(load_model("resnet8", state_file())) == weights_digest(
        build_model("resnet8", seed=3)
    )


def test_a_checkpoint_with_a_state_dict_inside_and_wrapped_names_is_used(state_file):
    path = state_file(
        lambda state: {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}}
    )
    assert weights_digest(load_model("resnet8", path)) == weights_digest(
        build_model("resnet8", seed=3)
    )


def test_batch_counters_may_be_missing(state_file):
    path = state_file(
        lambda state: {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    )
    assert not load_model("resnet8", path).training


def test_classes_and_channels_are_read_from_the_file(tmp_path):
    path = tmp_path / "weights.pt"
    torch.save(build_model("resnet8", classes=4, in_channels=3).state_dict(), path)
    assert load_model("resnet8", path)(torch.zeros(1, 3, 32, 32)).shape == (1, 4)
    torch.save(build_model("squeezenet1_1", classes=12).state_dict(), path)
    assert load_model("squeezenet1_1", path)(torch.zeros(1, 3, 64, 64)).shape == (1, 12)


def test_wrong_names_are_listed_with_their_nearest(state_file):
    def rename(state):
        state["fc.wieght"] = state.pop("fc.weight")
        return state

    with pytest.raises(InvalidConfig) as caught:
        load_model("resnet8", state_file(rename))
    assert "missing: fc.weight (nearest: fc.wieght)" in str(caught.value)
    assert "unexpected: fc.wieght (nearest: fc.weight)" in str(caught.value)


def test_wrong_shapes_are_listed(state_file):
    path = state_file(lambda state: state | {"layer1.0.conv1.weight": torch.zeros(16, 16, 5, 5)})
    with pytest.raises(InvalidConfig, match=r"layer1\.0\.conv1\.weight has shape \(16, 16, 5, 5\)"):
        load_model("resnet8", path)


def test_weights_that_are_not_finite_are_refused(state_file):
    path = state_file(lambda state: state | {"fc.bias": torch.full((10,), float("nan"))})
    with pytest.raises(InvalidConfig, match=r"NaN or infinity in fc\.bias"):
        load_model("resnet8", path)


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "weights.pt"
    torch.save(build_model("resnet20").state_dict(), path)
    with pytest.raises(InvalidConfig, match=r"unexpected: layer1\.1\.conv1\.weight"):
        load_model("resnet8", path)


class Payload:
    """What unpickling this would run."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_a_weight_file_never_runs_code(tmp_path, writer):
    marker, path = tmp_path / "ran", tmp_path / "weights.pt"
    if writer == "torch":
        torch.save({"fc.weight": Payload(marker)}, path)
    else:
        path.write_bytes(pickle.dumps({"fc.weight": Payload(marker)}, protocol=2))
    with pytest.raises(InvalidConfig, match="cannot be read as plain weights"):
        load_model("resnet8", path)
    assert not marker.exists()


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04 cut short"])
def test_a_damaged_file_is_refused_by_name(tmp_path, content):
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(InvalidConfig, match=str(path)):
        load_model("resnet8", path)


@pytest.mark.parametrize("content", [[1, 2], {"fc.weight": 3.0}, torch.zeros(3)])
def test_a_file_that_holds_no_state_dict_is_refused(tmp_path, content):
    path = tmp_path / "weights.pt"
    torch.save(content, path)
    with pytest.raises(InvalidConfig, match="no state dict"):
        load_model("resnet8", path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataUnavailable, match=r"nowhere\.pt"):
        load_model("resnet8", tmp_path / "nowhere.pt")


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """Torch's cache of downloads, empty, with nothing to fetch from."""

    def unreachable(url, *args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", unreachable)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_torchvision_weights_are_read_from_the_cache(hub):
    model = build_model("squeezenet1_1", seed=4)
    torch.save(model.state_dict(), hub / "squeezenet1_1-b8a52dc0.pth")
    assert weights_digest(load_model("squeezenet1_1")) == weights_digest(model)


def test_densenet_weights_with_their_old_names_are_read(hub):
    model = build_model("densenet121", seed=4)
    old = {}
    for key, value in model.state_dict().items():
        for part in ("norm", "conv"):
            for number in "12":
                if ".denselayer" in key:
                    key = key.replace(f".{part}{number}.", f".{part}.{number}.")
        old[key] = value
    assert any(".norm.1." in key for key in old)
    torch.save(old, hub / "densenet121-a639ec97.pth")
    assert weights_digest(load_model("densenet121")) == weights_digest(model)


def test_an_impossible_download_says_where_to_put_the_file(hub):
    with pytest.raises(DataUnavailable) as caught:
        load_model("resnet18")
    assert str(hub / "resnet18-f37072fd.pth") in str(caught.value)
    assert "no route to host" in str(caught.value)


def test_googlenet_keeps_its_input_transform_and_runs():
    model = build_model("googlenet", classes=5)
    assert model.transform_input
    assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 5)
