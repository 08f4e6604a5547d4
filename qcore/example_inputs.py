"""Made-up samples of what a network takes, to try it on before there are data."""

import torch
from torch import Tensor

from qcore.allocation import ModelSpec
from qcore.inputs import Input
from qcore.trees import Tree

KINDS = {
    "float32": torch.float32,
    "int64": torch.int64,
    "int32": torch.int32,
    "bool": torch.bool,
}
"""The kinds of numbers of inputs, as torch calls them."""


def zeros_for(wanted: Input, n: int) -> Tensor:
    """What an input is fed with where the data have no column for it, (n, *shape)."""
    return torch.zeros((n, *wanted.shape), dtype=KINDS[wanted.dtype])


def example_inputs(inputs: tuple[Input, ...], n: int, seed: int = 0) -> Tree:
    """Made-up samples to try a network on, (n, ...) each: noise, ids of the vocabulary, full masks.

    Args:
        inputs: What the network takes.
        n: Samples.
        seed: Of the noise; same seed, same samples.
    """
    generator = torch.Generator().manual_seed(seed)
    columns: dict[str, Tensor] = {}
    for each in inputs:
        shape, kind = (n, *each.shape), KINDS[each.dtype]
        if each.zeros:
            columns[each.name] = zeros_for(each, n)
        elif kind == torch.bool:
            # nothing is padded, everything counts
            columns[each.name] = torch.full(shape, "pad" not in each.name.lower(), dtype=kind)
        elif kind.is_floating_point:
            columns[each.name] = torch.randn(shape, generator=generator)
        else:
            columns[each.name] = torch.randint(
                0, each.high or 2, shape, generator=generator, dtype=kind
            )
        if each.high == 2 and not kind.is_floating_point:
            columns[each.name] = torch.ones(shape, dtype=kind)  # a mask: all of it counts
    return columns if len(columns) > 1 else columns[inputs[0].name]


def example_for(model: ModelSpec, n: int) -> Tree:
    """Made-up samples to run a network on, (n, ...): images of zeros, or `example_inputs`."""
    if model.inputs:
        return example_inputs(model.inputs, n)
    return torch.zeros(n, *model.input_shape)
