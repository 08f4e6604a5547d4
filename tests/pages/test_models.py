"""The Models page: what is there, the way in for one's own, and what goes wrong in words."""

import json
import re
import shutil
import sys

import pytest

from pages.models.form import LIBRARY, preprocessing, usual_words
from pages.models.frames import left_frame
from pages.shared.text import literal
from qcore.allocation import LayerSpec, ModelSpec
from qcore.errors import InvalidParams
from qcore.models.cards import Card, write_card
from qcore.models.catalog import read_models
from qcore.models.new_network import usual_for
from qcore.models.preprocessing import Preprocessing
from store.jobs import opening

HOSTILE = "![x](http://evil.example/p.png)<img src=x onerror=alert(1)>\u202e"
HEAD = "import json, sys, time, pathlib; p = pathlib.Path(sys.argv[1]);"
# written beside and renamed, as the real worker does
FAILS = HEAD + f"q = p / 'new'; q.write_text(json.dumps({{'error': {HOSTILE!r}}}));"
FAILS += "q.replace(p / 'result.json')"
STEPS = Preprocessing(1, 8, 8, mean=(0.5,), std=(0.3,))
SLEEPS = HEAD + "time.sleep(600)"


def spec_of(name):
    layer = LayerSpec(HOSTILE, "conv2d", 100, 4, 4, 6400, 64, 256)
    left = {"attention.in_proj_weight": 50, "norm.bias": 4}
    words = f"attention.in_proj_weight stays in float: {HOSTILE}"
    return ModelSpec(name, "1" * 64, (layer,), left, (words,), (1, 8, 8), 3)


@pytest.fixture
def own(place):
    """A network of one's own with hostile names in it."""
    card = Card("mine", HOSTILE, "onnx", "onnx2torch", (1, 8, 8), 3, STEPS)
    write_card(card, None, spec_of("mine"))
    yield card
    shutil.rmtree(place / "networks")


@pytest.fixture
def worker(monkeypatch, store):
    def use(program):
        monkeypatch.setattr(
            opening, "command", lambda place: [sys.executable, "-c", program, str(place)]
        )

    yield use
    for step in list(opening._CHILDREN):
        opening.cancel(store, step)


def words_of(at):
    kinds = (at.markdown, at.caption, at.error, at.warning, at.info, at.success, at.header)
    return [element.value for kind in kinds for element in kind]


def test_bundled_networks_are_listed_with_layers_and_accuracy(app, store):
    at = app("models")
    networks = at.dataframe[0].value.set_index("Network")
    assert list(networks.index) == ["resnet8", "resnet20", "mobilenet", "bearing", "verse_decoder"]
    assert networks.loc["resnet20", "Layers"] == 22
    assert networks.loc["resnet20", "Test samples"] == 10_000
    assert 0 < networks.loc["resnet20", "Float accuracy, % (test)"] < 100
    assert " to " in networks.loc["resnet20", "95 % interval"]
    assert {"Layers that get bits", "Values left in float"} < {m.label for m in at.metric}


def test_layers_of_the_chosen_network_and_what_stays_in_float_are_shown(app, own, store):
    at = app("models", model="mine")
    shown = [frame.value for frame in at.dataframe]
    assert shown[0].set_index("Network").loc["mine", "From"] == "your ONNX file"
    assert list(shown[1]["Layer"]) == [HOSTILE]
    left = shown[2].set_index("Parameter")
    assert left["Values"].tolist() == [50, 4]
    assert "stays in float" in left["Why it stays in float"].iloc[0]
    assert left["Why it stays in float"].iloc[1].startswith("a bias")


def test_hostile_names_are_text_everywhere(app, own, store):
    for text in words_of(app("models", model="mine")):
        assert "![x](" not in text
        assert not re.search(r"(?<!\\)<img", text)


def test_a_network_whose_layers_are_unknown_says_what_to_do(app, store):
    at = app("models", model="resnet50")
    assert any("not known yet" in info.value for info in at.info)
    assert not at.error


