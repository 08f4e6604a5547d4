"""Second moments of many layers with one pass of the network, a block's at a time.

The moments of a large network's layers do not fit into memory together. Instead of a pass of the
whole network for each part of them, its blocks are run one after the other on the float activations
that the block before left (`qcore.network.blocks`), and a block's moments are dropped before the
next one's are made. The sums are the same to the bit.
"""

from collections.abc import Callable, Iterator, Sequence

import torch

from qcore.network.blocks import Blocks, BlockWalk, find_blocks
from qcore.ptq.model import QuantizedModel
from qcore.rounding.moments import Moments, in_float, second_moments
from qcore.trees import Tree, count, part

Parts = Callable[[Sequence[str]], list[list[str]]]
"""Cuts layers into parts whose moments fit into memory together."""


def moments_in_parts(
    model: QuantizedModel, names: Sequence[str], batches: Sequence[Tree], parts: Parts
) -> Iterator[tuple[list[str], Moments]]:
    """Second moments of some layers' inputs in the float network, some layers at a time.

    Args:
        model: The model; it is left as it was.
        names: The layers, no embeddings.
        batches: The network's inputs.
        parts: Which layers' moments are made together.

    Yields:
        Each part and its moments, which should not be kept.
    """
    whole = parts(names)
    if len(whole) > 1:
        with in_float(model):
            blocks = find_blocks(model.network, part(batches[0], slice(1)), model)
        if blocks is not None and _apart(model, blocks):
            yield from _by_block(model, blocks, names, batches, parts)
            return
    for some in whole:
        yield some, second_moments(model, some, batches)


def _apart(model: QuantizedModel, blocks: Blocks) -> bool:
    """True where no layer stands in two blocks, or in one and outside of them."""
    places: dict[str, set[int]] = {}
    known = {id(layer): name for name, layer in model.layers.items()}
    for path, module in model.network.named_modules(remove_duplicate=False):
        if id(module) in known:
            places.setdefault(known[id(module)], set()).add(_block_of(blocks, path))
    return all(len(found) == 1 for found in places.values())


def _block_of(blocks: Blocks, path: str) -> int:
    """The number of the block that a path lies in; -1 outside."""
    inside = (at for at, block in enumerate(blocks.paths) if path.startswith(f"{block}."))
    return next(inside, -1)


@torch.no_grad()
def _by_block(
    model: QuantizedModel,
    blocks: Blocks,
    names: Sequence[str],
    batches: Sequence[Tree],
    parts: Parts,
) -> Iterator[tuple[list[str], Moments]]:
    walk = BlockWalk(model.network, blocks, batches, model)
    samples = sum(count(batch) for batch in batches)
    for at in (*range(len(blocks.paths)), -1):
        inside = parts([name for name in names if _block_of(blocks, name) == at])
        for number, some in enumerate(inside or [[]]):
            found = Moments(model, some, samples)
            last = number >= len(inside) - 1
            with in_float(model):
                for index, batch in enumerate(batches):
                    with found.watching(batch):
                        x = walk.run_rest(index) if at < 0 else walk.run_block(at, index)
                    if last and at >= 0:
                        walk.hidden[index] = x
            if some:
                yield some, found
