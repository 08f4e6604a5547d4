"""A network's repeated blocks, run one at a time on what the block before left.

Encoders and decoders are a list of blocks of one class, each given what the one before returned.
Whoever looks at the inputs of one block's layers has to run that block alone, if the activations
between blocks are kept: memory is one block's, and time that of a single pass, however many blocks
there are.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from qcore.trees import Tree, call, output_row

Run = Callable[[Tree], Any]
"""Runs the network on a batch."""


class _Done(BaseException):
    """Ends a pass behind the block that was wanted; no error, so nobody takes it for one."""


@dataclass(frozen=True)
class Blocks:
    """The blocks of a network.

    Attributes:
        paths: Where they are, in the order in which they run.
        place: Where in a block's arguments the activations are: a position, or a name.
        row: Whether a block returns them as the only one of a tuple.
    """

    paths: tuple[str, ...]
    place: int | str
    row: bool

    def given(self, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """The activations among a block's arguments; None where there are none."""
        if isinstance(self.place, str):
            return named.get(self.place)
        return args[self.place] if self.place < len(args) else None

    def giving(
        self, args: tuple[Any, ...], named: dict[str, Any], x: Tensor
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """A block's arguments with other activations."""
        if isinstance(self.place, str):
            return args, {**named, self.place: x}
        return (*args[: self.place], x, *args[self.place + 1 :]), named

    def returned(self, x: Tensor | None) -> Any:
        """Activations as a block returns them."""
        return (x,) if self.row else x


@torch.no_grad()
def find_blocks(network: nn.Module, sample: Tree, run: Run | None = None) -> Blocks | None:
    """The blocks that a network runs one after the other; None where it has no such list.

    They are the children of one ModuleList or Sequential, all of one class, with most parameters
    and buffers in them. Each runs once and is given the very tensor that the one before returned.
    Run one at a time they have led to the very outputs of the network, on the sample.

    Args:
        network: In eval mode.
        sample: A batch of few samples.
        run: How it is run; None calls it.
    """
    run = run or (lambda x: call(network, x))
    wanted = output_row(run(sample))
    for paths in _lists(network):
        found = _chain(network, paths, run, sample)
        if found is None:
            continue
        walk = BlockWalk(network, found, [sample], run)
        for at in range(len(paths)):
            walk.pass_block(at)
        if torch.equal(output_row(walk.run_rest(0)), wanted):
            return found
    return None


def _lists(network: nn.Module) -> Iterator[tuple[str, ...]]:
    """Paths of the children of every list of modules of one class, the heaviest list first."""
    found = []
    for path, module in network.named_modules():
        children = list(module.named_children())
        if not isinstance(module, nn.ModuleList | nn.Sequential) or len(children) < 2:
            continue
        kinds = {type(child) for _, child in children}
        sizes = [_size(child) for _, child in children]
        if len(kinds) == 1 and min(sizes) > 0:
            paths = tuple(f"{path}.{name}".lstrip(".") for name, _ in children)
            found.append((sum(sizes), paths))
    found.sort(key=lambda each: -each[0])
    yield from (paths for _, paths in found)


def _size(module: nn.Module) -> int:
    return sum(t.numel() for t in (*module.parameters(), *module.buffers()))


def _chain(network: nn.Module, paths: tuple[str, ...], run: Run, sample: Tree) -> Blocks | None:
    """The blocks at these paths, if each is given what the one before returned."""
    calls: list[tuple[str, tuple[Any, ...], dict[str, Any], Any]] = []

    def note(path: str) -> Callable[..., None]:
        return lambda module, args, named, output: calls.append((path, args, named, output))

    handles = [
        network.get_submodule(path).register_forward_hook(note(path), with_kwargs=True)
        for path in paths
    ]
    try:
        run(sample)
    finally:
        for handle in handles:
            handle.remove()
    if tuple(path for path, *_ in calls) != paths:
        return None
    outputs = [_alone(output) for *_, output in calls]
    places = {
        _place(before, args, named)
        for before, (_, args, named, _) in zip(outputs, calls[1:], strict=False)
    }
    if len(places) != 1 or None in places:
        return None
    rows = {isinstance(output, tuple) for *_, output in calls}
    place = places.pop()
    if len(rows) != 1 or place is None:
        return None
    found = Blocks(paths, place, rows.pop())
    first = found.given(calls[0][1], calls[0][2])
    return found if isinstance(first, Tensor) and first.is_floating_point() else None


def _alone(output: Any) -> Tensor | None:
    """The tensor that a block returns, by itself or as the only one of a tuple."""
    if isinstance(output, tuple) and len(output) == 1:
        output = output[0]
    return output if isinstance(output, Tensor) else None


def _place(x: Tensor | None, args: tuple[Any, ...], named: dict[str, Any]) -> int | str | None:
    if x is None:
        return None
    inside = [at for at, each in enumerate(args) if each is x]
    inside += [name for name, each in named.items() if each is x]  # type: ignore[misc]
    return inside[0] if len(inside) == 1 else None


class BlockWalk:
    """Runs a network block by block on some batches.

    What lies before the blocks (an embedding, masks, positions) runs again for every block: it is
    cheap, and nothing of it has to be kept.

    Args:
        network: In eval mode.
        blocks: Its blocks.
        batches: The network's inputs.
        run: How it is run on a batch.

    Attributes:
        hidden: What the next block is given, for each batch; None before the first.
    """

    def __init__(
        self, network: nn.Module, blocks: Blocks, batches: Sequence[Tree], run: Run
    ) -> None:
        self.network, self.blocks, self.batches, self.run = network, blocks, batches, run
        self.hidden: list[Tensor | None] = [None] * len(batches)

    def run_block(self, at: int, index: int) -> Tensor:
        """Run one block on one batch; its outputs. The blocks before it must have been passed."""
        blocks, x = self.blocks, self.hidden[index]
        ended: list[Tensor] = []

        def give(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
            return None if x is None else blocks.giving(args, named, x)

        def end(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            found = _alone(output)
            if found is not None:
                ended.append(found)
            raise _Done

        block = self.network.get_submodule(blocks.paths[at])
        handles = [
            block.register_forward_pre_hook(give, with_kwargs=True),
            block.register_forward_hook(end),
        ]
        try:
            with self._passing(blocks.paths[:at], x):
                self.run(self.batches[index])
        except _Done:
            pass
        finally:
            for handle in handles:
                handle.remove()
        return ended[0]

    @torch.no_grad()
    def pass_block(self, at: int) -> None:
        """Run one block on every batch and keep what it returns in the place of what it got."""
        for index in range(len(self.batches)):
            self.hidden[index] = self.run_block(at, index)

    def run_rest(self, index: int) -> Any:
        """Run what lies before and behind the blocks on one batch; the network's outputs."""
        with self._passing(self.blocks.paths, self.hidden[index]):
            return self.run(self.batches[index])

    @contextmanager
    def _passing(self, paths: Sequence[str], x: Tensor | None) -> Iterator[None]:
        """For a while these blocks compute nothing and return `x`."""
        modules = [self.network.get_submodule(path) for path in paths]
        own = [vars(module).get("forward") for module in modules]
        for module in modules:
            module.forward = lambda *args, **named: self.blocks.returned(x)
        try:
            yield
        finally:
            for module, forward in zip(modules, own, strict=True):
                if forward is None:
                    del module.forward
                else:
                    module.forward = forward
