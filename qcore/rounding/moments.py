"""Second moments of what layers multiply their weights with, from the float network's inputs.

A layer is linear in its weights, so the numbers that weight j of a channel meets are what the layer
gives for a channel whose weights are 0 but for a 1 at j: patches of images, shifted sequences, the
features themselves. This holds for convolutions of any dimension, padding, dilation and number of
groups, for transposed ones, and for forward passes of somebody's own.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from qcore.inputs import names_mask
from qcore.network.operation import from_rows, to_rows
from qcore.ptq.layer import QuantizedLayer
from qcore.ptq.model import QuantizedModel
from qcore.trees import Tree, count

PLACES = 2**17
"""Places (patches, tokens) of one layer that are enough; of large images not every one is taken."""

LEAST_SAMPLES = 128
"""Samples that are taken all the same."""

CHUNK_NUMBERS = 2**24
"""Numbers that are unfolded at a time."""

TOLERANCE = 1e-3

MEAN_KEPT = 0.01
"""Share of the mean's own product that stays where a correction makes up for errors of the mean."""


def in_groups(layer: QuantizedLayer, weight: Tensor) -> Tensor:
    """A weight of a layer as (groups, channels, n)."""
    rows = to_rows(weight, layer.operation)
    return rows.reshape(layer.operation.groups, -1, rows.shape[1])


def met(layer: QuantizedLayer, x: Tensor) -> Tensor:
    """What each weight meets at every place.

    Args:
        layer: No embedding.
        x: An input of the layer.

    Returns:
        (groups, n, places): its product with `in_groups` of the weight is the layer's output.
    """
    operation = layer.operation
    if operation.call is functional.linear:
        return x.reshape(1, -1, x.shape[-1]).transpose(1, 2)
    n, groups = to_rows(layer.weight, operation).shape[1], operation.groups
    units = torch.eye(n, dtype=x.dtype, device=x.device).repeat(groups, 1)
    shape = list(layer.weight.shape)
    shape[1 if operation.transposed else 0] = n if operation.transposed else groups * n
    like = torch.empty(shape, device="meta")
    output = operation.call(x, from_rows(units, like, operation), None)
    if operation.channel_axis == -1:
        return output.reshape(1, -1, n).transpose(1, 2)
    samples = len(output)
    by_group = output.reshape(samples, groups, n, -1).permute(1, 2, 0, 3)
    return by_group.reshape(groups, n, -1)


