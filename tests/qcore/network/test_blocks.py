"""Blocks of a network run one at a time lead where the whole network does."""

import pytest
import torch
from torch import nn

from qcore.network.blocks import BlockWalk, find_blocks
from qcore.trees import call, output_row, part
from tests.hugging_folders import made


def texts(n=5, length=9):
    ids = torch.randint(4, 50, (n, length), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[: n // 2, length // 2 :] = 0
    return {"input_ids": ids, "attention_mask": mask}


class Chain(nn.Module):
    """A stem, blocks one after the other, a head."""

    def __init__(self, block, blocks=3):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.head = nn.Linear(6, 4), nn.Linear(4, 2)
        self.body = nn.ModuleList(block() for _ in range(blocks))

    def forward(self, x):
        x = self.stem(x)
        for block in self.body:
            x = block(x)
        return self.head(x)


class Skipping(Chain):
    """The head sees the first block's outputs too."""

    def forward(self, x):
        x = first = self.body[0](self.stem(x))
        for block in self.body[1:]:
            x = block(x)
        return self.head(x + first)


class Between(Chain):
    """Something happens between the blocks."""

    def forward(self, x):
        x = self.stem(x)
        for block in self.body:
            x = 2 * block(x)
        return self.head(x)


class Twice(Chain):
    """All blocks run, and then run again."""

    def forward(self, x):
        x = self.stem(x)
        for block in (*self.body, *self.body):
            x = block(x)
        return self.head(x)


class Backwards(Chain):
    """The last block runs first."""

    def forward(self, x):
        x = self.stem(x)
        for block in reversed(self.body):
            x = block(x)
        return self.head(x)


class Telling(nn.Module):
    """Gives a second tensor, which the network hands on to the next block."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x, more=None):
        y = self.layer(x) if more is None else self.layer(x) + more
        return y, x


class Handing(Chain):
    def forward(self, x):
        x, more = self.stem(x), None
        for block in self.body:
            x, more = block(x, more)
        return self.head(x)


def linear():
    return nn.Linear(4, 4)


class Row(nn.Module):
    """Returns its activations as the only one of a tuple, and takes them by name."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, *, hidden):
        return (self.layer(hidden),)


class Rows(Chain):
    def forward(self, x):
        x = self.stem(x)
        for block in self.body:
            (x,) = block(hidden=x)
        return self.head(x)


def plain(n=5):
    return torch.randn(n, 6, generator=torch.Generator().manual_seed(1))


FOUND = {
    "GPT2LMHeadModel": (lambda: made("GPT2LMHeadModel"), texts),
    "LlamaForCausalLM": (lambda: made("LlamaForCausalLM"), texts),
    "BertForMaskedLM": (lambda: made("BertForMaskedLM"), texts),
    "chain": (lambda: Chain(linear), plain),
    "rows by name": (lambda: Rows(Row), plain),
    "sequential": (
        lambda: nn.Sequential(nn.Linear(6, 4), nn.Sequential(linear(), linear())),
        plain,
    ),
}


@pytest.mark.parametrize("kind", FOUND)
@torch.no_grad()
def test_blocks_lead_to_the_networks_own_outputs_and_leave_it_as_it_was(kind):
    make, data = FOUND[kind]
    network = make().eval()
    batches = [data(5), data(3)]
    before = {name: set(vars(module)) for name, module in network.named_modules()}
    blocks = find_blocks(network, part(batches[0], slice(1)))
    assert blocks is not None
    assert len(blocks.paths) >= 2
    walk = BlockWalk(network, blocks, batches, lambda x: call(network, x))
    ran = []

    def note(path):
        # while a block is passed over, something else is in the place of its forward pass
        return lambda module, args: None if "forward" in vars(module) else ran.append(path)

    hooks = [
        network.get_submodule(path).register_forward_pre_hook(note(path)) for path in blocks.paths
    ]
    for at in range(len(blocks.paths)):
        walk.pass_block(at)
    for hook in hooks:
        hook.remove()
    # each block computes once for each batch, in order
    assert ran == [path for path in blocks.paths for _ in batches]
    for index, batch in enumerate(batches):
        wanted, got = output_row(call(network, batch)), output_row(walk.run_rest(index))
        assert torch.equal(got, wanted)
    assert before == {name: set(vars(module)) for name, module in network.named_modules()}
    assert not any(module._forward_hooks for module in network.modules())
    assert not any(module._forward_pre_hooks for module in network.modules())


@pytest.mark.parametrize(
    "network",
    [
        Skipping(linear),
        Between(linear),
        Twice(linear),
        Backwards(linear),
        Handing(Telling),
        Chain(linear, blocks=1),
        nn.Linear(6, 2),
    ],
    ids=lambda network: type(network).__name__,
)
def test_a_network_that_is_no_chain_of_blocks_has_none(network):
    assert find_blocks(network.eval(), plain(1)) is None


def test_the_heaviest_list_is_taken():
    network = nn.Sequential(
        nn.Linear(6, 4),
        nn.Sequential(linear(), linear()),
        nn.Sequential(*(nn.Sequential(nn.Linear(4, 9), nn.Linear(9, 4)) for _ in range(2))),
    ).eval()
    assert find_blocks(network, plain(1)).paths == ("2.0", "2.1")
