"""The Configs page in every state of the database, and everything that can be done on it."""

import json
from dataclasses import replace

import pytest

from pages.configs import import_form
from pages.downloads import downloads
from pages.shared.text import literal
from qcore.costs.user_tables import read_costs
from qcore.formats.config import BitConfig, dump_bits
from qcore.formats.exports import EXPORTS, write
from qcore.models.cards import Card, write_card
from qcore.models.catalog import read_models
from qcore.models.preprocessing import Preprocessing
from store import all_runs, configs, delete_config, save_config, update_config
from tests import configs as made
from tests.pages import sample
from tests.pages.test_app import texts

NAME = '<b>bold</b> [link](x) \u202e "quoted" \U0001f600'


@pytest.fixture
def kept(filled):
    """One whole configuration, one of bits alone, one that cannot be read; newest first 3, 2, 1."""
    bits = sample.uniform(4)
    save_config(filled, NAME, dump_bits(made.config(sample.MODEL, bits)), tags=("a", "b"))
    alone = BitConfig(sample.MODEL, sample.uniform(3))
    save_config(filled, "bits alone", dump_bits(alone), source={"file": "strategy.json"})
    save_config(filled, "broken", '{"format": "bitdial-allocation", "version": 1')
    return filled


def labels(at):
    return {element.proto.label: element.proto for element in at.get("download_button")}


def button(at, label):
    return next(entry for entry in at.button if entry.label == label)


def test_nothing_kept_says_how_to_keep_something(app):
    at = app("configs")
    assert "Nothing is kept yet" in texts(at)
    assert not at.get("download_button")
    assert at.text_area(key="import-text")


def test_a_network_without_known_layers_says_so(app):
    at = app("configs", model="resnet18")
    assert "layers of this network are not known" in texts(at)


def test_what_is_kept_is_listed_with_its_verdict(app, kept):
    update_config(
        kept,
        1,
        check={
            "at": "2026-01-01T00:00:00+00:00",
            "passed": True,
            "wanted": 0.9,
            "got": 0.9,
            "n": 10,
        },
    )
    at = app("configs", config="1")
    table = at.dataframe[0].value
    assert table["Name"].tolist() == ["broken", "bits alone", NAME]
    assert table["Verified"].tolist() == ["not verified", "not verified", "verified"]
    assert table["Network"].tolist() == ["cannot be read", "resnet8", "resnet8"]
    assert table["From"].tolist() == ["", "file strategy.json", ""]
    assert "n=10,000" in table["Measured (95 % interval)"].iloc[2]
    assert table["Measured (95 % interval)"].iloc[1] == ""


def test_the_quantization_card_says_what_the_file_says_and_no_more(app, kept):
    said = {**sample.spec_of("exact", pin_first_last=8).to_json(), "stage": "ptq"}
    whole = replace(made.config(sample.MODEL, sample.uniform(4)), provenance=said)
    number = save_config(kept, "said", dump_bits(whole))
    for config, row in ((number, "fixed at 8 bits"), (2, "not said")):
        at = app("configs", config=str(config))
        card = next(e.value for e in at.table if "How" in e.value).set_index("What")["How"]
        assert card["First and last layer"] == row
        assert card["Quantized inputs"].startswith("nowhere")


def test_the_rules_a_configuration_was_found_under_are_told(app, filled):
    told = {
        "rules": [{"layers": "conv1", "lock": 8}, {"layers": "layer1*", "tie": "weights"}],
        "weight_bits": [2, 4, 8],
        "activation_bits": [32],
    }
    config = BitConfig(sample.MODEL, sample.uniform(4), provenance=told)
    save_config(filled, "ruled", dump_bits(config))
    at = app("configs")
    (rules,) = [each.value for each in at.table if "Rule" in each.value]
    assert rules["Rule"].tolist() == ["locked at 8", "weights tied"]
    (left,) = [each.value for each in at.dataframe if "Tied with" in each.value]
    rows = left.set_index("Layer")
    assert rows.loc["conv1", "Weights"] == "8"
    assert rows.loc["layer1.0.conv1", "Tied with"] == "weights: layer1.0.conv2"
    assert "These bits do not keep all of them" in texts(at)
    bad = dump_bits(replace(config, provenance={"rules": [{"layers": "<b>", "lock": 99}]}))
    save_config(filled, "bad", bad)
    at = app("configs")
    assert any("cannot be read" in each.value for each in at.warning)


