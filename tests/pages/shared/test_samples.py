"""Samples as pages show them: chosen by number or the worst, drawn for every judge, in words."""

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from pages.plots.sample_planes import class_figure, is_picture, picture_figure
from pages.plots.token_bars import token_bars
from pages.shared.samples import reading
from pages.shared.samples.drawing import DRAWN, PLANES
from qcore.errors import InvalidParams
from qcore.formats.config import dump_bits
from qcore.judges import JUDGES, Judge, parse_judge
from qcore.judges.parts import Parts
from qcore.pictures.record import Answer, Panel, SampleRecord, dump_record
from store import config_text, save_config
from store.jobs import samples
from tests import configs as made
from tests.pages import sample
from tests.pages.test_app import texts

HOSTILE = "<b>x</b> [l](http://a) **b** \u202e $x$ :red[y]"
N, KEPT = 5, 4
RNG = np.random.default_rng(0)


def shares(*shape: int) -> np.ndarray:
    values = RNG.random(shape)
    return (values / values.sum(-1, keepdims=True)).astype(np.float32)


def numbers(*shape: int) -> np.ndarray:
    return RNG.normal(size=(KEPT, *shape)).astype(np.float32)


def ids(high: int, *shape: int) -> np.ndarray:
    return RNG.integers(0, high, (KEPT, *shape))


IMAGE = Panel("", "planes", ids(255, 1, 6, 6).astype(np.uint8), (1, 6, 6))
PHOTO = Panel("x", "planes", RNG.random((KEPT, 3, 6, 7)).astype(np.float32), (3, 600, 700))
ROWS = Panel(HOSTILE, "curves", numbers(2, 9), (2, 9))
TEXT = Panel("ids", "ids", ids(7, 6), (6,))
MASK = Panel("mask", "ids", np.arange(6)[None] < np.array([[6], [4], [2], [1]]), (6,))


def two(*shape: int) -> dict[str, np.ndarray]:
    return {"float": numbers(*shape), "quantized": numbers(*shape)}


def tokens() -> dict[str, np.ndarray]:
    return {
        "float": ids(7, 6),
        "quantized": ids(7, 6),
        "float_p": shares(KEPT, 6),
        "quantized_p": shares(KEPT, 6),
        "divergence": shares(KEPT, 6),
        "counts": MASK.values,
    }


def neighbours() -> dict[str, np.ndarray]:
    both = {"float": ids(N, 3), "quantized": ids(N, 3)}
    angles = {f"{name}_cosine": shares(KEPT, 3) for name in both}
    return {**both, **angles, "cosine": shares(KEPT)}


CLASSES = {
    "classes": np.tile([2, 0, 1], (KEPT, 1)),
    "float": shares(KEPT, 3),
    "quantized": shares(KEPT, 3),
}
MAP = {"float": ids(4, 1, 6, 7), "quantized": ids(4, 1, 6, 7), "divergence": shares(KEPT, 1, 6, 7)}
YES = {
    "float": shares(KEPT, 2, 6, 7),
    "quantized": shares(KEPT, 2, 6, 7),
    "divergence": shares(KEPT, 2, 6, 7),
}
CASES = {
    "classes": ("classes", (IMAGE,), CLASSES, ""),
    "tokens": ("tokens:ids=ids:mask=mask", (TEXT, MASK), tokens(), ""),
    "tokens of a picture": ("tokens", (IMAGE,), tokens(), ""),
    "map": ("map", (PHOTO,), {**MAP, "true": ids(4, 1, 6, 7) - 1}, ""),
    "yes or no": ("map:binary=true", (ROWS,), YES, ""),
    "signal": ("signal", (ROWS,), {**two(2, 9), "true": numbers(2, 9)}, "curves"),
    "one number": ("signal", (IMAGE,), two(1, 1), "curves"),
    "picture": ("signal", (PHOTO,), {k: RNG.random((KEPT, 3, 6, 7)) for k in two()}, "planes"),
    "planes": ("signal", (PHOTO,), two(5, 6, 7), "planes"),
    "autoencoder": ("signal:measure=auc", (ROWS,), two(2, 9), "curves"),
    "embedding": ("embedding:mask=mask", (TEXT, MASK), neighbours(), ""),
}  # fmt: skip


def answer(case: str) -> Answer:
    judge, _, arrays, form = CASES[case]
    return Answer(parse_judge(judge), 1.0, shares(KEPT), arrays, form, case == "tokens")


