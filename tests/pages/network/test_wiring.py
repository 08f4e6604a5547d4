"""The drawn graph says what the facts say: brute force over made-up wirings, and known networks."""

import random

from hypothesis import given
from hypothesis import strategies as st

from pages.network.wiring import SIDE_BY_SIDE, SUM, UNKNOWN, read_wires
from qcore.models.catalog import bundled_spec
from tests.pages.network.chains import chain, model_of, residual


def reached(wires, at):
    """Places of the layers that reach a node through joins alone."""
    found = set()
    for source, target in wires.arrows:
        if target == at:
            kind = wires.nodes[source].kind
            found |= reached(wires, source) if kind == "join" else {source} - {0}
    return {place for place in found if wires.nodes[place].kind == "layer"}


def says_what_the_facts_say(model):
    wires = read_wires(model)
    assert wires.known
    place = {node.layer: at for at, node in enumerate(wires.nodes) if node.kind == "layer"}
    assert [node.layer for node in wires.nodes if node.kind == "layer"] == sorted(place)
    assert all(source < target for source, target in wires.arrows)
    assert len(set(wires.arrows)) == len(wires.arrows)
    for number, layer in enumerate(model.layers):
        wanted = {place[model.names.index(name)] for name in layer.producers}
        forward = {at for at in wanted if at < place[number]}
        assert reached(wires, place[number]) == forward
        assert {at for at, to in wires.again if to == place[number]} == wanted - forward
        into = [source for source, target in wires.arrows if target == place[number]]
        assert len(into) == 1
    # nothing hangs in the air
    sources = {source for source, _ in wires.arrows}
    targets = {target for _, target in wires.arrows}
    assert sources == set(range(len(wires.nodes) - 1))
    assert targets == set(range(1, len(wires.nodes)))


@st.composite
def wirings(draw):
    count = draw(st.integers(2, 9))
    names = [f"l{at}" for at in range(count)]
    rows = {names[0]: ()}
    for at, name in enumerate(names[1:], start=1):
        pool = names[:at] if draw(st.booleans()) else [n for n in names if n != name]
        rows[name] = tuple(draw(st.lists(st.sampled_from(pool), unique=True, max_size=4)))
    rows["end"] = (names[-1],)
    return model_of(rows)


@given(wirings())
def test_who_reaches_whom_through_joins_is_what_is_stored(model):
    says_what_the_facts_say(model)


def test_shipped_networks_and_long_ones_are_drawn_as_stored():
    for name in ("resnet8", "resnet20", "mobilenet"):
        says_what_the_facts_say(bundled_spec(name))
    says_what_the_facts_say(chain(8))
    says_what_the_facts_say(residual(30))


def test_residual_sums_follow_one_another_and_each_adds_one_layer():
    wires = read_wires(residual(500))
    joins = [at for at, node in enumerate(wires.nodes) if node.kind == "join"]
    assert len(joins) == 500
    assert {wires.nodes[at].sign for at in joins} == {SUM}
    for number, at in enumerate(joins):
        parts = {source for source, target in wires.arrows if target == at}
        assert len(parts) == 2
        assert (joins[number - 1] in parts) == (number > 0)


def test_a_shortcut_with_a_layer_stands_beside_the_block():
    model = bundled_spec("resnet8")
    wires = read_wires(model)
    place = {model.names[n.layer]: at for at, n in enumerate(wires.nodes) if n.kind == "layer"}
    one, shortcut = place["layer2.0.conv1"], place["layer2.0.shortcut.0"]
    sources = {at: source for source, at in wires.arrows if at in (one, shortcut)}
    assert sources[one] == sources[shortcut]
    join = next(target for source, target in wires.arrows if source == shortcut)
    assert wires.nodes[join].kind == "join"
    assert (place["layer2.0.conv2"], join) in wires.arrows


def test_channels_tell_sums_from_what_stands_side_by_side():
    def sign(channels, wanted):
        rows = {"a": (), "b": ("a",), "c": ("a", "b")}
        model = model_of(rows, {"a": channels[0], "b": channels[1]}, {"c": wanted})
        return next(node.sign for node in read_wires(model).nodes if node.kind == "join")

    assert sign((8, 8), 8) == SUM
    assert sign((8, 4), 12) == SIDE_BY_SIDE
    # a narrower one that is padded
    assert sign((8, 16), 16) == SUM
    assert sign((8, 4), 10) == UNKNOWN


def test_where_nothing_is_known_the_order_is_drawn_and_said():
    wires = read_wires(model_of({"a": (), "b": (), "c": ()}))
    assert not wires.known
    assert wires.arrows == ((0, 1), (1, 2), (2, 3), (3, 4))
    # and where more is known than can be drawn
    names = [f"l{at}" for at in range(60)]
    rng = random.Random(0)
    crowd = {
        name: tuple(other for other in names[:at] if rng.random() < 0.5)
        for at, name in enumerate(names)
    }
    assert not read_wires(model_of(crowd)).known
