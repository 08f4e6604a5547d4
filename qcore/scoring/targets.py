"""Targets of the size that a network gives: cut at their border where it gives less."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from qcore.data import Data, Images, Split
from qcore.errors import InvalidData
from qcore.judges import Judge
from qcore.trees import Tree, call

_MAP, _PICTURE = 3, 4
"""Dimensions of maps (n, h, w) and of pictures (n, c, h, w)."""


def fitted_targets(data: Data, network: nn.Module, judge: Judge) -> Data:
    """The data, with maps and pictures cut to the centre that a network gives.

    Networks without padding, as those that undo a mosaic, give less than they take. Data without
    such labels stay as they are.

    Args:
        data: As loaded.
        network: In eval mode.
        judge: Says which output is looked at.

    Raises:
        InvalidData: targets are smaller than the output, or so much larger that another scale is
            meant.
    """
    labels = data.test.labels
    if not isinstance(data.test, Images) or labels is None or labels.dim() < _MAP:
        return data
    x: Tree = next(data.test.batches(1))[0]
    with torch.no_grad():
        output = _chosen(judge, call(network, x))
    if output is None or output.dim() != _PICTURE:
        return data  # flat outputs: the judge compares how many places there are
    given, wanted = tuple(labels.shape[-2:]), tuple(output.shape[-2:])
    if labels.dim() == _PICTURE and labels.shape[1] != output.shape[1]:
        raise InvalidData(
            f"The network gives {output.shape[1]} channels and the targets have {labels.shape[1]}; "
            "use targets with as many."
        )
    if given == wanted:
        return data
    if any(size > there or 2 * size <= there for size, there in zip(wanted, given, strict=True)):
        raise InvalidData(
            f"For inputs of {x.shape[-2]}x{x.shape[-1]} the network gives {wanted[0]}x{wanted[1]} "  # type: ignore[union-attr]
            f"(height x width), and the targets are {given[0]}x{given[1]}. Scale the targets to "
            f"{wanted[0]}x{wanted[1]}."
        )
    note = (
        f"Targets of {given[0]}x{given[1]} were cut at their border to the {wanted[0]}x"
        f"{wanted[1]} that the network gives."
    )
    calibration, search, test = (
        _cut(split, wanted) for split in (data.calibration, data.search, data.test)
    )
    training = None if data.training is None else _cut(data.training, wanted)
    return replace(
        data,
        calibration=calibration,
        search=search,
        test=test,
        training=training,
        notes=(*data.notes, note),
    )


def _chosen(judge: Judge, outputs: object) -> Tensor | None:
    first = getattr(judge, "parts", (judge,))[0]
    return first.chosen(outputs) if isinstance(first, Judge) else None


def _cut(split: Split, size: tuple[int, ...]) -> Split:
    if not isinstance(split, Images) or split.labels is None:
        return split
    top, left = (
        (there - wanted) // 2 for there, wanted in zip(split.labels.shape[-2:], size, strict=True)
    )
    labels = split.labels[..., top : top + size[0], left : left + size[1]].contiguous()
    return replace(split, labels=labels)
