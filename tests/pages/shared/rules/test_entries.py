"""Table and text of rules say the same, whatever is typed into either."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pages.shared.rules.entries import CELLS, LAYERS, ORDER, TIE, edited, entries_of, text_of
from pages.shared.rules.entries import frame_of as table
from qcore.allocation import LayerBits
from qcore.rules.file import parse_rules, read_rules, rule_entries
from qcore.rules.rule import Rule

RULES = (
    Rule("role:first", lock=(8, 8)),
    Rule("kind:conv*", weights=(4, 8), activations=(8, 32)),
    Rule("*.{q,k,v}_proj", tie="both"),
    Rule("fc", least=(4, None), most=(None, 8)),
)
WIDTHS = st.sampled_from([2, 3, 4, 8, 32])
SOME = st.lists(WIDTHS, max_size=3, unique=True).map(lambda found: tuple(sorted(found)))
MAYBE = st.none() | WIDTHS


@st.composite
def rule(draw):
    """A rule that makes sense, of every kind of saying."""
    layers = draw(st.sampled_from(["conv1", "layer*", "kind:linear & !role:last", "a, b"]))
    kind = draw(st.integers(0, 4))
    if kind == 4:
        pair = st.builds(LayerBits, WIDTHS, WIDTHS)
        found = draw(st.lists(pair, min_size=1, max_size=3, unique=True))
        return Rule(layers, pairs=tuple(sorted(found)))
    if kind == 0:
        return Rule(layers, lock=draw(st.tuples(MAYBE, MAYBE).filter(any)))
    if kind == 1:
        return Rule(layers, tie=draw(st.sampled_from(["weights", "activations", "both"])))
    if kind == 2:
        return Rule(layers, least=draw(st.tuples(MAYBE, MAYBE).filter(any)))
    return Rule(layers, weights=draw(SOME.filter(bool)), activations=draw(SOME))


@given(st.lists(rule(), min_size=1, max_size=4))
def test_rules_are_the_same_as_entries_as_text_and_typed_into_an_empty_table(rules):
    entries = entries_of(rules)
    assert read_rules(list(entries)) == tuple(rules)
    assert rule_entries(text_of(entries)) == entries
    assert parse_rules(text_of(entries)) == tuple(rules)
    cells = list(table(entries).drop(columns=ORDER).to_dict("records"))
    added = [{key: value for key, value in row.items() if value} for row in cells]
    typed, _ = edited((), {"added_rows": added})
    assert read_rules(list(typed)) == tuple(rules)
    changed = {str(at): row for at, row in enumerate(cells)}
    blank = tuple({"layers": "x"} for _ in rules)
    assert read_rules(list(edited(blank, {"edited_rows": changed})[0])) == tuple(rules)


def orders(edits):
    entries = [{"layers": name} for name in "abcd"]
    found, anew = edited(entries, edits)
    return "".join(entry["layers"] for entry in found), anew


@pytest.mark.parametrize("start", range(4))
@pytest.mark.parametrize("end", range(4))
def test_a_rule_moves_to_the_number_that_is_typed(start, end):
    names = list("abcd")
    names.insert(end, names.pop(start))
    moved = {"edited_rows": {str(start): {ORDER: end + 1}}}
    assert orders(moved) == ("".join(names), start != end)


def test_rows_are_deleted_added_and_added_in_between():
    assert orders({"deleted_rows": [1, 3]}) == ("ac", True)
    assert orders({"added_rows": [{LAYERS: "e"}, {}]}) == ("abcde", False)
    assert orders({"added_rows": [{LAYERS: "e", ORDER: 1}]}) == ("eabcd", True)
    assert orders({"edited_rows": {"0": {ORDER: None}}}) == ("abcd", False)


def test_what_makes_no_sense_stays_where_it_was_typed():
    odd = ("conv1", {"layers": "fc", "weihts": 4}, {"layers": ["a", "b"], "lock": {"weights": 8}})
    shown = table(odd)
    assert shown[LAYERS].tolist() == ["conv1", "fc", "a, b"]
    assert shown["Lock"].tolist() == ["", "", "8/-"]
    after, _ = edited(odd, {"edited_rows": {"1": {TIE: "both", "Min": "many"}}})
    assert after == (odd[0], {"layers": "fc", "min": "many", "tie": "both", "weihts": 4}, odd[2])
    assert edited(odd, {"edited_rows": {"0": {"Lock": "8"}}})[0][0] == {
        "layers": "conv1",
        "lock": 8,
    }


def test_a_cell_that_is_emptied_says_nothing_any_more():
    (entry,), _ = edited(entries_of(RULES[1:2]), {"edited_rows": {"0": {"Activations": None}}})
    assert Rule.from_json(entry) == Rule("kind:conv*", weights=(4, 8))


def test_a_table_of_no_rules_has_its_columns():
    assert list(table(()).columns) == [ORDER, *CELLS]
    assert text_of(()) == ""
