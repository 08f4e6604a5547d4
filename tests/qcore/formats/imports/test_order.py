"""Lists without names go by the order in which a network defines its layers."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from qcore.allocation import LayerBits, ModelSpec
from qcore.errors import InvalidConfig
from qcore.formats.config import dump_bits, parse_bits
from qcore.formats.exports import EXPORTS, write
from qcore.formats.imports import read_allocations
from qcore.network.layers import find_layers
from tests import configs


class Backwards(nn.Module):
    """Defines its classifier first and its stem last, and has one block inside another."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 3)
        self.block = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1))
        self.never = nn.Linear(4, 4)
        self.stem = nn.Conv2d(1, 4, 3)

    def forward(self, x):
        x = self.block[0](self.block[2](self.stem(x)).relu())
        return self.head(x.mean((2, 3)))


@pytest.fixture(scope="module")
def spec():
    return find_layers(Backwards().eval(), torch.zeros(1, 1, 8, 8), "backwards").spec


PAIRS = [[8, 8], [2, 4], [3, 5], [6, -1]]


def test_a_network_knows_both_orders(spec):
    assert spec.names == ("stem", "block.2", "block.0", "head")
    assert spec.defined == ("head", "block.0", "block.2", "stem")
    assert ModelSpec.from_json(spec.to_json()) == spec


def test_a_haq_list_is_read_as_haq_applies_it(spec):
    network = Backwards()
    (bits,) = read_allocations(repr(PAIRS).encode(), spec).choices.values()
    layers = [
        name
        for name, module in network.named_modules()
        if type(module) in (nn.Conv2d, nn.Linear) and name in spec.names
    ]
    for name, pair in zip(layers, PAIRS, strict=True):
        assert bits[name] == LayerBits(*(32 if width == -1 else width for width in pair))
    assert tuple(bits) == spec.names


def test_a_note_says_where_the_orders_differ(spec):
    (notes,) = read_allocations(repr(PAIRS).encode(), spec).notes.values()
    assert any("entry 1 is for head, though stem runs in that place" in note for note in notes)
    same = replace(spec, defined=spec.names)
    (notes,) = read_allocations(repr(PAIRS).encode(), same).notes.values()
    assert not any("order" in note for note in notes)
    unknown = replace(spec, defined=())
    (notes,) = read_allocations(repr(PAIRS).encode(), unknown).notes.values()
    assert any("not known in which order backwards defines" in note for note in notes)


def test_what_is_written_for_haq_is_in_its_order_and_comes_back(spec):
    bits = configs.allocation(spec, range(2, 9), (2, 4, 8, 32), seed=3)
    content = write(EXPORTS["haq"], configs.config(spec, bits, state=False))
    assert read_allocations(content, spec).choices == {"": bits}
    first = 32 if b"[[-1" in content else int(content[2:3])
    assert first == bits["head"].weight


def test_a_configuration_keeps_the_order_and_old_ones_have_none(spec):
    bits = configs.allocation(spec, (4,), (8,))
    text = dump_bits(configs.config(spec, bits, state=False))
    assert parse_bits(text).model.defined == spec.defined
    old = dump_bits(configs.config(replace(spec, defined=()), bits, state=False))
    assert "defined" not in old
    assert parse_bits(old).model.defined == ()
    with pytest.raises(InvalidConfig, match='"defined" of the model'):
        parse_bits(text.replace('"head",\n   "block.0"', '"head",\n   "head"'))
