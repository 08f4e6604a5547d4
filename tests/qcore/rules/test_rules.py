"""Rules: what patterns match, what files say, and what they leave each layer."""

import dataclasses
import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcore.allocation import LayerBits, LayerSpec
from qcore.errors import InvalidBits, InvalidParams
from qcore.rules.file import dump_rules, load_rules, parse_rules
from qcore.rules.pattern import ROLES, facts_of, parse_pattern
from qcore.rules.resolve import resolve
from qcore.rules.rule import TIES, Rule
from qcore.rules.ties import Tie


def layer(name, kind="linear", positions=1, channels=4, groups=1, consumers=("next",)):
    return LayerSpec(
        name, kind, 64, channels, 4, 640, 16, positions * channels,
        in_channels=groups, groups=groups, consumers=consumers,
    )  # fmt: skip


LAYERS = (
    layer("embed", "embedding", 7),
    layer("conv1", "conv2d", 64),
    layer("layer1.0.conv1", "conv2d", 64),
    layer("layer1.0.depth", "conv2d", 64, groups=4),
    layer("layer2.0.conv1", "conv2d", 16),
    layer("encoder.0.q_proj"),
    layer("encoder.0.k_proj"),
    layer("encoder.0.v_proj"),
    layer("encoder.1.q_proj"),
    layer("encoder.1.k_proj"),
    layer("encoder.1.v_proj"),
    layer("fc", consumers=()),
)


def matched(pattern, layers=LAYERS):
    return [f.name for f in facts_of(layers) if parse_pattern(pattern).match(f) is not None]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("conv1", ["conv1"]),
        ("*conv1", ["conv1", "layer1.0.conv1", "layer2.0.conv1"]),
        ("layer?.0.conv1", ["layer1.0.conv1", "layer2.0.conv1"]),
        ("layer[2-9].*", ["layer2.0.conv1"]),
        ("layer[!2].*", ["layer1.0.conv1", "layer1.0.depth"]),
        ("conv1, fc", ["conv1", "fc"]),
        ("encoder.1.{q,k}_proj", ["encoder.1.q_proj", "encoder.1.k_proj"]),
        ("kind:conv*", ["conv1", "layer1.0.conv1", "layer1.0.depth", "layer2.0.conv1"]),
        ("kind:conv2d & !role:depthwise & !conv1", ["layer1.0.conv1", "layer2.0.conv1"]),
        ("role:embedding", ["embed"]),
        ("role:first", ["conv1"]),
        ("role:last", ["fc"]),
        ("role:head", ["fc"]),
        ("role:depthwise", ["layer1.0.depth"]),
        ("stage:1 & kind:conv2d", ["conv1", "layer1.0.conv1", "layer1.0.depth"]),
        ("stage:2", ["layer2.0.conv1"]),
        ("conv", []),
        ("CONV1", []),
    ],
)  # fmt: skip
def test_patterns_match_names_kinds_roles_and_stages(pattern, names):
    assert matched(pattern) == names


@given(st.text(max_size=12))
def test_any_text_is_a_pattern_or_refused_in_words(text):
    with suppress(InvalidParams):
        matched(text)


@given(st.text(st.characters(exclude_characters="*?[]{},&!:\\"), min_size=1))
def test_a_name_without_special_characters_matches_itself_alone(name):
    if name.strip() != name:
        return
    assert matched(name, [layer(name), layer(f"{name}x"), layer(f"x{name}")]) == [name]


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("", "empty part"),
        ("conv1,,fc", "empty part"),
        ("kind:", "something must follow"),
        ("type:conv2d", "kind, role, stage"),
        ("role:boss", "embedding, head"),
        ("{q,k", "brace"),
        ("{q,{k}}", "brace"),
        ("layer[9-1].*", "range"),
    ],
)
def test_patterns_that_cannot_be_read_say_why(pattern, words):
    with pytest.raises(InvalidParams, match=words):
        matched(pattern)


def widths(rules, weights=(2, 4, 8), inputs=(4, 8), pin=None, layers=LAYERS):
    found = resolve(rules, layers, weights, inputs, pin)
    return found, {
        name: (
            sorted({bits.weight for bits in row}),
            sorted({bits.activation for bits in row}),
        )
        for name, row in found.options.items()
    }


