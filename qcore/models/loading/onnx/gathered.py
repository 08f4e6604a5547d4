"""Gathers that number the samples of a batch, as gathers within each sample.

Exporters write `mask[batch, place]`, the masks of transformers, as a Gather of flattened values or
a GatherND whose indices hold the number of every sample. How many there are is known only when the
network runs, so torch.export could not follow it; what is read of one sample is a constant.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Within:
    """What a gather reads of each sample.

    Attributes:
        rows: Shape that the values are brought into, -1 for the samples, which come first.
        places: What is read of each sample, along the second dimension.
    """

    rows: tuple[int, ...]
    places: np.ndarray


def within_samples(op: str, axis: int, data: np.ndarray, index: np.ndarray) -> Within | None:
    """Each sample's own gather; None where samples are not read one by one, in their order.

    Args:
        op: "Gather" or "GatherND".
        axis: Of a Gather; a GatherND's batch dimensions.
        data: What is read, for some samples.
        index: The indices for as many, whose first dimension they are.
    """
    n = len(index) if index.ndim else 0
    if axis or n < 2 or not data.ndim or len(data) % n:
        return None
    if op == "Gather":
        each = len(data) // n
        own = index - each * np.arange(n).reshape(-1, *[1] * (index.ndim - 1))
        rows, inside = (-1, each, *data.shape[1:]), (each,)
        parts = own[..., None]
    else:
        depth = index.shape[-1]
        if len(data) != n or not 2 <= depth <= data.ndim:
            return None
        numbers = np.arange(n).reshape(-1, *[1] * (index.ndim - 2))
        if not (index[..., 0] == numbers).all():
            return None
        inside, parts = data.shape[1:depth], index[..., 1:]
        rows = (-1, int(np.prod(inside)), *data.shape[depth:])
    same = (parts == parts[:1]).all()
    if not same or not ((parts >= 0) & (parts < np.array(inside))).all():
        return None
    places = np.ravel_multi_index(tuple(np.moveaxis(parts[0], -1, 0)), inside)
    return Within(rows, np.asarray(places, np.int64))
