"""One tensor, or several under names: what goes into a network, and what is kept of its answers.

Most networks take one tensor; a sentence encoder takes ids and a mask. The same few functions
serve both, so that nothing else has to ask which it is.
"""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

Tree: TypeAlias = Tensor | Mapping[str, Tensor]
"""A tensor (n, ...), or names to tensors of the same first dimension."""


def tensors(x: Tree) -> Iterator[Tensor]:
    """Every tensor of it, in order."""
    yield from (x,) if isinstance(x, Tensor) else x.values()


def count(x: Tree) -> int:
    """Samples in it: the first dimension of its tensors."""
    return len(next(tensors(x)))


def part(x: Tree, index: Any) -> Tree:
    """Some samples of it, by a slice, a mask or positions."""
    return x[index] if isinstance(x, Tensor) else {name: t[index] for name, t in x.items()}


def join(parts: Sequence[Tree]) -> Tree:
    """Several one after the other; all of the same names."""
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat([p for p in parts if isinstance(p, Tensor)])
    return {name: torch.cat([p[name] for p in parts]) for name in first}


def pieces(x: Tree, number: int) -> list[Tree]:
    """It cut into so many pieces of nearly one size."""
    if isinstance(x, Tensor):
        return list(x.tensor_split(number))
    cut = {name: t.tensor_split(number) for name, t in x.items()}
    return [{name: cut[name][at] for name in cut} for at in range(number)]


def moved(x: Tree, device: torch.device | str) -> Tree:
    """It on another device."""
    return x.to(device) if isinstance(x, Tensor) else {n: t.to(device) for n, t in x.items()}


def device_of(x: Tree) -> torch.device:
    """Where it lies."""
    return next(tensors(x)).device


def laid_out(x: Tree) -> Tree:
    """Images (n, c, h, w) with their channels last in memory, which convolutions are faster on."""
    if not isinstance(x, Tensor):
        return {name: t.contiguous() for name, t in x.items()}
    layout = torch.channels_last if x.dim() == 4 else torch.contiguous_format
    return x.contiguous(memory_format=layout)


def finite(x: Tree) -> bool:
    """True where no number of it is NaN or infinite."""
    return all(bool(torch.isfinite(t).all()) for t in tensors(x) if t.is_floating_point())


def shown(x: Tree, between: str = "") -> str:
    """Its shapes without the first dimension, for messages; of one tensor with this between."""
    if isinstance(x, Tensor):
        return between.join(map(str, x.shape[1:])) if between else str(tuple(x.shape[1:]))
    return ", ".join(f"{name} {tuple(t.shape[1:])}" for name, t in x.items())


def call(network: nn.Module, x: Tree) -> Any:
    """Run a network on its inputs.

    One tensor is its only argument. Several are passed by name where its forward pass has
    parameters of these names, and else in their order.
    """
    if isinstance(x, Tensor):
        return network(x)
    arguments, named = split_call(network, x)
    return network(*arguments, **named)


def split_call(network: nn.Module, x: Tree) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """(positional arguments, arguments by name) that `call` gives to a network."""
    if isinstance(x, Tensor):
        return (x,), {}
    known = inspect.signature(network.forward).parameters
    if set(x) <= set(known) or any(p.kind is p.VAR_KEYWORD for p in known.values()):
        return (), dict(x)
    return tuple(x.values()), {}


def leaves(outputs: Any) -> Iterator[Tensor]:
    """Every tensor among a network's outputs, however they are nested."""
    if isinstance(outputs, Tensor):
        yield outputs
    elif isinstance(outputs, Mapping):
        for value in outputs.values():
            yield from leaves(value)
    elif isinstance(outputs, tuple | list):
        for value in outputs:
            yield from leaves(value)


def output_row(outputs: Any) -> Tensor:
    """All numbers a network returned in one row, float64, to be compared with another's."""
    found = [t.detach().double().reshape(-1) for t in leaves(outputs)]
    return torch.cat(found) if found else torch.zeros(0, dtype=torch.float64)