def record(*cases: str) -> SampleRecord:
    """Four of five samples are kept; 3 is the worst, and 1 is not kept."""
    answers = tuple(map(answer, cases))
    judge: Judge = answers[0].judge
    if len(cases) > 1:
        judge = Parts(parts=tuple(a.judge for a in answers), weights=(1.0,) * len(cases))
    return SampleRecord(
        model="resnet8",
        data=HOSTILE,
        judge=judge,
        divergence=np.array([0.1, 0.3, 0.0, 0.5, 0.2]),
        total=9,
        numbers=np.array([0, 2, 3, 4]),
        inputs=CASES[cases[0]][1],
        answers=answers,
        labels=np.array([0, 1, 2, 0]),
        class_names=(HOSTILE, "b", "c"),
        words=dict(enumerate((HOSTILE, "##ing", "the"))),
        notes=(HOSTILE,),
    )


@pytest.fixture
def kept(filled):
    """A configuration on the page, and its text."""
    text = dump_bits(made.config(sample.MODEL, sample.uniform(4)))
    number = save_config(filled, "kept", text)
    return filled, number, text


@pytest.fixture
def no_process(monkeypatch):
    """What was asked to be started; nothing is."""
    asked: list[list[str]] = []
    monkeypatch.setattr(samples, "look", lambda *_: samples.Look("running", "Loading"))
    monkeypatch.setattr(samples, "start", lambda store, text, words: asked.append(list(words)))
    return asked


def put(store, text, found):
    path = samples.record_path(store, text)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dump_record(found), encoding="utf-8")


def look(app, number) -> AppTest:
    at = app("configs", config=str(number))
    press(at, "Look at samples")
    return at


def press(at, label):
    next(button for button in at.button if button.label == label).click().run()
    assert not at.exception


@pytest.mark.parametrize("case", CASES)
def test_every_judge_is_drawn_and_what_others_named_is_no_markup(case, app, kept):
    store, number, text = kept
    put(store, text, record(case))
    at = look(app, number)
    said = texts(at)
    assert "**Sample 3**" in said
    assert "none of the test split" in said
    assert "The first 5 of the 9 samples" in said
    assert "4 are kept" in said
    for markup in ("[l](http", "<b>x", ":red[y]", "**b**"):
        assert markup not in "".join(e.value for e in (*at.markdown, *at.caption))


def test_several_outputs_stand_under_one_another(app, kept):
    store, number, text = kept
    put(store, text, record("classes", "signal"))
    at = look(app, number)
    said = texts(at)
    assert said.index("**Output 0**") < said.index("**Output 1**")
    assert "add up" in said


def test_a_sample_is_chosen_by_its_number(app, kept):
    store, number, text = kept
    put(store, text, record("classes"))
    at = look(app, number)
    assert "labelled c" in texts(at)
    assert "no sample has more" in texts(at)
    box = at.selectbox(key=f"sample-config-{number}")
    assert box.options == ["the worst one (3)", "0", "2", "3", "4"]
    box.set_value(2).run()
    assert "**Sample 2**, labelled b" in texts(at)
    assert "4 samples above it" in texts(at)
    press(at, "Hide samples")
    assert "**Sample" not in texts(at)


def test_what_is_not_computed_yet_is_started_and_followed(app, kept, no_process, monkeypatch):
    _, number, _ = kept
    monkeypatch.setattr(samples, "look", lambda *_: samples.Look("running", "Loading <b>"))
    at = look(app, number)
    assert no_process == [[str(number)]]
    assert "Loading \\<b\\> …" in texts(at)


def test_a_failure_is_said_and_can_be_tried_again(app, kept, no_process, monkeypatch):
    _, number, _ = kept
    ends = [samples.Look("failed", "The data has gone: <b>")]
    monkeypatch.setattr(samples, "look", lambda *_: ends.pop() if ends else None)
    at = look(app, number)
    assert any("The data has gone\\: \\<b\\>" in error.value for error in at.error)
    # drawing the page again starts nothing
    at.run()
    assert len(no_process) == 1
    press(at, "Hide samples")
    ends.append(samples.Look("running", "Again"))
    press(at, "Look at samples")
    assert len(no_process) == 2


def test_too_many_at_once_are_refused_in_words(app, kept, monkeypatch):
    def refuse(*_):
        raise InvalidParams("Samples of 2 others are being computed; wait for one.")

    monkeypatch.setattr(samples, "start", refuse)
    at = look(app, kept[1])
    assert any("2 others" in error.value for error in at.error)


def test_a_damaged_record_is_said_and_the_next_look_computes_it(app, kept, no_process, monkeypatch):
    store, number, text = kept
    put(store, text, record("classes"))
    samples.record_path(store, text).write_text("{")
    at = look(app, number)
    assert any("have it computed again" in error.value for error in at.error)
    monkeypatch.setattr(samples, "look", lambda *_: samples.Look("running", "Loading"))
    at.run()
    assert no_process == [[str(number)]]


