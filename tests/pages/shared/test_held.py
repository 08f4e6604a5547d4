import json
import random

import pytest

from pages.shared import predictions
from pages.shared.columns import DAMAGE
from pages.shared.held import Allow, Held, held_of, held_of_text
from qcore.allocation import BitAllocation, LayerBits, LayerSpec, ModelSpec
from qcore.problem import SensitivityTable
from qcore.rules.ties import Tie
from tests import held


def network(names):
    layers = (
        LayerSpec(n, "conv2d", 100 + 37 * at, 8, 8, 900, 40, 40) for at, n in enumerate(names)
    )
    return ModelSpec("made-up", "0" * 64, tuple(layers))


MODEL = network([f"layer{at}" for at in range(12)])
NAMES = list(MODEL.names)


@pytest.mark.parametrize("seed", range(20))
def test_an_address_says_the_same_as_the_list_it_was_made_of(seed):
    rng = random.Random(seed)
    rules = held.rules_of(NAMES, rng)
    read = held_of(json.loads(json.dumps(rules)), MODEL)
    again = held_of_text(read.to_text(MODEL), MODEL)
    assert again.allowed() == read.allowed()
    assert sorted(map(repr, again.ties())) == sorted(map(repr, read.ties()))
    assert held_of(again.to_json(), MODEL).to_text(MODEL) == again.to_text(MODEL)
    for _ in range(50):
        bits = {n: LayerBits(rng.choice(held.WIDTHS), rng.choice(held.WIDTHS)) for n in NAMES}
        assert read.admits(BitAllocation(bits)) == held.admits(rules, bits)


def test_an_address_is_short_and_plain():
    rules = [
        *(Allow(name, "weight", (4, 8)) for name in NAMES),
        Allow("layer3", "activation", (8,)),
        Tie("weight", ("layer1", "layer2", "layer7")),
    ]
    text = Held(tuple(rules)).to_text(MODEL)
    assert text == "w0-11b4.8_a3b8_w1-2.7"
    assert held_of_text(text, MODEL).rules == tuple(rules)
    assert Held().to_text(MODEL) == ""
    # no width at all is something else than any
    none = Held((Allow("layer0", "weight", ()),))
    assert held_of_text(none.to_text(MODEL), MODEL) == none


def test_what_was_allowed_before_a_lock_is_kept_and_no_more():
    rules = [Allow("layer0", "weight", widths) for widths in [(2, 3), (4, 8), (4,)]]
    read = held_of(Held(tuple(rules)).to_json(), MODEL)
    assert read.rules == tuple(rules[1:])
    assert read.allowed() == {("layer0", "weight"): (4,)}


@pytest.mark.parametrize(
    "said",
    [
        None,
        "w0b4",
        [1, None, [], {}],
        [{"pattern": [], "part": "weight", "allow": [4]}],
        [{"pattern": "gone", "part": "weight", "allow": [4]}],
        [{"pattern": "layer0", "part": [], "allow": [4]}],
        [{"pattern": "layer0", "part": "bias", "allow": [4]}],
        [{"pattern": "layer0", "part": "weight", "allow": "4"}],
        [{"tie": ["layer0", "layer0", {}, "gone"], "part": "weight"}],
    ],
)
def test_nonsense_from_a_browser_is_left_out(said):
    assert held_of(said, MODEL) == Held()


@pytest.mark.parametrize(
    "words", ["", "_", "w", "wb", "x0b4", "w99b4", "w5", "w-b4", "w0-b4b8", "w1e3b4", "<b>", "w٣b4"]
)
def test_nonsense_in_an_address_is_left_out(words):
    assert held_of_text(words, MODEL) == Held()


def test_widths_that_no_layer_can_have_are_left_out_of_a_rule():
    (rule,) = held_of(
        [{"pattern": "layer0", "part": "weight", "allow": [4, True, -1, "8"]}], MODEL
    ).rules
    assert rule == Allow("layer0", "weight", (4,))
    assert held_of_text("w0b4.99", MODEL).rules == (rule,)


def test_a_tie_of_many_layers_is_solved_as_one_decision():
    rng = random.Random(7)
    table = SensitivityTable(
        "kl",
        "nats",
        {n: {b: rng.uniform(0.5, 9) * 0.4**b for b in held.WIDTHS} for n in NAMES},
        {n: {b: rng.uniform(0.1, 3) * 0.4**b for b in held.WIDTHS} for n in NAMES},
    )
    tied = held_of([{"tie": NAMES, "part": "activation"}], MODEL)
    for share in (0.3, 0.5, 0.8):
        limit = share * sum(layer.weights for layer in MODEL.layers)
        pick = predictions.predicted_pick("x", table, MODEL, {"weight_bytes": limit}, held=tied)
        # at each width that all share, the others are free
        fixed = [
            predictions.predicted_pick(
                "x",
                table,
                MODEL,
                {"weight_bytes": limit},
                held=Held(tuple(Allow(name, "activation", (width,)) for name in NAMES)),
            ).iloc[0][DAMAGE]
            for width in held.WIDTHS
        ]
        assert pick.iloc[0][DAMAGE] == pytest.approx(min(fixed))
        assert len({bits.activation for bits in pick.iloc[0]["allocation"].values()}) == 1


@pytest.mark.parametrize("seed", range(20))
def test_setting_and_letting_go_say_what_their_names_do(seed):
    rng = random.Random(seed)
    now = Held()
    allowed = {name: set(held.WIDTHS) for name in NAMES}
    groups = {name: {name} for name in NAMES}
    for _ in range(8):
        some, widths = rng.sample(NAMES, 3), rng.sample(held.WIDTHS, 2)
        step = rng.choice(["allow", "tie", "free"])
        if step == "allow":
            now = now.allowing(some, "weight", widths)
            for name in set().union(*(groups[one] for one in some)):
                allowed[name] = set(widths)
        elif step == "tie":
            now = now.tying(some, "weight")
            joined = set().union(*(groups[one] for one in some))
            groups |= dict.fromkeys(joined, joined)
        else:
            now = now.letting_go(some, "weight")
            allowed |= {name: set(held.WIDTHS) for name in some}
            groups = {name: group - set(some) for name, group in groups.items()}
            groups |= {name: {name} for name in some}
    for _ in range(60):
        bits = {name: LayerBits(rng.choice(held.WIDTHS)) for name in NAMES}
        for name in NAMES[:: rng.choice([1, 2])]:
            for other in groups[name]:
                bits[other] = bits[name]
        keeps = all(bits[name].weight in allowed[name] for name in NAMES) and all(
            len({bits[name].weight for name in group}) == 1 for group in groups.values()
        )
        assert now.admits(BitAllocation(bits)) == keeps
    # the other part was never touched
    assert not [rule for rule in now.rules if rule.part == "activation"]
