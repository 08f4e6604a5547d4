"""Weights and activations that go together: what pairs leave, and that searches keep to them."""

import dataclasses
import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcore.allocation import BFLOAT16, FLOAT16, LayerBits, width_text
from qcore.costs import COSTS
from qcore.costs.budget import Budget
from qcore.errors import InvalidBits, InvalidParams
from qcore.front import front_points
from qcore.rules.file import dump_rules, parse_rules
from qcore.rules.resolve import paired, resolve
from qcore.rules.rule import Rule
from qcore.solvers import decisions
from qcore.solvers.decisions import Decision, nearest_allowed
from qcore.solvers.space import space_of
from tests.helpers import toy_problem
from tests.qcore.rules.test_rules import LAYERS

WIDTHS = (2, 4, 8)
INPUTS = (4, 8, 32)
PAIRS = st.lists(
    st.builds(LayerBits, st.sampled_from(WIDTHS), st.sampled_from(INPUTS)),
    min_size=1,
    max_size=3,
    unique=True,
).map(lambda found: tuple(sorted(found)))
NAMES = tuple(f"layer{at}" for at in range(5))


def left(rules, name="fc"):
    """What a layer may have, as texts."""
    return [bits.text for bits in resolve(rules, LAYERS, WIDTHS, INPUTS).options[name]]


def test_pairs_are_all_that_is_left_and_later_rules_win():
    both = Rule("*", pairs=(LayerBits(8, 8), LayerBits(4)))
    assert left([both]) == ["4/float", "8/8"]
    assert left([Rule("*", weights=(2,)), both]) == ["4/float", "8/8"]
    assert left([both, Rule("fc", pairs=(LayerBits(2, 4),))]) == ["2/4"]
    # a width that the pairs have keeps its partner
    assert left([both, Rule("fc", weights=(8,))]) == ["8/8"]
    assert left([both, Rule("fc", activations=(32,))]) == ["4/float"]
    assert left([both, Rule("fc", lock=(8, 8))]) == ["8/8"]
    assert left([both, Rule("fc", least=(5, None))]) == ["8/8"]
    assert left([both, Rule("fc", most=(None, 8))]) == ["4/float", "8/8"]
    # one that they have not goes with any
    assert left([both, Rule("fc", weights=(2,))]) == ["2/8", "2/float"]
    assert left([both, Rule("fc", weights=(2, 4))]) == ["2/8", "2/float", "4/float"]
    assert left([both, Rule("fc", weights=(4,), activations=(8,))]) == ["4/8"]
    # ids that are looked up have no bits
    assert left([both], "embed") == ["4/float", "8/float"]
    found = resolve([both, Rule("fc", weights=(8,))], LAYERS, WIDTHS, INPUTS)
    assert found.overruled == (("fc",), ())
    assert paired(found.options["conv1"])
    assert not paired(found.options["fc"])


def test_without_pairs_all_widths_go_with_all():
    rules = [Rule("*", weights=(4, 8), activations=(8,)), Rule("fc", least=(8, None))]
    for row in resolve(rules, LAYERS, WIDTHS, INPUTS).options.values():
        weights, inputs = ({getattr(b, part) for b in row} for part in ("weight", "activation"))
        assert set(row) == set(itertools.starmap(LayerBits, itertools.product(weights, inputs)))
        assert list(row) == sorted(row)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"pairs": "8/8", "weights": 4}, "contradicts itself: it gives pairs, 8/8"),
        ({"pairs": "8/8", "lock": 8}, "contradicts itself"),
        ({"pairs": "2/8, 4/8", "min": 5}, "none is within min and max"),
        ({"pairs": ["8"]}, "go together"),
        ({"pairs": 8}, "go together"),
        ({"pairs": [[8, 8]]}, "go together"),
        ({"pairs": "8/8/8"}, "A width must be"),
        ({"pairs": "17/8"}, "A width must be"),
        ({"pairs": "8/"}, "A width must be"),
    ],
)
def test_pairs_that_cannot_be_read_say_why(entry, words):
    with pytest.raises((InvalidParams, InvalidBits), match=words):
        Rule.from_json({"layers": "fc", **entry})


@pytest.mark.parametrize(
    "rules",
    [
        # no width in common
        [Rule("conv1", pairs=(LayerBits(8, 8),)), Rule("fc", pairs=(LayerBits(4, 8),))],
        # each width in common, and no pair that has both
        [
            Rule("conv1", pairs=(LayerBits(8, 8), LayerBits(4, 4))),
            Rule("fc", pairs=(LayerBits(8, 4), LayerBits(4, 8))),
        ],
    ],
)
def test_pairs_that_a_tie_rules_out_are_refused(rules):
    with pytest.raises(InvalidParams, match=r"tied.*conv1.*fc"):
        resolve([*rules, Rule("conv1, fc", tie="both")], LAYERS, WIDTHS, INPUTS)