def test_bits_alone_cannot_be_looked_at_and_the_button_says_why(app, filled):
    text = dump_bits(made.config(sample.MODEL, sample.uniform(4), state=False))
    number = save_config(filled, "alone", text)
    at = app("configs", config=str(number))
    button = next(button for button in at.button if button.label == "Look at samples")
    assert button.disabled
    assert "measure it first" in button.help


def test_the_workbench_shows_samples_of_the_bits_it_has_measured(app, filled, no_process):
    at = app("workbench", model="resnet8", bits="8.f")
    (button,) = (button for button in at.button if button.label == "Look at samples")
    point = int(button.key.removeprefix("samples-point-"))
    put(filled, config_text(filled, point), record("classes"))
    press(at, "Look at samples")
    assert "**Sample 3**" in texts(at)
    assert no_process == []
    samples.record_path(filled, config_text(filled, point)).unlink()
    at.run()
    assert no_process == [["--point", str(point)]]


def test_explore_shows_samples_of_the_chosen_point(app, filled, no_process):
    at = app("explore", model="resnet8")
    (button,) = (button for button in at.button if button.label == "Look at samples")
    press(at, "Look at samples")
    assert no_process == [["--point", button.key.removeprefix("samples-point-")]]


def test_words_of_a_text():
    found = record("tokens")
    text = found.inputs[0]
    text.values[1] = [2, 1, 0, 5, 6, 6]
    assert "\u202e" not in reading.seen(HOSTILE)
    # four positions count; tokens without a word are numbers
    assert reading.sentence(found, text, 1) == f"theing {reading.seen(HOSTILE)} 5"
    assert reading.sentence(found, text, 1, most=1) == "the …"
    spaced = SampleRecord(**{**vars(found), "words": {2: " the", 1: "re", 0: " a", 5: "\u00e9"}})
    assert reading.sentence(spaced, text, 1) == "there a\u00e9"
    odd = SampleRecord(**{**vars(found), "words": {2: "a\n\u202eb", 1: "\x00c"}})
    assert reading.sentence(odd, text, 1) == "a\u21b5b c 0 5"


def test_the_first_changed_token_is_told():
    found = record("tokens")
    arrays = found.answers[0].arrays
    arrays["float"][2], arrays["quantized"][2] = [1, 2, 3, 4, 5, 6], [1, 0, 0, 0, 0, 0]
    (first, second) = reading.positions(found, found.answers[0], 2)
    assert (first.changed, second.changed) == (False, True)
    told = reading.change_words([first, second])
    assert told.startswith("The likeliest token changes at 1 of 2 positions, first at position 1")
    assert "float says 'the'" in told
    assert "at all 1 positions" in reading.change_words([first])
    grey, orange = token_bars([first, second]).data
    assert (list(grey.x), list(orange.x)) == ([0], [1])
    frame = reading.positions_frame([first, second])
    assert frame["Changed"].tolist() == [False, True]


def test_neighbours_are_told_by_rank():
    found = record("embedding")
    arrays = found.answers[0].arrays
    arrays["float"][0], arrays["quantized"][0] = [1, 2, 3], [2, 1, 4]
    told = reading.neighbour_words(found.answers[0], 0)
    assert told.startswith("Its nearest neighbour changes; 2 of the 3 nearest are the same")
    frame = reading.neighbours_frame(found, found.answers[0], 0)
    assert frame["Float: sample"].tolist() == [1, 2, 3]
    # a sample that is not kept has no words
    assert frame["Float: what it is"][0] == ""
    assert frame["Float: what it is"][1].startswith("b: ")


def test_planes_are_drawn_as_they_are():
    grey, photo, wide = IMAGE.values[0], PHOTO.values[0], numbers(3, 6, 7)[0] * 9
    assert [is_picture(p) for p in (grey, photo, wide, photo[:2])] == [True, True, False, False]
    assert np.array_equal(picture_figure(grey).data[0].z, grey[0])
    pixels = np.array(picture_figure(photo).data[0].z)
    assert np.abs(pixels / 255 - np.moveaxis(photo, 0, 2)).max() <= 0.5 / 255 + 1e-6
    plane = np.array([[-1, 0], [1, 4]])
    drawn = class_figure(plane, (HOSTILE, "b")).data[0]
    assert drawn.hovertext[0][0] == "does not count"
    assert "<b>" not in drawn.hovertext[0][1]
    assert list(drawn.hovertext[1]) == ["b", "class 4"]
    assert len(np.unique(drawn.z)) == 4


def test_every_judge_has_a_picture():
    assert set(DRAWN) | set(PLANES) == set(JUDGES) - {"parts"}