def test_later_rules_win_and_narrow_what_is_left():
    found, allowed = widths(
        [
            Rule("kind:conv*", weights=(4, 8), activations=(8,)),
            Rule("conv1", lock=(8, 8)),
            Rule("role:depthwise", least=(5, None)),
            Rule("fc", weights=(2, 3, 16 // 2), most=(4, 4)),
        ]
    )
    assert allowed["conv1"] == ([8], [8])
    assert allowed["layer1.0.conv1"] == ([4, 8], [8])
    assert allowed["layer1.0.depth"] == ([8], [8])
    assert allowed["fc"] == ([2, 3], [4])
    assert allowed["encoder.0.q_proj"] == ([2, 4, 8], [4, 8])
    assert found.matches[1] == ("conv1",)
    assert found.overruled == (("conv1",), (), (), ())


def test_an_embedding_keeps_its_ids_whatever_rules_say_of_activations():
    _, allowed = widths([Rule("*", lock=(4, 4)), Rule("*", tie="activations")])
    assert allowed["embed"] == ([4], [32])
    assert allowed["fc"] == ([4], [4])


def test_a_lock_leaves_inputs_alone_that_are_not_quantized():
    _, allowed = widths([Rule("conv1", lock=(8, 8))], inputs=(32,))
    assert allowed["conv1"] == ([8], [32])
    _, allowed = widths([Rule("conv1", activations=(8,), lock=(8, 8))], inputs=(32,))
    assert allowed["conv1"] == ([8], [8])


def test_ceilings_leave_floats_alone():
    _, allowed = widths([Rule("conv1", most=(4, 4))], inputs=(32,))
    assert allowed["conv1"] == ([2, 4], [32])


def test_rules_come_after_pinned_ends():
    _, allowed = widths([Rule("role:last", weights=(2, 4))], pin=8)
    assert allowed["conv1"] == ([8], [8])
    assert allowed["fc"] == ([2, 4], [8])


def test_stars_keep_ties_apart_and_braces_do_not():
    found, _ = widths([Rule("encoder.*.{q,k,v}_proj", tie="weights")])
    assert found.ties == (
        Tie("weight", tuple(f"encoder.0.{n}_proj" for n in "qkv")),
        Tie("weight", tuple(f"encoder.1.{n}_proj" for n in "qkv")),
    )
    found, _ = widths([Rule("encoder.**_proj", tie="both")])
    assert [len(tie.layers) for tie in found.ties] == [6, 6]
    found, _ = widths([Rule("encoder.*", tie="weights")])
    assert [len(tie.layers) for tie in found.ties] == [6]
    found, _ = widths([Rule("*.q_proj, *.k_proj", tie="weights")])
    assert [tie.layers for tie in found.ties] == [
        ("encoder.0.q_proj", "encoder.0.k_proj"),
        ("encoder.1.q_proj", "encoder.1.k_proj"),
    ]
    found, _ = widths([Rule("kind:conv2d & stage:1", tie="activations")])
    assert [tie.layers for tie in found.ties] == [("conv1", "layer1.0.conv1", "layer1.0.depth")]


def test_tied_layers_may_have_what_all_of_them_may():
    _, allowed = widths(
        [Rule("encoder.0.q_proj", weights=(4, 8)), Rule("encoder.*.{q,k}_proj", tie="weights")]
    )
    assert allowed["encoder.0.k_proj"] == ([4, 8], [4, 8])
    assert allowed["encoder.1.k_proj"] == ([2, 4, 8], [4, 8])


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ([Rule("conv9", lock=(8, 8))], r"Rule 1 \(conv9\) matches no layer.*embed, conv1"),
        ([Rule("conv1", least=(9 - 1, None)), Rule("conv1", most=(4, None))],
         r"Rule 2 \(conv1\) leaves layer 'conv1' no bits for its weights"),
        ([Rule("fc", tie="weights")], r"Rule 1 \(fc\) ties nothing"),
        ([Rule("embed, embed*", tie="activations")], "ties nothing"),
        ([Rule("conv1", lock=(8, 8)), Rule("fc", lock=(4, 4)), Rule("conv1, fc", tie="weights")],
         "contradict each other.*conv1 may have 8; fc may have 4"),
    ],
)  # fmt: skip
def test_rules_that_cannot_hold_are_refused_by_number_and_name(rules, words):
    with pytest.raises(InvalidParams, match=words):
        widths(rules)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({}, '"layers"'),
        ({"layers": "conv1"}, "says nothing"),
        ({"layers": "conv1", "lokc": 8}, "misspelt"),
        ({"layers": "conv1", "min": 8, "max": 4}, "contradicts itself"),
        ({"layers": "conv1", "weights": [2], "min": 4}, "contradicts itself"),
        ({"layers": "conv1", "weights": [2, 4], "lock": 8}, "contradicts itself"),
        ({"layers": "conv1", "tie": "all"}, "weights, activations, both"),
        ({"layers": "conv1", "min": {"bits": 4}}, "weights and activations"),
        ({"layers": "conv1", "lock": [1, 2, 3]}, "one width or two"),
        (["conv1"], "must be a mapping"),
        ("conv1", "must be a mapping"),
    ],
)
def test_a_rule_that_cannot_be_read_says_why(entry, words):
    with pytest.raises(InvalidParams, match=words):
        Rule.from_json(entry)


