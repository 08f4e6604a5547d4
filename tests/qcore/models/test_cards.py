"""A network of the user's is a card in the data folder, in every process and at once."""

import json

import pytest
import torch

from qcore.errors import InvalidConfig, InvalidParams, UnsupportedModel
from qcore.models import cards
from qcore.models.catalog import (
    BUNDLED_NAMES,
    MODELS,
    default_data,
    read_models,
)
from qcore.models.zoo import build_model, load_model
from qcore.network.layers import find_layers, weights_digest
from qcore.prepare import prepare
from qcore.run_spec import RunSpec
from tests.own_networks import SHAPE, add_resnet8, resnet8_weights, tensor_file


@pytest.fixture(autouse=True)
def data_folder(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("BITDIAL_DATA", str(tmp_path / "data"))
        yield tmp_path / "data"


@pytest.fixture
def card(tmp_path):
    return add_resnet8("mine", resnet8_weights(tmp_path / "w.safetensors"))


def test_a_card_survives_its_file_and_lists_between_bundled_and_torchvision(card):
    assert cards.read_cards() == ({"mine": card}, {})
    names = list(read_models())
    assert names[: len(BUNDLED_NAMES) + 1] == [*BUNDLED_NAMES, "mine"]
    assert names[-1] == "wide_resnet50_2"
    assert set(names) == {*MODELS, "mine"}
    assert default_data("mine") == "imagefolder:"


def test_a_network_of_a_card_loads_with_its_weights(card):
    expected = build_model("resnet8", classes=3, seed=3)
    assert weights_digest(load_model("mine")) == weights_digest(expected)
    spec = find_layers(load_model("mine"), torch.zeros(1, *SHAPE), "mine").spec
    assert cards.card_spec("mine").names == spec.names


def test_a_card_that_is_removed_is_gone_everywhere(card, data_folder):
    cards.remove_card("mine")
    assert not (data_folder / "networks" / "mine").exists()
    with pytest.raises(UnsupportedModel, match="There is no model named 'mine'"):
        load_model("mine")
    assert "mine" not in read_models()
    with pytest.raises(UnsupportedModel, match="'mine'"):
        cards.remove_card("mine")


def test_weights_that_were_exchanged_are_refused(card, data_folder):
    path = data_folder / "networks" / "mine" / card.weights
    resnet8_weights(path, seed=4)
    with pytest.raises(InvalidConfig, match="has changed since mine was added"):
        load_model("mine")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "A", "-x", "x" * 65, "é", "a b", "x\n"]
)
def test_names_that_could_be_paths_are_refused(name):
    with pytest.raises(InvalidParams, match="A network's name has 1 to 64"):
        cards.check_name(name)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("{", "Expecting"),
        ("[]", "TypeError"),
        ({"source": "pickle"}, "Unknown source 'pickle'"),
        ({"name": "other"}, "rename its folder"),
        ({"weights": "../../etc/passwd"}, "a file of the card's own folder"),
        ({"classes": 10**9}, "2 to 100,000 classes"),
        ({"input_shape": [3, 10**6, 1]}, "input shape"),
        ({"preprocessing": {"mean": [0.5], "std": [0.0]}}, "above 0"),
        ({"title": ""}, "title"),
    ],
)
def test_a_card_that_cannot_be_is_named_with_its_reason(card, data_folder, change, words):
    path = data_folder / "networks" / "mine" / "card.json"
    text = change if isinstance(change, str) else json.dumps(card.to_json() | change)
    path.write_text(text)
    assert words in read_models().broken["mine"]
    assert "mine" not in read_models()


def test_a_card_cannot_take_the_place_of_a_shipped_network(card, data_folder):
    (data_folder / "networks" / "mine").rename(data_folder / "networks" / "resnet8")
    path = data_folder / "networks" / "resnet8" / "card.json"
    path.write_text(json.dumps(card.to_json() | {"name": "resnet8"}))
    assert "comes with bitdial" in read_models().broken["resnet8"]
    assert read_models()["resnet8"].source == "bundled"


def test_another_process_scores_an_own_network_just_the_same(card, tmp_path):
    data = f"tensors:{tensor_file(tmp_path / 'd.npz')}"
    spec = RunSpec("mine", data, "uniform", calibration_images=16, search_images=16)
    prepared = prepare(spec)
    bits = {name: options[0] for name, options in prepared.problem.options.items()}
    allocation = type(prepared.float_point.allocation)(bits)
    [here] = prepared.score([allocation])
    recipe = prepared.recipe("ptq")
    cards.remove_card("mine")
    [there] = recipe.context().score([allocation], "ptq")
    assert here.search == there.search
