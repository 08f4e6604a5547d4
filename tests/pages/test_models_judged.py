"""Networks that take no image on the Models page: their inputs, their judge, and changing it."""

import shutil

import pandas as pd
import pytest

from pages.models.inputs_form import IDS, KIND, NAME, PAD, SIZES, ZEROS, inputs_of
from pages.shared.data_words import data_note, place_words
from qcore.allocation import LayerSpec, ModelSpec
from qcore.errors import InvalidParams
from qcore.inputs import Input, parse_input
from qcore.judges import JUDGES, parse_judge
from qcore.judges.classes import Classes
from qcore.judges.map import Map
from qcore.judges.parts import Parts
from qcore.judges.signal import Signal
from qcore.models.cards import Card, write_card
from qcore.models.catalog import DATASETS
from qcore.models.preprocessing import Preprocessing
from store.jobs import add_network
from tests.pages.conftest import opened

TEXT = (parse_input("ids:int64:8<50=0"), parse_input("mask:bool:8=0"))


def row(name, kind="float32", sizes="", ids=None, pad=None, zeros=False):
    return {NAME: name, KIND: kind, SIZES: sizes, IDS: ids, PAD: pad, ZEROS: zeros}


def test_rows_of_the_table_are_inputs():
    rows = [
        row("ids", "int64", "128", 30522, 0.0),
        row("features", sizes="1x49x10"),
        row("state", sizes="2\u00d7128", zeros=True),
        row("one"),
        row(None, None, None, pd.NA),
    ]
    assert inputs_of(rows) == (
        Input("ids", (128,), "int64", 30522, 0.0),
        Input("features", (1, 49, 10)),
        Input("state", (2, 128), zeros=True),
        Input("one", ()),
    )
    assert inputs_of([]) == ()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([row("x", sizes="two")], "Write the sizes of input 1 as whole numbers"),
        ([row("", sizes="3")], "An input's name has 1 to 200 characters"),
        ([row("x", sizes="3"), row("x", sizes="3")], "Two inputs have one name"),
        ([row("x", sizes="0")], "every size is at least 1"),
    ],
)
def test_rows_that_are_no_inputs_are_said(rows, words):
    with pytest.raises(InvalidParams, match=words):
        inputs_of(rows)


@pytest.fixture(params=["tokens:ids=ids:mask=mask", "signal:measure=auc", "map:binary=true"])
def own(request, place):
    """A network of one's own that takes no image."""
    judge = parse_judge(request.param)
    layer = LayerSpec("out", "linear", 100, 4, 4, 6400, 64, 256)
    spec = ModelSpec("mine", "1" * 64, (layer,), {}, (), (8,), 3, inputs=TEXT)
    card = Card(
        "mine", "Mine", "factory", "a:b", (8,), 3, Preprocessing(), inputs=TEXT, judge=judge
    )
    write_card(card, None, spec)
    yield card
    shutil.rmtree(place / "networks")


def test_the_page_says_what_a_network_takes_and_how_it_is_compared(own, store):
    at = opened("models", model="mine")
    told = " ".join(element.value for kind in (at.markdown, at.caption) for element in kind)
    told = told.replace("\\", "")
    assert "ids (8,) int64 below 50; mask (8,) bool" in told
    assert f"Compared by: {own.judge.title}" in told
    assert "cut into tokens by the tokenizer" in told
    assert own.judge.labels in told
    listed = next(frame.value for frame in at.dataframe if "Judge" in frame.value)
    assert listed.set_index("Network").loc["mine", "Judge"] == own.judge.title
    # only parts are not written by hand; each other judge can be chosen, with its settings
    # the other one is of the form that adds a network
    label = "How its answers are compared"
    box = next(box for box in at.selectbox if (box.label, box.value) == (label, own.judge.name))
    assert set(box.options) == {judge.title for judge in JUDGES.values()} - {"Parts"}
    assert next(button for button in at.button if button.label == "Use this").disabled
    box.select("signal").run()
    peak = next(number for number in at.number_input if number.label == "Largest true value")
    peak.set_value(-1.0).run()
    assert not at.exception
    assert any("it must be above 0" in error.value for error in at.error)


@pytest.fixture
def several(place):
    """A network of one's own with two outputs."""
    judge = Parts(parts=(Classes(output="kind"), Map(output="where")), weights=(1.0, 0.5))
    spec = ModelSpec(
        "mine", "1" * 64, (LayerSpec("out", "linear", 100, 4, 4, 6400, 64, 256),), {}, (), (8,), 3,
        inputs=TEXT,
    )  # fmt: skip
    card = Card(
        "mine", "Mine", "factory", "a:b", (8,), 3, Preprocessing(), inputs=TEXT, judge=judge
    )
    write_card(card, None, spec)
    yield card
    shutil.rmtree(place / "networks")


def test_each_output_of_several_can_be_compared_by_another_judge(several, store, monkeypatch):
    asked = []
    monkeypatch.setattr(
        add_network, "start_judging", lambda store, name, judge: asked.append((name, judge)) or "x"
    )
    at = opened("models", model="mine")
    box = next(box for box in at.selectbox if box.label == "Output where is compared by")
    assert "Parts" not in box.options
    assert not any(
        text.label == "Output" and text.key.startswith("m-own") for text in at.text_input
    )
    box.select("signal").run()
    measure = next(box for box in at.selectbox if box.key == "m-own-mine-part-1-signal-measure")
    measure.select("auc")
    next(
        number for number in at.number_input if "Weight of output where" in number.label
    ).set_value(2.0)
    at.button(key="m-judge").click().run()
    assert not at.exception
    parts = (Classes(output="kind"), Signal(output="where", measure="auc"))
    assert asked == [("mine", Parts(parts=parts, weights=(1.0, 2.0)))]


def test_kinds_of_data_come_with_a_note_and_an_example():
    for kind, entry in DATASETS.items():
        if entry.needs_path:
            label, example = place_words(kind)
            assert label.endswith("on this machine")
            assert example.startswith("/home/me/")
        assert data_note(kind) == entry.note
    assert data_note("texts", TEXT) == DATASETS["texts"].note
    names = ("query_ids", "passage_ids", "token_type_ids")
    two = tuple(parse_input(f"{name}:int64:8<50=0") for name in names)
    assert "each text that it takes (query_ids, passage_ids)" in data_note("texts", two)
    note = data_note("tensors", TEXT, parse_judge("tokens:ids=ids"))
    assert "(ids, mask)" in note
    assert "its own next tokens otherwise" in note