@pytest.mark.parametrize("width", [0, 99, -1, 3.5, "eight", "int32", True])
def test_widths_there_are_not_are_refused(width):
    for key in ("weights", "lock"):
        with pytest.raises(InvalidBits):
            Rule.from_json({"layers": "conv1", key: width})


def test_a_number_alone_locks_both_and_bounds_weights():
    assert Rule.from_json({"layers": "a", "lock": 8}).lock == (8, 8)
    assert Rule.from_json({"layers": "a", "lock": "4/8"}).lock == (4, 8)
    assert Rule.from_json({"layers": "a", "lock": "-/8"}).lock == (None, 8)
    assert Rule.from_json({"layers": "a", "min": 4}).least == (4, None)
    assert Rule.from_json({"layers": "a", "max": {"activations": 8}}).most == (None, 8)
    assert Rule.from_json({"layers": "a", "weights": "8, 4"}).weights == (4, 8)
    assert Rule.from_json({"layers": ["a", "b"], "tie": True}) == Rule("a, b", tie="both")


PAIRS = st.tuples(st.sampled_from([None, 2, 4]), st.sampled_from([None, 4, 8]))


@given(
    least=PAIRS,
    lock=st.sampled_from([(None, None), (8, 8), (8, None)]),
    tie=st.sampled_from(["", *TIES]),
    weights=st.sampled_from([(), (4, 8), (8,)]),
)
def test_files_bring_rules_back(least, lock, tie, weights):
    rule = Rule("kind:conv* & !role:first", weights, (8,), least, (None, None), lock, tie)
    assert parse_rules(dump_rules([rule, rule])) == (rule, rule)
    assert Rule.from_json(json.loads(json.dumps(rule.to_json()))) == rule


def test_yaml_and_json_files_say_the_same(tmp_path):
    yaml = tmp_path / "rules.yaml"
    yaml.write_text(
        "# a device\nrules:\n"
        "  - {layers: conv1, lock: 8}\n"
        "  - layers: '*.{q,k,v}_proj'\n    tie: weights\n"
        "  - layers: kind:linear\n    weights: [4, 8]\n    min: 4/8\n"
    )
    rules = load_rules(yaml)
    assert rules == (
        Rule("conv1", lock=(8, 8)),
        Rule("*.{q,k,v}_proj", tie="weights"),
        Rule("kind:linear", weights=(4, 8), least=(4, 8)),
    )
    (tmp_path / "rules.json").write_text(dump_rules(rules))
    assert load_rules(tmp_path / "rules.json") == rules
    (tmp_path / "list.json").write_text(json.dumps([rule.to_json() for rule in rules]))
    assert load_rules(tmp_path / "list.json") == rules


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- layers: *.q\n  lock: 8", "in quotes"),
        ("rules: 8", "list of rules"),
        ("[{", "neither YAML nor JSON"),
        ("- {layers: conv1, lock: 77}", "Rule 1"),
        ("- layers: conv1\n  lock: 8\n- layers: fc", "Rule 2.*says nothing"),
    ],
)
def test_files_that_hold_no_rules_say_why(text, words):
    with pytest.raises((InvalidParams, InvalidBits), match=words):
        parse_rules(text)


def test_a_file_that_cannot_be_opened_says_so(tmp_path):
    with pytest.raises(InvalidParams, match="cannot be read"):
        load_rules(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidParams, match="cannot be read"):
        load_rules(tmp_path / "bytes.yaml")


def test_every_role_is_one_that_some_layer_can_have():
    seen = {role for facts in facts_of(LAYERS) for role in facts.roles}
    assert seen == set(ROLES)


def test_rules_are_values():
    rule = Rule("conv1", lock=(8, 8))
    assert hash(rule) == hash(Rule("conv1", lock=(8, 8)))
    with pytest.raises(dataclasses.FrozenInstanceError):
        rule.tie = "both"  # type: ignore[misc]
    assert LayerBits(8, 8) in resolve([rule], LAYERS, (2, 8), (8,)).options["conv1"]
