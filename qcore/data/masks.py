"""Masks made of lengths: which places of a sample hold something, and which were filled up."""

import torch
from torch import Tensor

from qcore.example_inputs import KINDS
from qcore.inputs import Input, names_mask

LENGTHS = ("lengths", "length")
"""What a column of lengths is called, or NAME_lengths of the input NAME."""


def is_mask(wanted: Input) -> bool:
    """Whether an input is a mask, told from its name."""
    return names_mask(wanted.name) and bool(wanted.shape) and not wanted.zeros


def mask_of(wanted: Input, lengths: Tensor) -> Tensor:
    """A mask: 1 at the first `lengths` places of each sample, 0 behind them, (n, *shape).

    Args:
        wanted: The mask's input; places lie along its longest dimension.
        lengths: Whole numbers, (n,).
    """
    along = max(range(len(wanted.shape)), key=lambda at: wanted.shape[at])
    places = torch.arange(wanted.shape[along])
    rows = places[None] < lengths[:, None]
    view = [len(lengths), *(1 for _ in wanted.shape)]
    view[1 + along] = wanted.shape[along]
    return rows.view(view).expand(len(lengths), *wanted.shape).to(KINDS[wanted.dtype]).contiguous()
