import json
from pathlib import Path

import pytest

from qcore.errors import DataUnavailable, InvalidParams, UnsupportedModel
from qcore.judges import CLASSES
from qcore.judges.signal import Signal
from qcore.models._torchvision import torchvision
from qcore.models.cards import check_preprocessing
from qcore.models.catalog import (
    BUNDLED_NAMES,
    DATASETS,
    MODELS,
    WEIGHTS,
    bundled_facts,
    bundled_spec,
    data_name,
    default_data,
    judge_of,
    split_data_name,
)
from qcore.models.new_network import usual_for

IMAGE_NETWORKS = [name for name in BUNDLED_NAMES if not MODELS[name].inputs]


def of_torchvision():
    return [entry for entry in MODELS.values() if entry.source == "torchvision"]


def test_every_torchvision_classifier_is_listed_once_in_order():
    assert [entry.name for entry in of_torchvision()] == sorted(
        torchvision.models.list_models(module=torchvision.models)
    )


def test_preprocessing_is_that_of_torchvisions_default_weights():
    for entry in of_torchvision():
        theirs = torchvision.models.get_model_weights(entry.name).DEFAULT.transforms()
        ours = entry.preprocessing
        assert [ours.height] == [ours.width] == theirs.crop_size, entry.name
        assert [ours.resize] == theirs.resize_size, entry.name
        assert ours.interpolation == theirs.interpolation.value, entry.name
        assert list(ours.mean) == list(theirs.mean), entry.name
        assert list(ours.std) == list(theirs.std), entry.name
        assert entry.input_shape == (3, ours.height, ours.width)


def test_bundled_networks_come_first():
    assert tuple(MODELS)[: len(BUNDLED_NAMES)] == BUNDLED_NAMES
    assert all(MODELS[name].source == "bundled" for name in BUNDLED_NAMES)


def test_every_model_names_data_sets_that_exist():
    for entry in MODELS.values():
        assert entry.datasets
        assert set(entry.datasets) <= set(DATASETS)


@pytest.mark.parametrize("name", IMAGE_NETWORKS)
def test_facts_and_layers_of_bundled_networks_are_there(name):
    facts = bundled_facts(name)
    assert 0.85 < facts["test_accuracy"] < 1
    assert facts["test_images"] == 10_000
    spec = bundled_spec(name)
    assert spec.name == name
    assert spec.coverage == 1.0
    batch_norm_and_biases = facts["parameters"] - sum(layer.weights for layer in spec.layers)
    # two parameters for each folded channel, one for each bias of the classifier
    channels = sum(layer.channels for layer in spec.layers[:-1])
    assert batch_norm_and_biases == 2 * channels + spec.classes


def test_two_bundled_networks_take_no_images():
    names = [name for name in BUNDLED_NAMES if name not in IMAGE_NETWORKS]
    assert names == ["bearing", "verse_decoder"]
    entry, spec, facts = MODELS["bearing"], bundled_spec("bearing"), bundled_facts("bearing")
    assert spec.inputs == entry.inputs == DATASETS["vibrations"].inputs
    assert judge_of("bearing") == entry.judge == Signal(measure="auc")
    assert judge_of("resnet8") == CLASSES
    assert default_data("bearing") == facts["data"] == "vibrations"
    assert spec.coverage == 1.0
    weights = sum(layer.weights for layer in spec.layers)
    assert 8 <= len(spec.layers) <= 14
    assert 20_000 <= weights <= 60_000
    # two parameters for each folded channel; code and output have biases and no norm
    plain = [layer for layer in spec.layers if layer.channels <= 2]
    assert len(plain) == 2
    channels = sum(layer.channels for layer in spec.layers if layer not in plain)
    assert facts["parameters"] == weights + 2 * channels + sum(x.channels for x in plain)


def test_a_bundled_network_is_a_language_model():
    entry, spec = MODELS["verse_decoder"], bundled_spec("verse_decoder")
    facts = bundled_facts("verse_decoder")
    assert spec.inputs == entry.inputs == DATASETS["verses"].inputs
    assert default_data("verse_decoder") == facts["data"] == "verses"
    assert entry.judge.own_labels
    assert {each.name for each in entry.inputs} == {entry.judge.ids, entry.judge.mask}
    # all but the scales of its norms has bits; the head is the embedding, once
    kinds = [layer.kind for layer in spec.layers]
    assert kinds == ["tied_embedding"] + ["linear"] * 28
    weights = sum(layer.weights for layer in spec.layers)
    assert facts["parameters"] == weights + sum(spec.left_in_float.values())
    assert set(spec.left_in_float.values()) == {256}
    assert 2_000_000 < weights < 5_000_000
    assert (WEIGHTS / "verse_decoder.pt").stat().st_size < 10_000_000
    # a perplexity that guessing words by how often they come does not reach
    assert facts["test_perplexity"] < 60


