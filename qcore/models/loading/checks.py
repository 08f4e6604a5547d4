"""What is tried on a network before it is added, because everything measured later relies on it.

Bits are compared by running one network again and again: on the same inputs it must give the same
outputs, and what it gives for one sample should not depend on the others of its batch.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from qcore.errors import UnsupportedModel
from qcore.network.forward_pass import explicit_attention
from qcore.network.running import AGREEMENT, first_words, largest_difference
from qcore.trees import Tree, call, count, part

REPEATS = 1e-5
"""Largest difference of two runs on the same inputs, relative to the largest output: rounding."""


def check_behaviour(network: nn.Module, example: Tree, name: str) -> list[str]:
    """Try whether a network is a function of its sample alone.

    Args:
        network: In eval mode, on the example's device.
        example: Two or more samples of what it takes.
        name: What messages call it.

    Returns:
        Sentences on what to know: how far a sample's outputs depend on its batch.

    Raises:
        UnsupportedModel: it gives other outputs for the same inputs, or cannot run on one sample.
    """
    # what draws random numbers leaves the generator as it was
    with torch.no_grad(), explicit_attention(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # so that the verdict is always the same
        check_repeats(network, example, name)
        return check_alone(network, example, name)


def check_repeats(network: nn.Module, example: Tree, name: str) -> None:
    """Raise where two runs on the same inputs differ by more than rounding; names the cause.

    Raises:
        UnsupportedModel: they do.
    """
    before = {key: value.clone() for key, value in _tensors(network).items()}
    seen = _Randomness(network)
    try:
        with seen, _Operations(seen):
            first = call(network, _copy(example))
        changed = [k for k, v in _tensors(network).items() if not _same(v, before.get(k))]
        # three runs: what counts its calls may do something every second time
        others = [call(network, _copy(example)) for _ in range(2)]
    finally:
        seen.close()
    difference = max(largest_difference(first, other) for other in others)
    if not difference > REPEATS:
        return
    if seen.found:
        words = f"{seen.found[0]} draws random numbers in its forward pass, in eval mode too"
        cure = "Give functional dropout training=self.training, and take other randomness out"
    elif changed:
        words = f"its forward pass changes {', '.join(changed[:3])} in eval mode"
        cure = "Let it keep nothing from one call to the next"
    else:
        words = "its forward pass draws random numbers or keeps something from call to call"
        cure = "Make it a function of its inputs alone"
    far = (
        "in shape" if difference == float("inf") else f"by {100 * difference:.2g} % of the largest"
    )
    raise UnsupportedModel(
        f"{name} gives other outputs for the same inputs ({far}): {words}. {cure}: the same bits "
        "would score differently each time."
    )


def check_alone(network: nn.Module, example: Tree, name: str) -> list[str]:
    """A sentence where a sample's outputs depend on the others of its batch.

    Raises:
        UnsupportedModel: it cannot run on one sample, or gives another shape for it.
    """
    together = call(network, _copy(example))
    try:
        alone = [
            call(network, _copy(part(example, slice(i, i + 1)))) for i in range(count(example))
        ]
    except Exception as error:
        raise UnsupportedModel(
            f"{name} runs on {count(example)} samples and fails on one alone "
            f"({first_words(error)}). It must take any number of samples: a batch size is written "
            "into it, or squeeze() takes the batch away."
        ) from error
    expected = [_part(together, i) for i in range(len(alone))]
    gaps = [largest_difference(one, other) for one, other in zip(expected, alone, strict=True)]
    if max(gaps) == float("inf"):
        raise UnsupportedModel(
            f"{name} gives {_shapes(alone[0])} for one sample, and {_shapes(expected[0])} of each "
            "in a batch. Its outputs must have the batch first, for one sample too: squeeze() "
            "without a dimension takes it away, flatten(1) does not."
        )
    if max(gaps) <= AGREEMENT:
        return []
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    cause = ""
    if any(m.running_mean is None for m in norms):
        cause = "Some batch-norms keep no running statistics: "
    return [
        f"{cause}a sample's outputs depend on the others of its batch; alone they differ by up to "
        f"{100 * max(gaps):.2g} % of the largest. What is measured holds for batches like those it "
        "was measured in."
    ]


class _Randomness(TorchFunctionMode):
    """Knows which module is running, and keeps what drew random numbers.

    Attributes:
        found: What drew random numbers, in words, in order.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.found: list[str] = []
        self.function = ""
        self._inside: list[str] = []
        self._handles: list[Any] = []
        for path, module in network.named_modules():
            self._handles += [
                module.register_forward_pre_hook(self._entering(path)),
                module.register_forward_hook(self._leaving, always_call=True),
            ]

    def _entering(self, path: str) -> Any:
        def hook(module: nn.Module, args: Any) -> None:
            self._inside.append(path)

        return hook

    def _leaving(self, module: nn.Module, args: Any, output: Any) -> None:
        if self._inside:
            self._inside.pop()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.function = getattr(func, "__name__", "")
        return func(*args, **(kwargs or {}))

    def draws(self) -> None:
        """Keep that the function that runs now draws random numbers."""
        place = f"in {self._inside[-1]}" if self._inside and self._inside[-1] else "in the network"
        words = f"{self.function or 'something'} {place}"
        if words not in self.found:
            self.found.append(words)

    def close(self) -> None:
        """Take the hooks away."""
        for handle in self._handles:
            handle.remove()


class _Operations(TorchDispatchMode):
    """Tells of each operation that draws from a random generator."""

    def __init__(self, seen: _Randomness) -> None:
        super().__init__()
        self._seen = seen

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            self._seen.draws()
        return func(*args, **(kwargs or {}))


def _copy(example: Tree) -> Tree:
    """Inputs that a forward pass may write into."""
    if isinstance(example, Tensor):
        return example.clone()
    return {name: values.clone() for name, values in example.items()}


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    return dict(network.named_buffers()) | dict(network.named_parameters())


def _same(one: Tensor, other: Tensor | None) -> bool:
    return other is not None and one.shape == other.shape and bool(torch.equal(one, other))


def _part(outputs: Any, index: int) -> Any:
    """One sample of a batch's outputs."""
    if isinstance(outputs, Tensor):
        return outputs[index : index + 1]
    if isinstance(outputs, dict):
        return {key: _part(value, index) for key, value in outputs.items()}
    if isinstance(outputs, (tuple, list)):
        return [_part(value, index) for value in outputs]
    return outputs


def _shapes(outputs: Any) -> str:
    if isinstance(outputs, Tensor):
        return f"a tensor {tuple(outputs.shape)}"
    values: Sequence[Any] = list(outputs.values()) if isinstance(outputs, dict) else outputs
    if not isinstance(values, (tuple, list)):
        return type(outputs).__name__
    return " and ".join(_shapes(value) for value in values)
