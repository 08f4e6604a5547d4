"""Samples that are not images: named tensors as a network takes them, with or without labels."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from qcore.errors import InvalidData, InvalidParams
from qcore.example_inputs import KINDS
from qcore.inputs import Input, names_mask
from qcore.trees import Tree


@dataclass(frozen=True, eq=False)
class Samples:
    """Some samples.

    Attributes:
        columns: Input name to its values (n, *shape), of the input's own kind of numbers.
        inputs: What the network takes, in the order in which it takes them.
        labels: What the judge is told: class numbers (n,), token numbers (n, positions), maps or
            true signals (n, ...); None where there are none.

    Raises:
        InvalidData: no samples, other names, shapes or kinds, ids that are not in the vocabulary,
            NaN or infinity, or labels of another number; says which.
    """

    columns: Mapping[str, Tensor]
    inputs: tuple[Input, ...]
    labels: Tensor | None = None

    def __post_init__(self) -> None:
        missing = [each.name for each in self.inputs if each.name not in self.columns]
        if missing or len(self.columns) != len(self.inputs):
            raise InvalidData(
                f"The network takes {', '.join(each.name for each in self.inputs)}; the data have "
                f"{', '.join(self.columns) or 'nothing'}."
            )
        n = len(self)
        if not n:
            raise InvalidData("There is no sample; check the data.")
        for each in self.inputs:
            _check_column(each, self.columns[each.name], n)
        if self.labels is not None and len(self.labels) != n:
            raise InvalidData(f"{n:,} samples need {n:,} labels; got {len(self.labels):,}.")
        if self.labels is not None and self.labels.is_floating_point():
            _check_finite("labels", self.labels)

    def __len__(self) -> int:
        return len(self.columns[self.inputs[0].name])

    def at(self, index: Tensor) -> "Samples":
        """The samples at these positions, in this order."""
        columns = {name: values[index] for name, values in self.columns.items()}
        return Samples(columns, self.inputs, None if self.labels is None else self.labels[index])

    def batches(
        self, size: int, device: torch.device | str = "cpu"
    ) -> Iterator[tuple[Tree, Tensor | None]]:
        """Yield (inputs, labels or None) of at most `size` samples, in order.

        The inputs are one tensor (k, ...) where the network takes one, else names to tensors.

        Raises:
            InvalidParams: size is below 1.
        """
        if size < 1:
            raise InvalidParams(f"The batch size must be at least 1; got {size}.")
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            columns = {each.name: self.columns[each.name][part].to(device) for each in self.inputs}
            x: Tree = columns if len(columns) > 1 else columns[self.inputs[0].name]
            yield x, None if self.labels is None else self.labels[part].to(device)

    def arrays(self) -> list[np.ndarray]:
        """Everything in it, in a fixed order: what its digest is taken of."""
        found = [self.columns[each.name] for each in self.inputs]
        found += [] if self.labels is None else [self.labels]
        return [values.contiguous().numpy() for values in found]

    @property
    def form(self) -> str:
        """Shapes and settings as text, for its digest."""
        return repr([(each.to_json(), len(self)) for each in self.inputs])


def as_kind(values: Tensor, wanted: Input) -> Tensor:
    """Values as the kind of numbers an input has, where nothing is lost by it.

    Raises:
        InvalidData: floats where whole numbers are taken, or numbers too large.
    """
    kind = KINDS[wanted.dtype]
    if values.dtype == kind:
        return values
    if values.is_complex():
        raise InvalidData(
            f"Input {wanted.name!r} takes {wanted.dtype}; the data are complex numbers. Store "
            "their real and imaginary parts, or their size, as columns of their own."
        )
    if values.dtype == torch.uint64 and bool((values.view(torch.int64) < 0).any()):
        raise InvalidData(
            f"Input {wanted.name!r} takes {wanted.dtype}; numbers of 2^63 and more are too large."
        )
    if kind.is_floating_point:
        return values.to(kind)
    if values.is_floating_point() and not bool((values == values.round()).all()):
        raise InvalidData(
            f"Input {wanted.name!r} takes whole numbers ({wanted.dtype}); the data hold "
            f"fractions, as {float(values[values != values.round()][0]):g}."
        )
    if kind == torch.bool and not bool(((values == 0) | (values == 1)).all()):
        raise InvalidData(
            f"Input {wanted.name!r} takes yes and no (0 or 1); the data reach from "
            f"{values.min().item()} to {values.max().item()}."
        )
    if kind == torch.int32 and bool((values.abs() > 2**31 - 1).any()):
        raise InvalidData(f"Input {wanted.name!r} takes int32; {values.abs().max()} is too large.")
    return values.to(kind)


def _check_column(wanted: Input, values: Tensor, n: int) -> None:
    if len(values) != n:
        raise InvalidData(f"Input {wanted.name!r} has {len(values):,} samples, others {n:,}.")
    if tuple(values.shape[1:]) != wanted.shape:
        raise InvalidData(
            f"Input {wanted.name!r} takes samples of shape {wanted.shape}; the data have "
            f"{tuple(values.shape[1:])}."
        )
    if values.dtype != KINDS[wanted.dtype]:
        raise InvalidData(
            f"Input {wanted.name!r} takes {wanted.dtype}; the data are {values.dtype}."
        )
    if names_mask(wanted.name) and wanted.shape and not values.is_floating_point():
        empty = (values.reshape(n, -1) != 0).sum(1) == 0
        if bool(empty.any()):
            raise InvalidData(
                f"The mask {wanted.name!r} of sample {int(empty.nonzero()[0]):,} is empty: nothing "
                "of it counts. Remove that sample, or give it at least one position."
            )
    if values.is_floating_point():
        _check_finite(f"Input {wanted.name!r}", values)
    elif wanted.high is not None:
        low, high = int(values.min()), int(values.max())
        if low < 0 or high >= wanted.high:
            bad = low if low < 0 else high
            place = int((values.reshape(n, -1) == bad).any(1).nonzero()[0])
            raise InvalidData(
                f"Input {wanted.name!r} of sample {place:,} holds the id {bad:,}; the vocabulary "
                f"has {wanted.high:,} (0 to {wanted.high - 1:,}). Was it made by another tokenizer?"
            )


def _check_finite(what: str, values: Tensor) -> None:
    fine = values.isfinite().reshape(len(values), -1).all(1)
    if not bool(fine.all()):
        bad = (~fine).nonzero().flatten()
        raise InvalidData(
            f"{what}: {len(bad):,} of {len(values):,} samples hold NaN or infinity, the first is "
            f"number {int(bad[0]):,}; remove them."
        )
