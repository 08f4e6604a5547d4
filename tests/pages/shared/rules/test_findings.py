"""What is said of rules while they are typed."""

import pytest

from pages.shared.rules.findings import find
from pages.shared.rules.words import kept_by, left_rows, rule_words, rules_words, told_rules
from qcore.allocation import BitAllocation, LayerBits
from qcore.models.catalog import bundled_spec
from qcore.rules.resolve import resolve
from qcore.rules.rule import Rule

MODEL = bundled_spec("resnet8")
BITS = (2, 3, 4, 8), (32,)
TIED = {"layers": "layer2.0.conv1, layer2.0.shortcut.0", "tie": "weights"}


def found(*entries, model=MODEL, bits=BITS):
    return find(entries, model, *bits)


def test_each_rule_says_which_layers_it_is_for_and_what_a_later_one_decides():
    seen = found({"layers": "*", "weights": [4, 8]}, {"layers": "conv1", "lock": 8}, TIED)
    assert seen.wrong == ""
    assert [one.layers for one in seen.each[1:]] == [
        ("conv1",),
        ("layer2.0.conv1", "layer2.0.shortcut.0"),
    ]
    assert seen.each[0].layers == MODEL.names
    assert seen.each[0].overruled == ("conv1",)
    assert [rule.layers for rule in seen.rules] == ["*", "conv1", TIED["layers"]]
    assert seen.resolved == resolve(seen.rules, MODEL.layers, *BITS)


def test_a_pattern_matches_before_the_rule_says_anything():
    (one,) = found({"layers": "layer1*"}).each
    assert one.layers == tuple(name for name in MODEL.names if name.startswith("layer1"))
    assert "says nothing" in one.wrong


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"layers": "conv9", "lock": 8}, "matches no layer"),
        ({"layers": "conv1", "lock": 17}, "17"),
        ({"layers": "conv1", "weihts": 4}, "weihts"),
        ({"layers": "conv1", "min": 8, "max": 4}, "contradicts itself"),
        ({"layers": "{conv1", "lock": 8}, "brace"),
        ({"layers": "role:frist", "lock": 8}, "frist"),
        ({"layers": "conv1", "tie": "both"}, "ties nothing"),
        ({"layers": "conv1", "min": 40}, "40"),
        ({"lock": 8}, "layers"),
        ("conv1", "mapping"),
        (None, "mapping"),
        ({"layers": "conv1", "weights": {"a": [1]}}, "width"),
    ],
)
@pytest.mark.parametrize("before", [0, 2])
def test_what_is_wrong_is_said_at_its_own_rule_and_no_search_begins(entry, words, before):
    good = [{"layers": "fc", "min": 3}] * before
    seen = found(*good, entry, {"layers": "*", "weights": [4, 8]})
    assert [bool(one.wrong) for one in seen.each] == [*[False] * before, True, False]
    assert words in seen.each[before].wrong
    assert seen.wrong.startswith(f"Rule {before + 1}: ")
    assert seen.rules == ()
    assert seen.resolved is None


def test_a_contradiction_is_said_at_the_rule_that_completes_it():
    eight, two = (
        {"layers": "layer2.0.conv1", "lock": 8},
        {
            "layers": "layer2.0.shortcut.0",
            "lock": 2,
        },
    )
    for order in ((TIED, eight, two), (eight, two, TIED), (eight, TIED, two)):
        seen = found(*order, {"layers": "fc", "lock": 4})
        assert [bool(one.wrong) for one in seen.each] == [False, False, True, False]
        assert "contradict" in seen.wrong
    # a later rule may put it right again
    again = {**two, "lock": 8}
    assert found(TIED, eight, two, again).wrong == ""


def test_rules_are_checked_against_the_network_that_is_chosen():
    entry = {"layers": "layer2.0.shortcut.0", "lock": 8}
    assert found(entry).wrong == ""
    assert "matches no layer" in found(entry, model=bundled_spec("mobilenet")).wrong
    # nothing is matched where no layer is known, and what cannot be read is wrong all the same
    unknown = found(entry, model=None)
    assert (unknown.wrong, unknown.resolved, unknown.rules) == ("", None, (Rule.from_json(entry),))
    assert found({**entry, "lock": "x"}, model=None).wrong


def test_widths_that_are_none_are_not_the_rules_fault():
    seen = found({"layers": "conv1", "lock": 8}, bits=((), (32,)))
    assert (seen.wrong, seen.resolved) == ("", None)
    assert seen.each[0].layers == ("conv1",)


def test_what_is_left_says_widths_and_partners():
    rows = {row[0]: row[1:] for row in left_rows(found({"layers": "*", "min": 4}, TIED).resolved)}
    assert rows["conv1"] == ("4, 8", "float", "")
    assert rows["layer2.0.conv1"] == ("4, 8", "float", "weights: layer2.0.shortcut.0")


def test_words_of_rules():
    assert rule_words(Rule("x", lock=(8, 8))) == "locked at 8"
    rule = Rule("x", weights=(4, 32), least=(None, 4), tie="weights")
    assert rule_words(rule) == "weights 4 or float; activations at least 4; weights tied"
    assert rules_words(()) == "none"
    many = rules_words([Rule("a", tie="both"), rule], 1)
    assert many == "a: weights and activations tied | and 1 more"


def test_bits_keep_rules_or_not():
    resolved = found({"layers": "conv1", "lock": 8}, TIED).resolved
    even = BitAllocation.uniform(MODEL.layers, 4)
    assert not kept_by(resolved, even)
    locked = even.replace("conv1", LayerBits(8))
    assert kept_by(resolved, locked)
    assert not kept_by(resolved, locked.replace("layer2.0.conv1", LayerBits(2)))


def test_a_files_rules_are_told_with_what_they_left_where_that_is_known():
    told = {"rules": [{"layers": "conv1", "lock": 8}], "weight_bits": [2, 8]}
    assert told_rules(told, MODEL) == ((Rule("conv1", lock=(8, 8)),), None)
    told["activation_bits"] = [32]
    rules, resolved = told_rules(told, MODEL)
    assert resolved == resolve(rules, MODEL.layers, (2, 8))
    assert told_rules({}, MODEL) == ((), None)
    # a file may say anything
    for odd in ({"weight_bits": ["x"]}, {"pin_first_last": "no"}, {"weight_bits": 7}):
        assert told_rules({**told, **odd}, MODEL)[1] is None


def test_pairs_are_said_as_such_and_so_is_what_they_leave():
    seen = found({"layers": "*", "pairs": ["8/8", "4/float"]}, bits=((4, 8), (8, 32)))
    assert seen.each[0].words == "weights/activations 4/float or 8/8"
    assert set(left_rows(seen.resolved)) == {
        (name, "4, 8", "as pairs: 4/float, 8/8", "") for name in MODEL.names
    }
    wrong = found({"layers": "*", "pairs": "8/8"}, {"layers": "fc", "min": "9"})
    assert "leaves layer 'fc' no bits" in wrong.wrong
