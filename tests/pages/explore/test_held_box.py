"""Explore's native controls set on layers what the drawing's cells do, and keep or ignore it."""

import pytest

from pages.shared.held import held_of_text
from pages.shared.text import literal
from qcore.rules.file import parse_rules
from qcore.rules.ties import Tie
from tests.pages import sample
from tests.pages.explore.test_rules_shown import lines
from tests.pages.test_explore import cells, chart

NAMES = sample.MODEL.names


def choose(at, layers, widths=(), part="weights"):
    """Choose layers, a part of them and widths."""
    at.multiselect(key=f"native-layers-{sample.MODEL.digest}").set_value(list(layers)).run()
    at.button_group(key="native-of").set_value(part).run()
    if widths:
        pills = next(b for b in at.button_group if (b.key or "").startswith("native-widths"))
        pills.set_value(list(widths)).run()
    assert not at.exception
    return at


def click(at, what):
    at.button(key=f"native-{what}").click().run()
    assert not at.exception
    return at


def held(at):
    words = at.query_params.get("held", "")
    return held_of_text(words if isinstance(words, str) else words[0], sample.MODEL)


def predicted_bits(at):
    drawn = chart(at, "heatmap")["data"][0]
    return dict(zip(NAMES, drawn["text"][0], strict=True))


def test_a_prediction_keeps_what_is_set_until_it_is_ignored_or_let_go(app, filled):
    at = app(ui="basic", src="predicted")
    free = predicted_bits(at)
    at = click(choose(at, NAMES[1:4]), "link")
    assert held(at).rules == (Tie("weight", tuple(NAMES[1:4])),)
    at = click(choose(at, NAMES[2:3], [2]), "lock")
    # what one of them may have, all that are tied to it may
    assert {predicted_bits(at)[name] for name in NAMES[1:4]} == {"2"}
    assert set(held(at).allowed().values()) == {(2,)}
    (link,) = [p.proto for p in at.get("page_link") if "rules of a search" in p.proto.label]
    assert "rules=" in link.query_string
    at.toggle(key="native-keep").set_value(False).run()
    assert predicted_bits(at) == free
    at.toggle(key="native-keep").set_value(True).run()
    at = click(choose(at, NAMES[2:3]), "lock_open")
    assert held(at).ties() == [Tie("weight", (NAMES[1], NAMES[3]))]
    at = click(at, "clear")
    assert not held(at)
    assert predicted_bits(at) == free


def test_of_what_was_measured_only_what_has_it_is_shown(app, filled):
    at = app(ui="basic")
    assert len(cells(at)) > 1
    at = click(choose(at, [NAMES[0]], [4]), "lock")
    shown = cells(at)
    assert shown
    assert {texts[0][0] for texts in shown.values()} == {"4"}
    # what is set goes along to the drawing, and comes from there
    (other,) = [p.proto for p in at.get("page_link") if p.proto.label == "Controls to drag"]
    assert "held=" in other.query_string
    again = app(ui="basic", held=held(at).to_text(sample.MODEL))
    assert cells(again) == shown
    at = click(choose(at, NAMES[:2]), "link")
    assert {texts[0][1] for texts in cells(at).values()} == {"4"}
    at.toggle(key="native-keep").set_value(False).run()
    assert len(cells(at)) > 1


def test_both_parts_are_set_at_once_and_go_to_a_search_as_rules(app, filled):
    at = click(choose(app(ui="basic", src="predicted"), NAMES[-2:], part="both"), "link")
    assert {tie.part for tie in held(at).ties()} == {"weight", "activation"}
    (said,) = [each.value for each in at.markdown if "Set on the layers" in each.value]
    assert literal("weights tied") in said
    assert literal("activations tied") in said


@pytest.mark.parametrize("held_text", ["w0b", "w0-9b7"])
def test_what_nothing_has_is_said(app, filled, held_text):
    at = app(ui="basic", held=held_text)
    assert any("Nothing measured fits" in each.value for each in at.info)
    at = app(ui="basic", src="predicted", held=held_text)
    assert "no width that this sensitivity has" in lines(at)


def test_a_run_of_rules_sets_them_with_one_click(app, filled):
    rules = parse_rules("[{layers: '*', weights: [4, 8]}]")
    sample.add_run(filled, "exact", [sample.point(sample.uniform(4), 900)], rules=rules)
    at = app(ui="basic")
    at.button(key="hold-0").click().run()
    assert not at.exception
    assert set(held(at).allowed().values()) == {(4, 8)}
    assert {text for texts in cells(at).values() for text in texts[0]} <= {"4", "8"}
