"""Batch-norms that change with the bits in use: one private copy for each key.

A quantized layer's outputs have another mean and spread at every width, so a network that switches
needs statistics for each. `SwitchableNorm` has a copy for every switch of the whole network;
`TransitionalNorm` one for every pair of

    layer l at bits p  ->  BN[p, c]  ->  activation  ->  quantized at bits c by the layer behind

The layer behind l is the first in execution order, after l, that reads l's output through
whatever is not itself a layer: behind a join the first convolution of the next block, and before
the classifier the classifier. Shortcut convolutions are layers like others. Pinned layers, and the
network's output, are constant ends, with one bit-width on their side of the table.

References: Guerra, Zhuang, Reid and Drummond, Switchable Precision Neural Networks, 2020; Bulat and
Tzimiropoulos, Bit-Mixer, ICCV 2021. How the latter treats joins and ends could not be read.
"""

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from qcore.allocation import BitAllocation, LayerBits
from qcore.errors import InvalidAllocation, UnsupportedModel
from qcore.network.layers import Found
from qcore.qat.switches import NormPlan, words

END = "end"


class KeyedNorm(nn.Module):
    """Copies of one batch-norm, of which one is in use.

    Attributes:
        copies: Key to copy. All begin as the batch-norm they replace.
        key: Which is in use.
    """

    def __init__(self, norm: nn.Module, keys: Iterable[str]) -> None:
        super().__init__()
        self.copies = nn.ModuleDict()
        for key in dict.fromkeys(keys):
            fresh: Any = copy.deepcopy(norm).requires_grad_(True)
            # counts from here on, so that copies never used can be told
            fresh.num_batches_tracked.zero_()
            self.copies[key] = fresh
        self.key = next(iter(self.copies))

    @property
    def active(self) -> Any:
        """The copy in use."""
        return self.copies[self.key]

    def select(self, key: str) -> None:
        """Use another copy.

        Raises:
            InvalidAllocation: there is no such copy; lists those there are.
        """
        if key not in self.copies:
            known = ", ".join(self.copies)
            raise InvalidAllocation(f"No batch-norm was trained for {key!r}; trained: {known}.")
        self.key = key

    def follow(self, switch: str, allocation: BitAllocation) -> None:
        """Use the copy that belongs to these bits of the network."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (n, channels, ...) with the copy in use."""
        y: Tensor = self.copies[self.key](x)
        return y


class SwitchableNorm(KeyedNorm):
    """A copy for every switch of the network."""

    def follow(self, switch: str, allocation: BitAllocation) -> None:
        """Use the copy of a switch."""
        self.select(switch)


class TransitionalNorm(KeyedNorm):
    """A copy for every pair of bits of the layer before and the layer behind.

    Args:
        norm: The batch-norm to replace.
        kind: "pair"; or "producer" or "consumer", which ignore the other side.
        producer: (name, its possible bits) of the layer before.
        consumer: The same of the layer behind; None at the network's output.
    """

    def __init__(
        self,
        norm: nn.Module,
        kind: str,
        producer: tuple[str, tuple[LayerBits, ...]],
        consumer: tuple[str, tuple[LayerBits, ...]] | None,
    ) -> None:
        self.kind = kind
        behind: tuple[LayerBits | None, ...] = (None,) if consumer is None else consumer[1]
        super().__init__(norm, (self._name(p, c) for p in producer[1] for c in behind))
        self.producer, self.consumer = producer[0], None if consumer is None else consumer[0]

    def _name(self, before: LayerBits, behind: LayerBits | None) -> str:
        first = words(before) if self.kind != "consumer" else "any"
        second = END if behind is None else words(behind)
        return f"{first} to {second if self.kind != 'producer' else 'any'}"

    def follow(self, switch: str, allocation: BitAllocation) -> None:
        """Use the copy of the two layers' bits."""
        behind = None if self.consumer is None else allocation[self.consumer]
        self.select(self._name(allocation[self.producer], behind))

    @torch.no_grad()
    def spread(self) -> None:
        """Begin every copy never used as the most used one with the same bits before it.

        After training with one width for the whole network those are the diagonal copies.
        """
        used = {key: int(norm.num_batches_tracked) for key, norm in self.copies.items()}
        for key, norm in self.copies.items():
            before = key.split(" to ")[0]
            donors = [k for k in used if used[k] and k.split(" to ")[0] == before]
            if used[key] or not donors:
                continue
            norm.load_state_dict(self.copies[max(donors, key=used.__getitem__)].state_dict())
            norm.num_batches_tracked.zero_()


def readers_of(found: Found) -> dict[str, str | None]:
    """For each layer with a batch-norm, the layer behind it; None at the network's output.

    Raises:
        UnsupportedModel: no layer has a batch-norm, or it is not known which layer reads one; says
            which.
    """
    if not found.norms:
        raise UnsupportedModel(
            f"{found.spec.name} has no batch-norm behind any layer, so nothing in it can follow a "
            "change of precision. Choose a network with batch-norms."
        )
    order = {name: index for index, name in enumerate(found.spec.names)}
    readers: dict[str, str | None] = {}
    for layer in found.spec.layers:
        if layer.name not in found.norms:
            continue
        if not found.exported:
            raise UnsupportedModel(
                f"Which layer reads the output of {layer.name!r} cannot be determined: "
                f"torch.export does not take {found.spec.name}. Its batch-norm cannot be keyed by "
                "the bits of the layer behind it; key norms by switch or by producer instead."
            )
        later = [n for n in layer.consumers if order[n] > order[layer.name]]
        chosen = sorted(later or layer.consumers, key=order.__getitem__)
        readers[layer.name] = chosen[0] if chosen else None
    return readers


def install_norms(network: nn.Module, found: Found, plan: NormPlan) -> dict[str, nn.Module]:
    """Replace the batch-norms of a network as a plan says.

    Returns:
        Layer name to what now is behind it: a KeyedNorm, or for kind "shared" its own batch-norm.

    Raises:
        UnsupportedModel: see `readers_of`.
    """
    if plan.kind in ("pair", "consumer") or not found.norms:
        readers = readers_of(found)
    else:
        readers = dict.fromkeys(found.norms)
    rungs = plan.rungs
    installed: dict[str, nn.Module] = {}
    for name, path in found.norms.items():
        norm = network.get_submodule(path)
        if plan.kind == "switch":
            norm = SwitchableNorm(norm, plan.switches)
        elif plan.kind != "shared":
            reader = readers[name]
            behind = None if reader is None else (reader, rungs[reader])
            norm = TransitionalNorm(norm, plan.kind, (name, rungs[name]), behind)
        network.set_submodule(path, norm)
        installed[name] = norm.requires_grad_(True)
    return installed