def test_what_a_tie_takes_from_one_layer_its_pairs_take_from_the_next():
    rules = [
        Rule("encoder.0.*", pairs=(LayerBits(4, 4), LayerBits(8, 8))),
        Rule("encoder.0.q_proj", weights=(8,)),
        Rule("encoder.0.{q,k}_proj", tie="weights"),
        Rule("encoder.0.{k,v}_proj", tie="activations"),
    ]
    options = resolve(rules, LAYERS, WIDTHS, INPUTS).options
    assert {options[f"encoder.0.{n}_proj"] for n in "qkv"} == {(LayerBits(8, 8),)}


@given(PAIRS, st.sampled_from([None, 2, 4]))
def test_files_bring_pairs_back(pairs, least):
    if least is not None and not any(bits.weight >= least for bits in pairs):
        return
    rule = Rule("kind:conv*", pairs=pairs, least=(least, None))
    assert parse_rules(dump_rules([rule])) == (rule,)
    written = ", ".join(bits.text for bits in pairs)
    said = {"layers": "kind:conv*", "pairs": written, "min": least}
    assert Rule.from_json(said) == rule
    assert parse_rules(json.dumps([said])) == (rule,)


@pytest.mark.parametrize("half", [FLOAT16, BFLOAT16])
def test_floats_of_16_bits_are_paired_by_name(half):
    name = width_text(half)
    (rule,) = parse_rules(f"- {{layers: fc, pairs: [{name}/{name}, 8/8]}}")
    assert set(rule.pairs) == {LayerBits(half, half), LayerBits(8, 8)}
    assert set(rule.widths) == {half, 8}


@st.composite
def random_rules(draw):
    """Pairs for some layers, and ties."""
    rules = []
    for _ in range(draw(st.integers(1, 3))):
        some = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True))
        rules.append(Rule(", ".join(some), pairs=draw(PAIRS)))
    for _ in range(draw(st.integers(0, 2))):
        some = draw(st.lists(st.sampled_from(NAMES), min_size=2, max_size=3, unique=True))
        rules.append(Rule(", ".join(some), tie=draw(st.sampled_from(["weights", "activations"]))))
    return rules


@settings(max_examples=25, deadline=None)
@given(rules=random_rules(), listed=st.sampled_from([1, 512]), cost=st.sampled_from(["bit_ops"]))
def test_the_exact_front_is_that_of_all_allocations_that_the_pairs_allow(rules, listed, cost):
    toy = toy_problem(len(NAMES), (2, 8), (4, 32), seed=1)
    try:
        found = resolve(rules, toy.problem.model.layers, (2, 8), (4, 32))
    except InvalidParams:
        return
    problem = dataclasses.replace(
        toy.problem, options=found.options, ties=found.ties, budget=Budget({cost: 1e15})
    )
    toy = dataclasses.replace(toy, problem=problem)
    everything = toy.all_allocations()
    for rule in rules:
        last = [each for each in rules if each.pairs and set(each.layers.split(", "))]
        for name in rule.layers.split(", ") if rule is last[-1] else ():
            assert all(allocation[name] in rule.pairs for allocation in everything)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decisions, "LISTED", listed)
        table = problem.sensitivity("gradient")
        space = space_of(problem, (table,), most=None)
        front = space.front(space.scores(table))
        wanted = dict.fromkeys(NAMES, LayerBits(4, 8))
        near = nearest_allowed(NAMES, problem.options, problem.ties, wanted)
    assert all(near[name] in problem.options[name] for name in NAMES)
    prices = [COSTS[cost].total(problem.model, allocation) for allocation in everything]
    damage = [toy.damage(allocation) for allocation in everything]
    best = front_points([float(price) for price in prices], damage)
    # sums in another order differ in their last digit
    found_front = zip((front.costs[:, 0] + space.fixed[0]).tolist(), front.scores, strict=True)
    assert dict(found_front) == pytest.approx({prices[at]: damage[at] for at in best})


@given(PAIRS)
def test_steps_lead_from_any_pair_to_any_other(pairs):
    decision = Decision(
        ("fc",), tuple((bits,) for bits in pairs), (((0, "weight"),), ((0, "activation"),))
    )
    reached, waiting = {0}, [0]
    while waiting:
        for other in decision.neighbours(waiting.pop()):
            if other not in reached:
                reached.add(other)
                waiting.append(other)
    assert reached == set(range(len(pairs)))