def test_a_broken_card_is_named_with_its_reason(app, own, place):
    path = place / "networks" / "mine" / "card.json"
    path.write_text(json.dumps(own.to_json() | {"classes": 0}))
    at = app("models")
    [error] = at.error
    assert "mine cannot be used" in error.value
    assert "classes; got 0" in error.value


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "A network's name has 1 to 64"),
        ({"m-name": "resnet20"}, "comes with bitdial"),
        ({"m-name": "x", "m-shape": "big"}, "3x224x224; got 'big'"),
        ({"m-name": "x", "m-path": "/nowhere/w.pt"}, "There is no file /nowhere/w.pt"),
        ({"m-name": "x", "m-path": "/etc/passwd"}, "should end in"),
    ],
)
def test_what_cannot_be_added_is_said_before_anything_is_started(app, store, fields, message):
    at = app("models")
    for key, value in fields.items():
        at.text_input(key=key).set_value(value)
    at.button(key="m-load").click().run()
    assert not at.exception
    assert literal(message) in at.error[0].value
    assert not opening._CHILDREN


def test_a_network_gives_way_to_another_of_its_name_only_where_that_is_ticked(
    app, own, store, worker
):
    worker(SLEEPS)
    at = app("models", model="resnet8")
    at.text_input(key="m-name").set_value("other").run()
    assert not [box for box in at.checkbox if box.key.startswith("m-replace")]
    at.text_input(key="m-name").set_value("mine").run()
    assert "runs and configurations stay tied to the old weights" in (
        at.checkbox(key="m-replace-mine").label
    )
    at.button(key="m-load").click().run()
    assert literal("a network 'mine' of yours already") in at.error[0].value
    assert not opening._CHILDREN
    at.checkbox(key="m-replace-mine").check().run()
    at.button(key="m-load").click().run()
    assert not at.exception
    place = opening.folder_of(store) / at.session_state["m-adding"]
    assert json.loads((place / opening.REQUEST).read_text())["new"]["replace"] is True


def test_a_network_from_a_file_is_not_loaded_before_its_normalisation_is_said(app, store):
    at = app("models")
    at.segmented_control(key="m-source").set_value("onnx").run()
    at.text_input(key="m-name").set_value("mine")
    at.text_input(key="m-path").set_value("/nowhere/net.onnx")
    assert at.selectbox(key="m-normalisation-own").value is None
    at.button(key="m-load").click().run()
    assert literal("Choose the data it was trained on") in at.error[0].value
    at.selectbox(key="m-trained-on").set_value("fashion-mnist").run()
    assert "mean 0.286; deviation 0.353" in at.selectbox(key="m-normalisation-fashion-mnist").value
    at.button(key="m-load").click().run()
    assert literal("There is no file /nowhere/net.onnx") in at.error[0].value


def test_a_hugging_face_folder_is_asked_for_with_the_length_of_its_texts(app, store, tmp_path):
    at = app("models")
    at.segmented_control(key="m-source").set_value("huggingface").run()
    at.text_input(key="m-name").set_value("mine")
    at.button(key="m-load").click().run()
    assert "Give the Hugging Face folder" in at.error[0].value
    at.text_input(key="m-folder").set_value(str(tmp_path))
    at.number_input(key="m-length").set_value(64)
    at.button(key="m-load").click().run()
    assert literal("has no config.json") in at.error[0].value
    (tmp_path / "config.json").write_text('{"auto_map": {"AutoModel": "evil.Net"}}')
    at.button(key="m-load").click().run()
    assert literal("evil.Net") in at.error[0].value
    assert not opening._CHILDREN


def test_the_proposal_is_the_normalisation_of_the_data_chosen():
    words = usual_words("mnist")
    assert preprocessing(words, "", "", None, "", "mnist") == usual_for("mnist")
    assert preprocessing(words, "", "", None, "1x14x14", "mnist").input_shape == (1, 14, 14)
    with pytest.raises(InvalidParams, match=r"have 1 channel.* shape is 3x28x28"):
        preprocessing(words, "", "", None, "3x28x28", "mnist")
    with pytest.raises(InvalidParams, match="Choose the data"):
        preprocessing("", "", "", None, "1x28x28")


