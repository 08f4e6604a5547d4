"""Rules on the launch form: from a table, a text, a file, a proposal or a link."""

import json

import pytest

from pages.shared.rules.entries import LAYERS, ORDER, TIE
from pages.shared.text import literal
from qcore.rules.file import parse_rules
from qcore.rules.rule import Rule
from store import all_runs, create_run
from tests.pages import sample
from tests.pages.test_searches import press

KEY = "f-rules"
TEXT = """rules:
  - {layers: role:first, lock: 8}
  - {layers: "*", weights: [4, 8]}
  - {layers: "{conv1}", lock: 8}
"""


def write(at, words):
    return at.text_area(key=f"{KEY}-text").set_value(words).run()


def table(at):
    return next(each for each in at.dataframe if (each.key or "").startswith(f"{KEY}-table"))


def fill_in(at, **edits):
    none = {"edited_rows": {}, "added_rows": [], "deleted_rows": []}
    at.session_state[table(at).key] = {**none, **edits}
    return at.run()


def button(at):
    return next(each for each in at.button if each.label == "Start search")


def lines(at):
    return "\n".join(each.value for each in at.markdown)


def test_rules_written_as_text_stand_in_the_table_and_in_every_run(app, store):
    at = write(app("searches", search="CMA-ES"), TEXT)
    assert table(at).value[LAYERS].tolist() == ["role:first", "*", "{conv1}"]
    assert literal("role:first") + "**: locked at 8" in lines(at)
    assert f"1 layer: {literal('conv1')}" in lines(at)
    assert f"A later rule decides {literal('conv1')}" in lines(at)
    at.multiselect(key="f-also").set_value(["uniform"]).run()
    press(at, "Start search")
    runs = all_runs(store)
    assert len(runs) == 4
    assert {entry.spec.rules for entry in runs} == {parse_rules(TEXT)}


def test_rules_typed_into_the_table_stand_in_the_text(app, store):
    at = fill_in(
        app("searches", search="Exact front"),
        added_rows=[
            {LAYERS: "*", "Weights": "4, 8"},
            {LAYERS: "conv1", "Lock": "8"},
            {LAYERS: "layer2.0.conv1, layer2.0.shortcut.0", TIE: "weights"},
        ],
    )
    words = at.text_area(key=f"{KEY}-text").value
    expected = (
        Rule("*", weights=(4, 8)),
        Rule("conv1", lock=(8, 8)),
        Rule("layer2.0.conv1, layer2.0.shortcut.0", tie="weights"),
    )
    assert parse_rules(words) == expected
    press(at, "Start search")
    assert all_runs(store)[0].spec.rules == expected


def test_a_number_moves_a_rule_and_the_table_follows(app, store):
    at = fill_in(write(app("searches"), TEXT), edited_rows={"2": {ORDER: 1}})
    assert table(at).value[LAYERS].tolist() == ["{conv1}", "role:first", "*"]
    assert [rule.layers for rule in parse_rules(at.text_area(key=f"{KEY}-text").value)] == [
        "{conv1}",
        "role:first",
        "*",
    ]
    at = fill_in(at, deleted_rows=[0, 1])
    assert table(at).value[LAYERS].tolist() == ["*"]


def test_a_rule_that_cannot_be_is_said_and_nothing_starts(app, store):
    at = write(app("searches"), "rules: [{layers: conv1, lock: 8}, {layers: conv9, lock: 8}]")
    assert button(at).disabled
    assert literal("matches no layer") in at.error[0].value
    assert any("It cannot begin: Rule 2" in each.value for each in at.caption)
    # put right, it can
    at = fill_in(at, edited_rows={"1": {LAYERS: "fc"}})
    assert not button(at).disabled
    assert not at.error


