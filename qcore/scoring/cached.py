"""What an evaluator takes from the cache, as arrays: ranges, moments, answers, and a choice."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qcore.cache import Arrays, document_arrays, document_of
from qcore.ptq.calibration import Targets
from qcore.ptq.choice import Choice
from qcore.quantizers import Histogram
from qcore.trees import Tree

ONE = ""
"""Name of the only tensor of an answer."""


def ranges_to_arrays(histograms: Mapping[str, Histogram]) -> Arrays:
    """Histograms of layers' inputs, each cut to the bins between its first and last value."""
    arrays: dict[str, np.ndarray] = {}
    for name, each in histograms.items():
        used = each.counts.nonzero()
        first, end = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 0)
        arrays[f"{name}/counts"] = each.counts[first:end].numpy()
        arrays[f"{name}/reach"] = np.array([first, each.reach, each.smallest, each.largest])
    return arrays


def ranges_from_arrays(arrays: Arrays) -> dict[str, Histogram]:
    """What `ranges_to_arrays` turned into arrays."""
    found: dict[str, Histogram] = {}
    for key, values in arrays.items():
        name, _, what = key.rpartition("/")
        each = found.setdefault(name, Histogram())
        if what == "reach":
            first, each.reach, each.smallest, each.largest = values.tolist()
            counts = arrays[f"{name}/counts"]
            each.counts[int(first) : int(first) + len(counts)] = torch.from_numpy(counts)
    return found


def answers_to_arrays(answers: Sequence[Tree]) -> Arrays | None:
    """Answers of each batch, in the layout they have in memory: sums run along it."""
    arrays: dict[str, np.ndarray] = {}
    for batch, answer in enumerate(answers):
        for name, tensor in _named(answer):
            made = _tensor_to_arrays(tensor)
            if made is None:
                return None
            key = f"{batch}/{name}"
            arrays[f"{key}/values"], arrays[f"{key}/order"] = made
    return arrays


def answers_from_arrays(arrays: Arrays, device: str) -> list[Tree]:
    """What `answers_to_arrays` turned into arrays, on a device."""
    batches: dict[str, dict[str, Tensor]] = {}
    for key, values in arrays.items():
        path, _, what = key.rpartition("/")
        batch, _, name = path.partition("/")
        if what == "values":
            tensor = _tensor_from_arrays(values, arrays[f"{path}/order"])
            batches.setdefault(batch, {})[name] = tensor.to(device)
    return [parts[ONE] if set(parts) == {ONE} else parts for parts in batches.values()]


def targets_to_arrays(targets: Targets) -> Arrays:
    """Moments of every layer's outputs, a batch and a call at a time."""
    return {
        f"{batch}/{call}/{name}": torch.stack(moments).cpu().numpy()
        for batch, layers in enumerate(targets)
        for name, calls in layers.items()
        for call, moments in enumerate(calls)
    }


def targets_from_arrays(arrays: Arrays, names: Sequence[str], batches: int, device: str) -> Targets:
    """What `targets_to_arrays` turned into arrays.

    Args:
        arrays: Its arrays.
        names: Every layer: those that were never called have no moments.
        batches: How many there were.
        device: Where the moments are to lie.
    """
    found: Targets = [{name: [] for name in names} for _ in range(batches)]
    for key, values in arrays.items():
        batch, _, rest = key.partition("/")
        mean, square = torch.from_numpy(values).to(device)
        found[int(batch)][rest.partition("/")[2]].append((mean, square))
    return found


def choice_to_arrays(choice: Choice) -> Arrays:
    """A choice of the correction, as it was measured."""
    damages = {how: list(values) for how, values in choice.damages.items()}
    return document_arrays({"how": choice.how, "damages": damages, "samples": choice.samples})


def choice_from_arrays(arrays: Arrays) -> Choice:
    """What `choice_to_arrays` turned into arrays."""
    said: dict[str, Any] = document_of(arrays)
    damages = {how: tuple(values) for how, values in said["damages"].items()}
    return Choice(said["how"], damages, said["samples"])


def _named(answer: Tree) -> Iterator[tuple[str, Tensor]]:
    return iter([(ONE, answer)]) if isinstance(answer, Tensor) else iter(answer.items())


def _tensor_to_arrays(tensor: Tensor) -> tuple[np.ndarray, np.ndarray] | None:
    """Values in the order of memory, and the dimensions in that order; None where there is none."""
    order = sorted(range(tensor.dim()), key=lambda d: (-tensor.stride(d), d))
    inner = tensor.detach().cpu().permute(order)
    if not inner.is_contiguous() or tensor.dtype in (torch.bfloat16,) or tensor.is_complex():
        return None
    return inner.numpy(), np.array(order, np.int64)


def _tensor_from_arrays(values: np.ndarray, order: np.ndarray) -> Tensor:
    back = np.argsort(order).tolist()
    return torch.from_numpy(values).permute(back)