def test_a_hostile_file_is_no_markup_on_the_card(app, kept):
    said = {**sample.spec_of("exact", quantizer=NAME).to_json(), "stage": "ptq"}
    number = save_config(
        kept,
        "odd",
        dump_bits(replace(made.config(sample.MODEL, sample.uniform(4)), provenance=said)),
    )
    card = next(e.value for e in app("configs", config=str(number)).table if "How" in e.value)
    assert literal(NAME) in card["How"].tolist()


def test_a_hostile_name_is_not_markup(app, kept):
    at = app("configs", config="1")
    (heading,) = [entry.value for entry in at.header if "bold" in entry.value]
    assert "\\<b\\>" in heading
    assert "\\[link\\]\\(x\\)" in heading


def test_a_file_that_cannot_be_read_is_explained_and_can_be_deleted(app, kept):
    at = app("configs", config="3")
    assert "cannot be read: This is not valid JSON" in texts(at)
    assert not [label for label in labels(at) if label in ("Report", "Bundle")]
    button(at, "Delete").click().run()
    assert not at.exception
    assert [saved.id for saved in configs(kept)] == [2, 1]


def test_every_format_is_offered_and_what_it_cannot_hold_is_greyed_with_the_reason(app, kept):
    at = app("configs", config="1")
    found = labels(at)
    free = [export for export in EXPORTS.values() if not export.needs_model]
    assert {export.title for export in free} <= set(found)
    assert {"Report", "Bundle", "Schema", "All points (Parquet)", "Fronts (CSV)"} <= set(found)
    config = downloads.parsed(configs(kept)[-1].text, read_costs())
    for export in free:
        reason = export.carries(config)
        assert found[export.title].disabled == (reason is not None)
        if reason is not None:
            assert reason in found[export.title].help


def test_the_table_of_all_points_has_every_stored_point(kept):
    found = {run.id: run for run in all_runs(kept)}
    offered = downloads.table_offers(kept, found, sample.MODEL, "resnet8")
    files = {offer.title: offer.make() for offer in offered}
    assert files["All points (Parquet)"][:4] == b"PAR1"
    assert files["Fronts (CSV)"].count(b"\n") > 3


def test_bits_alone_cannot_be_verified_but_can_be_measured(app, kept):
    at = app("configs", config="2")
    assert button(at, "Verify").disabled
    assert "measure it first" in button(at, "Verify").help
    button(at, "Measure").click().run()
    assert not at.exception
    newest = all_runs(kept)[0]
    assert newest.spec.search == "given"
    assert newest.spec.params["allocations"] == [sample.uniform(3).to_json()]
    assert button(at, "Measure").disabled


def test_bits_that_a_run_has_measured_can_be_kept_with_their_scores(app, kept):
    at = app("configs", config="2")
    button(at, "Keep the measured one too").click().run()
    assert not at.exception
    saved = configs(kept)[0]
    assert saved.name == "bits alone (measured)"
    assert downloads.parsed(saved.text, read_costs()).test is not None
    assert set(saved.source) == {"run", "point"}


def test_duplicate_delete_and_undo(app, kept):
    at = app("configs", config="1")
    button(at, "Duplicate").click().run()
    assert configs(kept)[0].name == f"{NAME} (copy)"
    before = configs(kept)[0]
    at.selectbox(key="config").set_value(before.id).run()
    button(at, "Delete").click().run()
    assert before.id not in [saved.id for saved in configs(kept)]
    button(at, "Undo").click().run()
    assert not at.exception
    after = configs(kept)[0]
    assert (after.name, after.text, after.tags) == (before.name, before.text, before.tags)
    assert "Undo" not in [entry.label for entry in at.button]


def test_what_another_tab_deleted_is_gone_here_too(app, kept):
    at = app("configs", config="1")
    delete_config(kept, 1)
    button(at, "Duplicate").click().run()
    assert not at.exception
    assert at.selectbox(key="config").value == 3


