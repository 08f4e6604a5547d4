import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pages.shared.text import tidy
from pages.workbench.draft import (
    ACTIVATION,
    BYTES,
    CHANGE,
    LAYER,
    LOCKED,
    LONGEST,
    SHARE,
    WEIGHT,
    Start,
    allocation_of,
    begin,
    bits_of_link,
    edited,
    editor_frame,
    link_text,
    problems,
    width_options,
)
from pages.workbench.history import MOST, History
from pages.workbench.rules import LAYER_SETS, NAMED, PARTS, Rule, apply_rule, matching
from qcore.allocation import (
    BIT_WIDTHS,
    GROUPED_WIDTHS,
    BitAllocation,
    LayerBits,
    LayerSpec,
    ModelSpec,
    parse_width,
    width_text,
)
from tests.pages import sample

MODEL = sample.MODEL
WIDTHS = st.sampled_from(BIT_WIDTHS)
PAIRS = st.lists(st.tuples(WIDTHS, WIDTHS), min_size=len(MODEL.names), max_size=len(MODEL.names))


def draft_of(allocation):
    return begin(Start("here", allocation), MODEL)


def allocation_from(pairs):
    return BitAllocation({n: LayerBits(*p) for n, p in zip(MODEL.names, pairs, strict=True)})


EIGHT = draft_of(sample.uniform(8))


@given(PAIRS)
@settings(max_examples=20)
def test_a_draft_gives_back_the_bits_it_began_with(pairs):
    allocation = allocation_from(pairs)
    assert allocation_of(draft_of(allocation), MODEL) == allocation


@given(PAIRS)
@settings(max_examples=20)
def test_a_start_in_any_order_is_put_into_the_models(pairs):
    allocation = allocation_from(pairs)
    shuffled = BitAllocation(dict(reversed(list(allocation.items()))))
    assert tuple(draft_of(shuffled).start.allocation) == MODEL.names
    assert draft_of(shuffled).rows == draft_of(allocation).rows


def test_what_is_typed_lies_over_the_table_and_nothing_else_changes():
    typed = {
        "edited_rows": {"1": {WEIGHT: "3"}, 4: {ACTIVATION: "2", LOCKED: True}, 99: {WEIGHT: "1"}}
    }
    after = edited(EIGHT, typed)
    assert after.rows[1].weight == 3
    assert (after.rows[4].weight, after.rows[4].activation, after.rows[4].locked) == (8, 2, True)
    same = set(range(len(MODEL.names))) - {1, 4}
    assert all(after.rows[at] == EIGHT.rows[at] for at in same)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("19", "19"),
        ("0", "0"),
        ("17", "17"),
        ("fp15", "fp15"),
        ("x" * 99, "xxx"),
        ("", "missing"),
        (None, "missing"),
    ],
)
def test_bits_out_of_range_are_kept_and_named_with_row_and_layer(typed, words):
    after = edited(EIGHT, {"edited_rows": {2: {WEIGHT: typed}}})
    assert allocation_of(after, MODEL) is None
    (said,) = problems(after, MODEL)
    assert said.startswith(f"row 3, {MODEL.names[2]}: weight bits {words}")
    assert len(said) < 99
    assert "cannot be used" in editor_frame(after, after, MODEL)[CHANGE].iloc[2]


@given(WIDTHS, WIDTHS)
@settings(max_examples=20)
def test_cells_and_what_they_offer_are_the_widths_texts(weight, activation):
    draft = draft_of(BitAllocation.uniform(MODEL.layers, weight, activation))
    frame = editor_frame(draft, draft, MODEL)
    offered, inputs = width_options(draft), width_options(draft, inputs=True)
    assert (frame[WEIGHT].iloc[0], frame[ACTIVATION].iloc[0]) == (
        width_text(weight),
        width_text(activation),
    )
    # no code of a width is among them, each is one, and what a cell shows can be chosen again
    assert [parse_width(each) for each in offered] == [*BIT_WIDTHS, *GROUPED_WIDTHS]
    assert [parse_width(each, inputs=True) for each in inputs] == list(BIT_WIDTHS)
    assert set(frame[WEIGHT]) <= set(offered)
    assert set(frame[ACTIVATION]) <= set(inputs)
    chosen = {"edited_rows": {0: {WEIGHT: frame[ACTIVATION].iloc[0]}}}
    assert edited(draft, chosen).rows[0].weight == activation


def test_the_table_follows_the_draft_but_keeps_the_cells_it_was_given():
    after = edited(EIGHT, {"edited_rows": {7: {WEIGHT: "4"}}})
    frame = editor_frame(EIGHT, after, MODEL)
    assert frame[WEIGHT].tolist() == ["8"] * len(MODEL.names)
    assert frame[BYTES].iloc[7] == MODEL.layers[7].weights // 2
    assert frame[CHANGE].iloc[7] == "8/float to 4/float"
    assert frame[SHARE].sum() == pytest.approx(100)
    assert frame.index[0] == 1


