"""What a network's wiring proposes to tie, and that a shared tensor is counted once."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from qcore.allocation import BitAllocation, LayerSpec, ModelSpec
from qcore.costs import costs_of
from qcore.example_inputs import example_inputs
from qcore.models.catalog import BUNDLED_NAMES, bundled_spec
from qcore.models.zoo import load_model
from qcore.network.layers import find_layers
from qcore.rules.pattern import facts_of, parse_pattern, quoted
from qcore.rules.proposals import proposals
from qcore.rules.resolve import resolve
from qcore.rules.rule import Rule
from qcore.rules.ties import Tie
from qcore.run_spec import RunSpec


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(8, 8) for _ in range(3))
        self.out, self.gate, self.up = nn.Linear(8, 8), nn.Linear(8, 16), nn.Linear(8, 16)
        self.down = nn.Linear(16, 8)
        self.norm, self.second = nn.LayerNorm(8), nn.LayerNorm(8)

    def forward(self, x):
        y = self.norm(x)
        weights = torch.softmax(self.query(y) @ self.key(y).transpose(1, 2), -1)
        x = x + self.out(weights @ self.value(y))
        z = self.second(x).reshape(-1, 5, 8)
        return x + self.down(torch.relu(self.gate(z)) * self.up(z.view(-1, 5, 8)))


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(6, 8)
        self.blocks = nn.ModuleList([Block(), Block()])
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean(1))


def test_layers_that_read_one_tensor_are_proposed_as_one_kernel():
    torch.manual_seed(0)
    spec = find_layers(Encoder(), torch.randn(2, 5, 6), "encoder").spec
    (fused,) = proposals(spec)
    assert [rule.layers for rule in fused.rules] == ["*.{query,key,value}", "*.{gate,up}"]
    assert {tie.layers for tie in fused.ties if tie.part == "weight"} == {
        tuple(f"blocks.{at}.{name}" for name in names)
        for at in (0, 1)
        for names in (("query", "key", "value"), ("gate", "up"))
    }
    assert set(resolve(fused.rules, spec.layers, (2, 8), (2, 8)).ties) == set(fused.ties)


def test_a_shortcut_and_its_block_share_their_input_and_sums_join_a_stage():
    found = {p.title.partition(" (")[0]: p for p in proposals(bundled_spec("resnet20"))}
    assert [tie.layers for tie in found["Layers that read one tensor"].ties] == [
        ("layer2.0.conv1", "layer2.0.shortcut.0"),
        ("layer3.0.conv1", "layer3.0.shortcut.0"),
    ]
    sums = [tie.layers for tie in found["Layers that read what additions join"].ties]
    assert sums[0] == (
        "layer1.0.conv1", "layer1.1.conv1", "layer1.2.conv1", "layer2.0.conv1",
        "layer2.0.shortcut.0",
    )  # fmt: skip
    assert {tie.part for p in found.values() for tie in p.ties} == {"activation"}


@pytest.mark.parametrize("name", BUNDLED_NAMES)
def test_every_proposal_can_be_taken(name):
    spec = bundled_spec(name)
    for proposal in proposals(spec):
        found = resolve(proposal.rules, spec.layers, (2, 4, 8), (4, 8))
        assert set(found.ties) == set(proposal.ties)


@pytest.mark.parametrize("name", BUNDLED_NAMES)
def test_the_shipped_facts_are_those_of_the_network(name):
    shipped = bundled_spec(name)
    example = torch.zeros(1, *shipped.input_shape)
    if shipped.inputs:
        example = example_inputs(shipped.inputs, 1)
    assert find_layers(load_model(name), example, name, shipped.inputs).spec == shipped


@given(st.lists(st.text(min_size=1, max_size=6), min_size=2, max_size=4, unique=True))
def test_any_name_can_be_quoted(names):
    names = [name for name in names if name.strip() == name]
    layers = [LayerSpec(name, "linear", 1, 1, 1, 1, 1, 1) for name in names]
    for name in names:
        found = [
            f.name for f in facts_of(layers) if parse_pattern(quoted(name)).match(f) is not None
        ]
        assert found == [name]


@pytest.mark.parametrize("names", [("a{0}", "b,1"), ("x*", "x\\", "x?"), ("k:v", "!n", "[a]&b")])
def test_layers_of_any_names_are_tied_by_their_quoted_names(names):
    layers = [LayerSpec(name, "linear", 1, 1, 1, 1, 1, 1) for name in (*names, "other")]
    rule = Rule(", ".join(map(quoted, names)), tie="weights")
    assert resolve([rule], layers, (2, 4)).ties == (Tie("weight", names),)
    assert Rule.from_json(rule.to_json()) == rule


def test_a_shared_tensor_is_counted_once_where_it_is_tied_and_only_there():
    spec = bundled_spec("resnet8")
    tied = RunSpec(
        "resnet8", "fashion-mnist", "exact",
        rules=(Rule("layer2.0.{conv1,shortcut.0}", tie="activations"),),
    )  # fmt: skip
    free = RunSpec("resnet8", "fashion-mnist", "exact")
    assert free.priced(spec) is spec
    counted = tied.priced(spec)
    allocation = BitAllocation.uniform(spec.layers, 4, 4)
    before, after = costs_of(spec, allocation), costs_of(counted, allocation)
    shared = next(layer for layer in spec.layers if layer.name == "layer2.0.shortcut.0")
    saved = before["activation_bytes_sum"] - after["activation_bytes_sum"]
    assert saved == shared.inputs * 4 // 8
    # and one scale and zero point less on disk
    assert before["model_bytes"] - after["model_bytes"] == 8
    for name in ("weight_bytes", "bit_ops", "activation_bytes_max"):
        assert before[name] == after[name]
    # a tie of layers that read different tensors counts them all
    other = [Tie("activation", ("layer2.0.conv1", "layer3.0.conv1"))]
    assert spec.sharing([tie.layers for tie in other]) is spec
    assert ModelSpec.from_json(counted.to_json()) == counted