def test_names_tags_and_notes_are_edited(app, kept):
    at = app("configs", config="1")
    next(e for e in at.text_input if e.label == "Name").set_value("better")
    next(e for e in at.text_input if e.label.startswith("Tags")).set_value("x, y,, x ,")
    next(e for e in at.text_area if e.label == "Note").set_value("<script>")
    button(at, "Save").click().run()
    assert not at.exception
    saved = configs(kept)[-1]
    assert (saved.name, saved.tags, saved.note) == ("better", ("x", "y"), "<script>")


def test_an_empty_name_is_refused_in_words(app, kept):
    at = app("configs", config="1")
    next(e for e in at.text_input if e.label == "Name").set_value("  ")
    button(at, "Save").click().run()
    assert any("name" in box.value for box in at.error)


@pytest.mark.parametrize("name", ["json", "haq", "modelopt", "mct", "hawq"])
def test_a_pasted_file_is_read_compared_and_kept(app, filled, name):
    bits = sample.uniform(4, 8)
    content = write(EXPORTS[name], made.config(sample.MODEL, bits)).decode()
    at = app("configs")
    at.text_area(key="import-text").set_value(content).run()
    assert not at.exception
    assert any("Read as" in box.value for box in at.success)
    assert any("import-against" in e.proto.id for e in at.get("plotly_chart"))
    at.button(key="import-keep").click().run()
    assert not at.exception
    (saved,) = configs(filled)
    assert downloads.parsed(saved.text, read_costs()).allocation == bits
    assert saved.source["format"] == name
    assert (downloads.parsed(saved.text, read_costs()).test is not None) == (name == "json")


def test_what_a_file_does_not_say_is_shown_with_names_unchanged(app, filled):
    content = {"quant_cfg": {"*conv*": {"num_bits": 4}, "default": {"enable": False}}}
    content["quant_cfg"]["**b** weight_quantizer"] = {"num_bits": 4}
    at = app("configs")
    at.text_area(key="import-text").set_value(json.dumps(content)).run()
    assert not at.exception
    said = [box.value for box in at.info]
    assert any("is applied before the other entries" in words for words in said)
    assert any("keep their weights in float" in words for words in said)
    assert any(literal("**b** weight_quantizer") in words for words in said)


def test_keeping_and_measuring_queues_just_these_bits(app, filled):
    pairs = [[8, -1]] + [[4, 4]] * 9
    at = app("configs")
    at.text_area(key="import-text").set_value(json.dumps(pairs)).run()
    at.button(key="import-measure").click().run()
    assert not at.exception
    spec = all_runs(filled)[0].spec
    assert spec.search == "given"
    assert spec.params["allocations"][0]["conv1"] == [8, 32]
    assert spec.data == "fashion-mnist"


@pytest.mark.parametrize(
    ("content", "said"),
    [("{", "not valid JSON"), ("[[4, 4]]", "has 1 entries"), ("hello", "neither JSON")],
)
def test_a_file_that_makes_no_sense_is_explained(app, filled, content, said):
    at = app("configs")
    at.text_area(key="import-text").set_value(content).run()
    assert not at.exception
    assert any(said in box.value for box in at.error)
    assert not configs(filled)


def test_scores_of_other_weights_are_not_taken_over(app, filled):
    model = replace(sample.MODEL, digest="f" * 64)
    content = dump_bits(made.config(model, sample.uniform(4)))
    at = app("configs")
    at.text_area(key="import-text").set_value(content).run()
    at.button(key="import-keep").click().run()
    config = downloads.parsed(configs(filled)[0].text, read_costs())
    assert config.test is None
    assert not config.state


@pytest.mark.parametrize("link", ["99", "-1", "many"])
def test_a_stale_link_shows_the_newest(app, kept, link):
    assert app("configs", config=link).selectbox(key="config").value == 3


def test_an_imported_file_of_ones_own_network_can_be_measured_first(monkeypatch, tmp_path):
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path))
    steps = Preprocessing(1, 28, 28, mean=(0.5,), std=(0.5,))
    model = replace(sample.MODEL, name="mine")
    write_card(Card("mine", "Mine", "onnx", "onnx2torch", (1, 28, 28), 10, steps), None, model)
    asked = []
    monkeypatch.setattr(import_form, "launch", lambda store, specs: not asked.extend(specs))
    assert import_form.measure(None, model, sample.uniform(4), [])
    assert asked[0][0].data == read_models()["mine"].datasets[0]