@given(st.lists(st.sampled_from(["undo", "redo", *map(str, range(5))]), max_size=40))
def test_undo_and_redo_walk_what_was_pushed(steps):
    history, model, at = History("start"), ["start"], 0
    for step in steps:
        if step == "undo":
            history, at = history.undo(), max(0, at - 1)
        elif step == "redo":
            history, at = history.redo(), min(len(model) - 1, at + 1)
        elif step != model[at]:
            history, model = history.push(step), [*model[: at + 1], step]
            at += 1
        assert history.now == model[at]
        assert (len(history.past), len(history.future)) == (at, len(model) - 1 - at)


def test_an_equal_value_is_no_step_and_the_oldest_steps_are_forgotten():
    history = History(0)
    assert history.push(0) is history
    for value in range(MOST + 50):
        history = history.push(value + 1)
    assert len(history.past) == MOST
    assert history.undo().now == MOST + 49


@given(PAIRS)
@settings(max_examples=25)
def test_bits_survive_the_address_bar(pairs):
    now = draft_of(allocation_from(pairs))
    text = link_text(edited(EIGHT, typed(now)))
    if now.rows == EIGHT.rows:
        assert text == ""
    else:
        assert bits_of_link(text, MODEL) == allocation_from(pairs)
        assert text.isascii()


def typed(draft):
    cells = {
        at: {WEIGHT: width_text(row.weight), ACTIVATION: width_text(row.activation)}
        for at, row in enumerate(draft.rows)
    }
    return {"edited_rows": cells}


@pytest.mark.parametrize(
    "text", ["", "8", "8.8.8", "0.f", "84.f", "z.8", "8.x", "8" * LONGEST + ".8"]
)
def test_texts_that_are_no_bits_of_this_model_are_refused(text):
    assert bits_of_link(text, MODEL) is None


def test_a_deep_network_goes_without_a_link():
    layers = [LayerSpec(f"l{at}", "linear", 4, 2, 2, 4, 2, 2) for at in range(300)]
    deep = ModelSpec("deep", "0" * 64, tuple(layers))
    draft = begin(Start("here", BitAllocation.uniform(layers, 8)), deep)
    mixed = edited(draft, {"edited_rows": {0: {WEIGHT: "2"}}})
    assert link_text(mixed) == ""
    same = apply_rule(Rule("all layers", "weights", 4), draft, deep)
    assert link_text(same) == "4.f"


@pytest.mark.parametrize("layers", list(LAYER_SETS))
@pytest.mark.parametrize("part", list(PARTS))
def test_a_rule_changes_its_layers_and_parts_alone(layers, part):
    contains = MODEL.names[3] if layers == NAMED else ""
    rule = Rule(layers, part, 3, contains)
    after, taken = apply_rule(rule, EIGHT, MODEL), matching(rule, MODEL)
    for at, row in enumerate(after.rows):
        weight = 3 if at in taken and "weights" in part else 8
        activation = 3 if at in taken and "activations" in part else 32
        assert (row.weight, row.activation) == (weight, activation)


def test_the_sets_of_layers_are_what_they_are_called():
    kinds = [
        LayerSpec("stem", "conv2d", 9, 2, 2, 9, 4, 4),
        LayerSpec("deep", "conv2d", 9, 4, 4, 9, 4, 4, in_channels=4, groups=4),
        LayerSpec("Head", "linear", 9, 2, 2, 9, 4, 4),
        LayerSpec("rnn.hh_l0", "recurrent", 9, 2, 2, 9, 4, 4),
    ]
    model = ModelSpec("m", "0" * 64, tuple(kinds))
    found = {name: matching(Rule(name, "weights", 8, "head"), model) for name in LAYER_SETS}
    assert found == {
        "all layers": [0, 1, 2, 3],
        "first and last layer": [0, 3],
        "all but first and last": [1, 2],
        "depthwise convolutions": [1],
        "other convolutions": [0],
        "linear layers": [2],
        "recurrent layers": [3],
        "embeddings": [],
        NAMED: [2],
    }


def test_one_bit_more_or_fewer_stays_within_what_there_is():
    widths = [1, 5, 8, 32]
    edits = {"edited_rows": {at: {WEIGHT: str(width)} for at, width in enumerate(widths)}}
    draft = edited(EIGHT, edits)
    for step, wanted in (("one bit fewer", [1, 4, 7, 32]), ("one bit more", [2, 6, 8, 32])):
        after = apply_rule(Rule("all layers", "weights", step), draft, MODEL)
        assert [row.weight for row in after.rows[:4]] == wanted


def test_names_of_others_are_shown_harmlessly():
    name = "a\u202eb\u0007" + "x" * 500 + "[click](javascript:1) <b>$x$"
    shown = tidy(name)
    assert len(shown) <= 40
    assert not set(shown) & {"\u202e", "\u0007"}
    assert tidy("conv1") == "conv1"
    layer = LayerSpec(name, "linear", 4, 2, 2, 4, 2, 2)
    model = ModelSpec("m", "0" * 64, (layer,))
    draft = begin(Start("here", BitAllocation.uniform([layer], 8)), model)
    assert len(editor_frame(draft, draft, model)[LAYER].iloc[0]) <= 120
