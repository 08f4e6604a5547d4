"""The codes of every layer and width under one rounding: made once, then looked up.

What a rounding looks at are inputs in the float network, so nothing here depends on an allocation:
one table serves every point.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from qcore.allocation import stored_bits
from qcore.cache import Arrays
from qcore.network.operation import to_rows
from qcore.ptq.layer import QuantizedLayer
from qcore.ptq.model import QuantizedModel
from qcore.ptq.rounding_names import PLAIN_FROM
from qcore.rounding.by_block import moments_in_parts
from qcore.rounding.many import WORTH_S, Rounded, Task, round_layers, seconds_of
from qcore.rounding.moments import in_groups
from qcore.trees import Tree
from qcore.widths import group_inputs, groups_of

MOMENT_BYTES = 512 * 2**20
"""Second moments that are in memory together; more layers are taken block by block."""

Entries = Mapping[tuple[str, int], Rounded]
"""Layer name and bits to what they were rounded to."""

Told = Callable[[int, int], None]
"""Told how many of how many layers are done."""


class RoundedWeights:
    """Rounds the weights of a model, a width at a time, and keeps what came of it.

    Args:
        model: The model; it is left as it was found.
        batches: Inputs that the rounding is fitted on; no score is taken on them.
        rounding: Key of ROUNDINGS.
        known: What was made before, of the same network, samples and rounding.

    Attributes:
        entries: What was made so far.
        processes: In how many processes layers are rounded on a CPU, where there is so much to do
            that starting them pays; whoever has cores to spare sets it.
    """

    processes = 1

    def __init__(
        self,
        model: QuantizedModel,
        batches: Sequence[Tree],
        rounding: str,
        known: Entries | None = None,
    ) -> None:
        self.model, self.batches, self.rounding = model, list(batches), rounding
        self.entries: dict[tuple[str, int], Rounded] = {
            (name, bits): found
            for (name, bits), found in (known or {}).items()
            if name in model.layers and _fits(model.layers[name], bits, found)
        }
        self._tables = {x.name for x in model.spec.layers if x.kind.endswith("embedding")}

    @property
    def left(self) -> tuple[str, ...]:
        """Layers that are rounded to the nearest codes all the same, as far as is known.

        Tables that ids are looked up in, and layers whose arithmetic hides what their weights meet.
        """
        made = {name for name, _ in self.entries}
        return tuple(n for n in self.model.layers if n in self._tables or (made and n not in made))

    def __call__(self, name: str, bits: int) -> tuple[Tensor, Tensor] | None:
        """Codes (channels, n) and their steps, or None where the nearest codes are meant.

        A width that was not made yet is made here, for every layer.
        """
        if stored_bits(bits) >= PLAIN_FROM or name in self._tables:
            return None
        if (name, bits) not in self.entries:
            self.make([bits])
        found = self.entries.get((name, bits))
        if found is None:
            return None
        device = self.model.layers[name].weight.device
        codes, steps = (torch.from_numpy(array).to(device) for array in found)
        return codes.float(), steps

    def at(self, bits: int) -> dict[str, Rounded]:
        """What was made at one width, by layer."""
        return {name: found for (name, b), found in self.entries.items() if b == bits}

    def missing(self, widths: Iterable[int]) -> list[int]:
        """The widths among these that are still to be made."""
        wanted = {bits for bits in widths if stored_bits(bits) < PLAIN_FROM}
        made = {bits for _, bits in self.entries}
        return sorted(wanted - made)

    # whoever asks for codes may be in inference mode, whose tensors keep no count of changes
    @torch.inference_mode(False)
    @torch.no_grad()
    def make(self, widths: Iterable[int], on_step: Told = lambda done, total: None) -> None:
        """Make what is missing of some widths, for every layer."""
        todo = self.missing(widths)
        names = [name for name in self.model.layers if name not in self._tables]
        if not todo:
            return
        refused: list[str] = []
        tasks = self._tasks(names, todo, refused)
        for done, (name, found) in enumerate(round_layers(tasks, self._spread(names, todo)), 1):
            self.entries |= {(name, bits): rounded for bits, rounded in found.items()}
            on_step(done + len(refused), len(names))
        if refused:
            on_step(len(names), len(names))

    def _spread(self, names: Sequence[str], widths: Sequence[int]) -> int:
        """In how many processes so much is rounded."""
        layers = [self.model.layers[name] for name in names]
        if self.processes <= 1 or any(layer.weight.device.type != "cpu" for layer in layers):
            return 1
        shapes = [in_groups(layer, layer.weight).shape for layer in layers]
        work = len(widths) * sum(seconds_of(*shape) for shape in shapes)
        return self.processes if work >= WORTH_S else 1

    def _tasks(
        self, names: Sequence[str], widths: Sequence[int], refused: list[str]
    ) -> Iterator[Task]:
        within = partial(_within_memory, self.model)
        for part, seen in moments_in_parts(self.model, names, self.batches, within):
            for name in part:
                moments = seen.moments(name)
                if moments is None:
                    refused.append(name)
                    continue
                layer = self.model.layers[name]
                weights = in_groups(layer, layer.weight)
                steps = {bits: self._steps(name, weights, bits) for bits in widths}
                device = str(layer.weight.device)
                arrays = weights.cpu().numpy(), moments.cpu().numpy()
                yield Task(name, self.rounding, *arrays, steps, device)

    def _steps(self, name: str, weights: Tensor, bits: int) -> np.ndarray:
        steps = self.model.nearest_step(name, bits)
        grouped = steps.view(*weights.shape[:2], *([-1] if group_inputs(bits) else []))
        return grouped.cpu().numpy()


def _fits(layer: QuantizedLayer, bits: int, found: Rounded) -> bool:
    rows, n = to_rows(layer.weight, layer.operation).shape
    return found[0].shape == (rows, n) and found[1].shape == (rows * groups_of(bits, n),)


def _within_memory(model: QuantizedModel, names: Sequence[str]) -> list[list[str]]:
    """Layers in their order, in parts whose second moments fit into memory together."""
    parts: list[list[str]] = []
    room = 0
    for name in names:
        needed = _moment_bytes(model.layers[name])
        if not parts or needed > room:
            parts.append([])
            room = MOMENT_BYTES
        parts[-1].append(name)
        room -= needed
    return parts


def _moment_bytes(layer: QuantizedLayer) -> int:
    n = to_rows(layer.weight, layer.operation).shape[1]
    return 4 * layer.operation.groups * n * n


def codes_to_arrays(codes: Mapping[str, Rounded]) -> Arrays:
    """Codes and steps of layers, as an entry of the cache holds them."""
    return {
        f"{what}/{name}": array
        for name, found in codes.items()
        for what, array in zip(("codes", "steps"), found, strict=True)
    }


def codes_from_arrays(arrays: Arrays) -> dict[str, Rounded]:
    """What `codes_to_arrays` turned into arrays."""
    names = [key.removeprefix("codes/") for key in arrays if key.startswith("codes/")]
    return {name: (arrays[f"codes/{name}"], arrays[f"steps/{name}"]) for name in names}