def test_a_network_that_was_added_is_opened_and_another_can_be_chosen_then(app, own, store, worker):
    report = {"card": {"name": "mine"}, "spec": {"layers": [{}]}, "notes": []}
    done = HEAD + f"q = p / 'new'; q.write_text(json.dumps({{'report': {report!r}}}));"
    worker(done + "q.replace(p / 'result.json')")
    at = app("models", model="resnet8")
    at.text_input(key="m-name").set_value("again")
    at.button(key="m-load").click().run()
    step = at.session_state["m-adding"]
    if step in opening._CHILDREN:
        opening._CHILDREN[step].process.wait(60)
    at.run()
    assert not at.exception
    assert at.selectbox(key="model").value == "mine"
    assert "mine is added" in at.success[0].value
    at.selectbox(key="model").set_value("resnet8").run()
    assert at.selectbox(key="model").value == "resnet8"


@pytest.mark.parametrize(("installed", "said"), [(True, False), (False, True)])
def test_missing_packages_are_said_when_a_source_is_chosen(
    app, store, monkeypatch, installed, said
):
    found = object() if installed else None
    monkeypatch.setattr("qcore.models.new_network.find_spec", lambda name: found)
    at = app("models")
    at.segmented_control(key="m-source").set_value("onnx").run()
    assert any("requirements-models.txt" in warning.value for warning in at.warning) == said


def test_a_failed_step_shows_its_words_as_text(app, store, worker):
    worker(FAILS)
    at = app("models", model="resnet8")
    at.button(key="m-check").click().run()
    step = at.session_state["m-check-step-resnet8"]
    if step in opening._CHILDREN:
        opening._CHILDREN[step].process.wait(60)
    at.run()
    assert not at.exception
    assert at.error[0].value == literal(HOSTILE)
    # what is refused next stands alone
    at.session_state["m-adding"] = step
    at.button(key="m-load").click().run()
    assert not any(literal(HOSTILE) in each.value for each in at.error[:1])
    assert "m-adding" not in at.session_state


def test_a_step_under_way_can_be_cancelled_and_not_started_twice(app, store, worker):
    worker(SLEEPS)
    at = app("models", model="resnet8")
    at.button(key="m-sensitivity").click().run()
    at.run()
    assert at.button(key="m-sensitivity").disabled
    at.button(key="m-table-step-resnet8-cancel").click().run()
    at.run()
    assert not at.exception
    assert any("Cancelled" in info.value for info in at.info)
    assert not opening._CHILDREN


@pytest.mark.parametrize("words", ["/a b/%#?", " '/a b/%#?' ", "imagefolder:/a b/%#?"])
def test_the_place_of_data_is_read_however_it_is_written(app, own, store, worker, words):
    worker(SLEEPS)
    at = app("models", model="mine")
    at.selectbox(key="m-data-mine").set_value("imagefolder").run()
    at.text_input(key="m-place-mine-imagefolder").set_value(words).run()
    at.button(key="m-check").click().run()
    assert not at.exception
    place = opening.folder_of(store) / at.session_state["m-check-step-mine"]
    request = json.loads((place / opening.REQUEST).read_text())
    assert request["data"] == "imagefolder:/a b/%#?"


def test_a_network_can_be_removed(app, own, place):
    at = app("models", model="mine")
    at.button(key="m-remove").click().run()
    assert not at.exception
    assert "mine" not in read_models()
    assert not (place / "networks" / "mine").exists()
    assert at.selectbox(key="model").value == "resnet8"


def test_normalisation_is_read_or_refused():
    assert preprocessing(LIBRARY, "", "", None, "") is None
    grey = preprocessing("none (0 to 1)", "", "", None, "1x28x28")
    assert (grey.input_shape, grey.resize, grey.mean, grey.std) == ((1, 28, 28), None, (0,), (1,))
    tall = preprocessing("other numbers", "0.1, 0.2", "0.5", 40, "2x32x28")
    assert (tall.input_shape, tall.resize) == ((2, 32, 28), 40)
    for bad in (("none (0 to 1)", "", "", None, ""), ("other numbers", "a", "1", None, "1x2x2"),
                ("CIFAR-10", "", "", None, "1x28x28")):  # fmt: skip
        with pytest.raises(InvalidParams):
            preprocessing(*bad)


def test_every_parameter_in_float_has_a_reason():
    frame = left_frame(spec_of("x"))
    assert frame["Share of all, %"].sum() == pytest.approx(100 * 54 / 154)
    assert spec_of("x").why_float("cls_token").startswith("not a weight of")