class Moments:
    """Sums up the second moments of some layers over a pass of the float network.

    Args:
        model: Left in float by the caller.
        names: The layers.
        samples: How many samples there are in all.

    Attributes:
        refused: Layers whose arithmetic is not what their weights say: their sums are worthless.
    """

    def __init__(self, model: QuantizedModel, names: Sequence[str], samples: int) -> None:
        self.model, self.names, self.samples = model, list(names), samples
        self.refused: set[str] = set()
        self._sums: dict[str, tuple[Tensor, Tensor]] = {}
        self._places: dict[str, int] = {}
        self._mask: Tensor | None = None
        self._batch = 1
        self._shared: tuple[Tensor, int, tuple[Tensor, Tensor], int] | None = None

    def add(self, batch: Tree) -> None:
        """Run the network on a batch and add what its layers were given."""
        with self.watching(batch):
            self.model(batch)

    @contextmanager
    def watching(self, batch: Tree) -> Iterator[None]:
        """Add what the layers are given meanwhile, by a pass, or a part of one, on this batch."""
        self._mask, self._batch = mask_of(batch), count(batch)
        handles = [
            self.model.layers[name].register_forward_pre_hook(self._take) for name in self.names
        ]
        try:
            yield
        finally:
            self._shared = None
            for handle in handles:
                handle.remove()

    def moments(self, name: str) -> Tensor | None:
        """Mean of x x' over the places seen, (groups, n, n); None where nothing was.

        Of a layer with a norm behind it x is taken about its mean: the correction restores the mean
        of every channel there at every allocation, so that an error of it costs nothing.
        """
        if name not in self._sums or name in self.refused:
            return None
        second, first = self._sums[name]
        places = max(1, self._places[name])
        mean = first / places
        if not self.model.layers[name].normed:
            return second / places
        return second / places - (1 - MEAN_KEPT) * mean[..., None] * mean[:, None, :]

    def _take(self, module: Any, inputs: tuple[Tensor, ...]) -> None:
        layer, x = module, inputs[0].detach()
        if layer.name in self.refused or not x.is_floating_point():
            return
        shared = self._shared
        if shared is not None and shared[0] is inputs[0] and shared[1] == x._version:
            # queries, keys and values read one tensor
            total, places = shared[2:]
        else:
            try:
                total, places = self._sum(layer, x)
            except _Refused:
                self.refused.add(layer.name)
                return
            plain = layer.operation.call is functional.linear
            self._shared = (inputs[0], x._version, total, places) if plain else None
        before = self._sums.get(layer.name)
        if before is None:
            self._sums[layer.name] = (total[0].clone(), total[1].clone())
        else:
            before[0].add_(total[0])
            before[1].add_(total[1])
        self._places[layer.name] = self._places.get(layer.name, 0) + places

    def _sum(self, layer: QuantizedLayer, x: Tensor) -> tuple[tuple[Tensor, Tensor], int]:
        if x.dim() < layer.weight.dim():  # one sample without a dimension for it
            x = x[None]
        if layer.operation.call is functional.linear:
            x = _counted(x, self._mask)
        first = self._met(layer, x[:1], check=layer.name not in self._sums)
        groups, n, each = first.shape
        of_sample = each * len(x) / self._batch
        wanted = max(LEAST_SAMPLES, PLACES / max(1, of_sample))
        x = x[:: max(1, int(self.samples / wanted))]
        many = max(1, CHUNK_NUMBERS // max(1, groups * n * each))
        second, mean, places = x.new_zeros(groups, n, n), x.new_zeros(groups, n), 0
        for start in range(0, len(x), many):
            met_ = self._met(layer, x[start : start + many])
            second += met_ @ met_.transpose(1, 2)
            mean += met_.sum(2)
            places += met_.shape[2]
        return (second, mean), places

    def _met(self, layer: QuantizedLayer, x: Tensor, check: bool = False) -> Tensor:
        if not check:
            return met(layer, x)
        try:
            found = met(layer, x)
        except Exception as error:  # a forward pass of somebody's own, for its own sizes alone
            raise _Refused from error
        output = layer.operation.call(x, layer.weight, None)
        if layer.operation.channel_axis == -1:
            wanted = output.reshape(1, -1, output.shape[-1]).transpose(1, 2)
        else:
            wanted = output.flatten(2).transpose(0, 1).reshape(len(found), -1, found.shape[2])
        made = in_groups(layer, layer.weight) @ found
        if made.shape != wanted.shape or (made - wanted).norm() > TOLERANCE * wanted.norm():
            raise _Refused
        return found


class _Refused(Exception):
    pass


def mask_of(batch: Tree) -> Tensor | None:
    """Which positions of a batch count, (n, positions); None where all do."""
    if not isinstance(batch, Mapping):
        return None
    masks = [t for name, t in batch.items() if names_mask(name) and t.dim() == 2]
    return masks[0] != 0 if len(masks) == 1 else None


def _counted(x: Tensor, mask: Tensor | None) -> Tensor:
    """Features (n, positions, f) without the positions that only pad, (k, f)."""
    if mask is None or x.dim() != 3 or x.shape[:2] != mask.shape:
        return x
    return x[mask.to(x.device)]


@contextmanager
def in_float(model: QuantizedModel) -> Iterator[None]:
    """Every layer in float for a while; then as it was, corrections too."""
    before = {
        name: (layer.quantized, layer.grid, layer.gain, layer.shift, layer.watch)
        for name, layer in model.layers.items()
    }
    for layer in model.layers.values():
        layer.set_bits(layer.weight, None)
        layer.watch = None
    try:
        yield
    finally:
        for name, (quantized, grid, gain, shift, watch) in before.items():
            layer = model.layers[name]
            layer.set_bits(quantized, grid)
            layer.correct(gain, shift)
            layer.watch = watch


@torch.no_grad()
def second_moments(model: QuantizedModel, names: Sequence[str], batches: Sequence[Tree]) -> Moments:
    """Second moments of some layers' inputs in the float network; the model is left as it was.

    Args:
        model: The model.
        names: The layers, no embeddings; their moments are in memory together.
        batches: The network's inputs.
    """
    found = Moments(model, names, sum(count(batch) for batch in batches))
    with in_float(model):
        for batch in batches:
            found.add(batch)
    return found
