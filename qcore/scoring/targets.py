"""Targets of the size that a network gives: cut at their border, or scaled where that is chosen."""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from qcore.data import Data, Images, Split
from qcore.errors import InvalidData
from qcore.judges import Judge
from qcore.judges.map import Map
from qcore.trees import Tree, call

NEAREST = "nearest"
Shape = tuple[int, ...]

_SWITCH = (
    ", or let maps take the class of the nearest place: --judge map:targets=nearest (the setting "
    "targets of the judge)"
)

_MAP, _PICTURE = 3, 4
"""Dimensions of maps (n, h, w) and of pictures (n, c, h, w)."""


def fitted_targets(data: Data, network: nn.Module, judge: Judge) -> Data:
    """The data, with maps and pictures of the size that a network gives.

    Networks without padding, as those that undo a mosaic, give less than they take: targets are cut
    to their centre. Maps of another size are scaled where the judge says so (`Map.targets`). Data
    without such labels stay as they are.

    Args:
        data: As loaded.
        network: In eval mode.
        judge: Says which output is looked at.

    Raises:
        InvalidData: targets are smaller than the output, or so much larger that another scale is
            meant; or nothing can be made of them by scaling.
    """
    labels, first = data.test.labels, getattr(judge, "parts", (judge,))[0]
    if labels is None or labels.dim() < 2:
        return data
    scaled = isinstance(first, Map) and first.targets == NEAREST
    pictures = isinstance(data.test, Images) and labels.dim() >= _MAP
    if not pictures and not scaled:
        return data
    x: Tree = next(data.test.batches(1))[0]
    with torch.no_grad():
        output = first.chosen(call(network, x)) if isinstance(first, Judge) else None
    if output is None:
        return data
    if scaled:
        return _scaled(data, tuple(output.shape), tuple(labels.shape))
    return _centred(data, x, tuple(output.shape), tuple(labels.shape))


def _centred(data: Data, x: Tree, output: Shape, labels: Shape) -> Data:
    """Data whose targets are cut to their centre where they are a little larger."""
    if len(output) != _PICTURE:
        return data  # flat outputs: the judge compares how many places there are
    given, wanted = labels[-2:], output[-2:]
    if len(labels) == _PICTURE and labels[1] != output[1]:
        raise InvalidData(
            f"The network gives {output[1]} channels and the targets have {labels[1]}; use targets "
            "with as many."
        )
    if given == wanted:
        return data
    if any(size > there or 2 * size <= there for size, there in zip(wanted, given, strict=True)):
        more = "" if len(labels) == _PICTURE else _SWITCH
        raise InvalidData(
            f"For inputs of {x.shape[-2]}x{x.shape[-1]} the network gives {wanted[0]}x{wanted[1]} "  # type: ignore[union-attr]
            f"(height x width), and the targets are {given[0]}x{given[1]}. Scale the targets to "
            f"{wanted[0]}x{wanted[1]}{more}."
        )
    note = (
        f"Targets of {given[0]}x{given[1]} were cut at their border to the {wanted[0]}x"
        f"{wanted[1]} that the network gives."
    )
    return _with_labels(data, lambda values: _cut(values, wanted), note)


def _scaled(data: Data, output: Shape, labels: Shape) -> Data:
    """Data whose maps have the class of the nearest place, at the size of the network's map."""
    given = labels[1:]
    wanted = output[len(output) - len(given) :]
    if len(output) < len(labels) or given == wanted:
        return data  # as many places, or the judge says what does not fit
    for there, size in zip(given, wanted, strict=True):
        if size > there and size % there:
            raise InvalidData(
                f"The network gives maps of {_sizes(wanted)}, and the targets are {_sizes(given)}: "
                "targets are scaled down, or up by a whole number. Use targets of the network's "
                "size."
            )
    if len(given) == 2 and not _same_form(given, wanted):
        raise InvalidData(
            f"The network gives maps of {_sizes(wanted)} (height x width), and the targets are "
            f"{_sizes(given)}, which is another form. Use targets of the form of their images."
        )
    note = (
        f"Targets of {_sizes(given)} were scaled to the {_sizes(wanted)} that the network gives, "
        "each place with the label at its centre: scores are those of the scaled maps."
    )
    return _with_labels(data, lambda values: nearest(values, wanted), note)


def nearest(maps: Tensor, size: Shape) -> Tensor:
    """Maps of another size, each place with the label that lies at its centre.

    Args:
        maps: Labels (n, ...).
        size: Of the result, without n; as many dimensions.
    """
    for axis, wanted in enumerate(size, start=1):
        there = maps.shape[axis]
        places = (torch.arange(wanted) * 2 + 1) * there // (2 * wanted)
        maps = maps.index_select(axis, places.to(maps.device))
    return maps


def _same_form(given: Shape, wanted: Shape) -> bool:
    """Whether two sizes have one proportion, but for the rounding of the smaller one."""
    small, large = sorted((given, wanted), key=math.prod)
    return abs(small[0] * large[1] - small[1] * large[0]) < max(large)


def _sizes(shape: Shape) -> str:
    return "x".join(map(str, shape))


def _with_labels(data: Data, change: Callable[[Tensor], Tensor], note: str) -> Data:
    def changed(split: Split) -> Split:
        return split if split.labels is None else replace(split, labels=change(split.labels))

    calibration, search, test = map(changed, (data.calibration, data.search, data.test))
    training = None if data.training is None else changed(data.training)
    return replace(
        data,
        calibration=calibration,
        search=search,
        test=test,
        training=training,
        notes=(*data.notes, note),
    )


def _cut(labels: Tensor, size: Shape) -> Tensor:
    top, left = (
        (there - wanted) // 2 for there, wanted in zip(labels.shape[-2:], size, strict=True)
    )
    return labels[..., top : top + size[0], left : left + size[1]].contiguous()