def test_facts_of_other_models_are_refused_and_missing_files_named(monkeypatch, tmp_path):
    with pytest.raises(UnsupportedModel, match="resnet18"):
        bundled_spec("resnet18")
    monkeypatch.setattr("qcore.models.catalog.WEIGHTS", tmp_path)
    with pytest.raises(DataUnavailable, match=r"resnet8\.json.*train_zoo resnet8"):
        bundled_facts("resnet8")
    with pytest.raises(DataUnavailable, match=r"bearing\.json.*train_bearing"):
        bundled_facts("bearing")
    with pytest.raises(DataUnavailable, match=r"verse_decoder\.json.*train_decoder"):
        bundled_facts("verse_decoder")
    (tmp_path / "resnet8.json").write_text(json.dumps({"test_accuracy": 0.5}))
    assert bundled_facts("resnet8") == {"test_accuracy": 0.5}


def test_data_names_split_into_key_and_folder():
    assert split_data_name("cifar10") == ("cifar10", None)
    assert split_data_name("images:/a:b") == ("images", Path("/a:b"))
    assert split_data_name("imagefolder:~/x")[1] == Path.home() / "x"


@pytest.mark.parametrize(
    ("words", "path"),
    [
        ("/photos", "/photos"),
        ("  /photos\n", "/photos"),
        ("/a b/100% #1?", "/a b/100% #1?"),
        ('"/a b"', "/a b"),
        ("'/a b'", "/a b"),
        ("/it's", "/it's"),
        ("file:///a%20b", "/a b"),
        ("file://localhost/a", "/a"),
        ("/a%20b", "/a%20b"),
        ("~/x", "~/x"),
        ("photos", "{here}/photos"),
        ("-photos", "{here}/-photos"),
        ("./photos", "{here}/./photos"),
        ("\\\\server\\share", "{here}/\\\\server\\share"),
        ("/ends in a space /", "/ends in a space /"),
        ("", ""),
        (" ", ""),
    ],
)
def test_places_are_read_as_they_were_meant_on_every_door(tmp_path, monkeypatch, words, path):
    monkeypatch.chdir(tmp_path)
    meant = path.replace("{here}", str(tmp_path))
    assert data_name(words, "images") == f"images:{meant}"
    assert data_name(f"images:{words}") == f"images:{meant}"
    # a whole name in the field for the place
    assert data_name(f"imagefolder:{words}", "images") == f"imagefolder:{meant}"
    assert data_name(data_name(words, "images")) == data_name(words, "images")
    if meant:
        found = split_data_name(data_name(words, "images"))
        assert found == ("images", Path(meant).expanduser())


def test_names_without_a_place_stay_as_they_are():
    assert data_name("cifar10") == "cifar10"
    assert data_name("nonsense") == "nonsense"
    assert data_name("cifar10:/x") == "cifar10:/x"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/photos", r"write what it is before it: imagefolder:/photos, images:/photos"),
        ("C:\\photos", r"imagefolder:C:\\photos"),
        ("images:/caf\udce9", r"/caf\\xe9 is not written in UTF-8"),
        ("emnist", "Unknown data set 'emnist'"),
        ("", "Unknown data set"),
        ("images", "needs a folder"),
        ("imagefolder: ", "needs a folder"),
        ("cifar10:/x", "takes no folder"),
    ],
)
def test_data_names_that_cannot_be_are_refused(name, message):
    with pytest.raises(InvalidParams, match=message):
        split_data_name(name)


@pytest.mark.parametrize("name", [name for name, entry in DATASETS.items() if entry.mean])
def test_the_usual_normalisation_fits_the_images_of_a_data_set(name):
    entry, steps = DATASETS[name], usual_for(name)
    assert steps.input_shape == entry.shape
    assert len(entry.mean) == len(entry.std) == entry.shape[0]
    check_preprocessing(steps, entry.shape[0])
    assert (steps.mean, steps.std) == (entry.mean, entry.std)
    assert usual_for(name, (entry.shape[0], 8, 16)).input_shape == (entry.shape[0], 8, 16)
    assert usual_for(name, (4, 8, 8)) is None


@pytest.mark.parametrize("data", ["imagefolder:/x", "tensors:/x", "imagenette", "nowhere", ""])
def test_data_without_a_normalisation_of_their_own_propose_none(data):
    assert usual_for(data) is None


def test_the_bundled_networks_are_normalised_as_is_usual_for_their_data():
    assert {MODELS[name].preprocessing for name in IMAGE_NETWORKS} == {usual_for("fashion-mnist")}