def test_text_that_is_no_list_of_rules_is_refused_and_the_table_stays(app, store):
    at = write(app("searches"), TEXT)
    at = write(at, "rules: [{layers: *, lock")
    assert button(at).disabled
    assert "YAML" in at.error[0].value
    assert table(at).value[LAYERS].tolist() == ["role:first", "*", "{conv1}"]
    at = write(at, "")
    assert not button(at).disabled
    assert table(at).value.empty


def test_a_file_is_read_and_a_proposal_is_added_with_one_click(app, store):
    at = app("searches", search="Exact front")
    at.file_uploader(key=f"{KEY}-file").set_value(("mine.yaml", TEXT.encode(), "text/plain")).run()
    assert at.text_area(key=f"{KEY}-text").value == TEXT
    at.button(key=f"{KEY}-take-0").click().run()
    assert table(at).value[TIE].tolist()[-1] == "activations"
    press(at, "Start search")
    assert all_runs(store)[0].spec.rules[:3] == parse_rules(TEXT)
    assert all_runs(store)[0].spec.rules[3].tie == "activations"
    at.button(key=f"{KEY}-clear").click().run()
    assert table(at).value.empty


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"rules: 7", b"- [1"])
def test_a_file_of_something_else_is_refused_in_words(app, store, content):
    at = app("searches")
    at.file_uploader(key=f"{KEY}-file").set_value(("x.yaml", content, "text/plain")).run()
    assert button(at).disabled
    assert literal("The rules in x.yaml") in at.error[0].value


def test_budgets_reach_what_rules_leave(app, store):
    at = app("searches", search="Exact front")
    at.multiselect(key="f-limits").set_value(["weight_bytes"]).run()
    at = write(at, "rules: [{layers: '*', lock: 4}]")
    (said,) = [each.value for each in at.caption if "With these bits from" in each.value]
    assert "from 37.6 KiB to 37.6 KiB" in said


def test_rules_of_another_network_are_checked_against_the_chosen_one(app, store):
    at = write(app("searches"), "rules: [{layers: layer2.0.shortcut.0, lock: 8}]")
    assert not button(at).disabled
    at.selectbox(key="model").set_value("mobilenet").run()
    assert "shortcut" in at.text_area(key=f"{KEY}-text").value
    assert button(at).disabled
    assert literal("matches no layer") in at.error[0].value


def test_searching_again_takes_the_rules_along(app, store):
    rules = parse_rules(TEXT)
    number = create_run(store, sample.spec_of("exact", rules=rules), "ruled")
    at = app("searches", like=str(number), search="Exact front")
    press(at, "Start search")
    assert all_runs(store)[0].spec.rules == rules
    at = app("searches", rules=json.dumps([{"layers": "fc", "lock": 8}]), search="Exact front")
    press(at, "Start search")
    assert all_runs(store)[0].spec.rules == (Rule("fc", lock=(8, 8)),)


def test_names_of_rules_and_layers_are_text(app, store):
    at = write(app("searches"), 'rules: [{layers: "<img src=x>[a](b)", lock: 8}]')
    assert literal("<img src=x>[a](b)") in at.error[0].value


def test_a_run_tells_its_rules_and_the_command_that_does_the_same(app, store):
    rules = parse_rules(TEXT)
    number = create_run(store, sample.spec_of("exact", rules=rules), "ruled")
    create_run(store, sample.spec_of("exact"), "free")
    at = app("searches", run=str(number))
    (told,) = [each.value for each in at.table if "Rule" in each.value]
    assert told["Rule"].tolist() == ["locked at 8", "weights 4 or 8", "locked at 8"]
    assert f"rules: {literal('role:first: locked at 8')}" in lines(at)
    assert any("--rules rules.yaml" in each.value for each in at.code)
    (saved,) = [b for b in at.get("download_button") if b.key == "run-rules"]
    assert saved.proto.label == "Save rules"
    table_of_runs = next(each.value for each in at.dataframe if each.key == "runs-table")
    assert table_of_runs["Rules"].tolist()[0] == "none"
    assert "role:first: locked at 8" in table_of_runs["Rules"].tolist()[1]
