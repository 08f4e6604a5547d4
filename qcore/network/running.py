"""How a network of a user's is run: in which memory layout, and what becomes of its errors.

Convolutions run faster on images whose channels lie last in memory. Some networks cannot: `x.view`
asks for another layout, and what looks at strides computes something else. A trial run tells.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from qcore.errors import QcoreError, UnsupportedModel
from qcore.network.rewriting.computed_weights import tensors_of
from qcore.trees import Tree, call, count, shown, tensors

AGREEMENT = 1e-3
"""Largest difference between two runs of one network, relative to its largest output."""

_PASSED_ON = (QcoreError, MemoryError, torch.OutOfMemoryError)


def copied(network: nn.Module) -> nn.Module:
    """A deep copy; tensors that a hook has computed and left in an attribute are copied too."""
    memo: dict[int, Any] = {}
    for value in tensors_of(network):
        if not value.is_leaf:
            memo[id(value)] = value.detach().clone()
    return copy.deepcopy(network, memo)


def channels_last(network: nn.Module) -> nn.Module:
    """The network, its convolutions' weights with channels last in memory; changed in place."""
    if any(isinstance(module, nn.Conv2d) for module in network.modules()):
        return network.to(memory_format=torch.channels_last)
    return network


@torch.no_grad()
def layout_refusal(model: nn.Module, example: Tree) -> str:
    """Why a model has to be run on contiguous images; "" where channels may lie last.

    Args:
        model: In eval mode; copied, not changed.
        example: One input (1, ...) on the model's device.
    """
    if not isinstance(example, Tensor) or example.dim() != 4:
        return ""
    # with one image alone a batch's stride says nothing
    images = torch.cat([example, example])
    try:
        wanted = model(images)
    except Exception:  # noqa: BLE001 - a network for one image at a time; others say so
        return ""
    try:
        images = images.contiguous(memory_format=torch.channels_last)
        got = channels_last(copied(model))(images)
    except Exception as error:  # noqa: BLE001 - the user's own code
        return first_words(error)
    difference = largest_difference(wanted, got)
    if difference > AGREEMENT:
        return f"its outputs change by {100 * difference:.2g} % of the largest"
    return ""


def largest_difference(one: Any, other: Any) -> float:
    """Largest difference of two outputs, relative to the largest number of the first.

    Outputs are tensors, or tuples, lists and mappings of them; those of different kinds or shapes
    are infinitely far apart, and what is no tensor of numbers is not compared.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        if list(one) != list(other):
            return float("inf")
        one, other = list(one.values()), list(other.values())
    if isinstance(one, (tuple, list)) and isinstance(other, (tuple, list)):
        if len(one) != len(other):
            return float("inf")
        pairs = zip(one, other, strict=True)
        return max((largest_difference(a, b) for a, b in pairs), default=0.0)
    if not isinstance(one, Tensor) or not isinstance(other, Tensor):
        return 0.0 if type(one) is type(other) else float("inf")
    if one.shape != other.shape:
        return float("inf")
    if one.is_meta or not one.numel():
        return 0.0
    ours, theirs = one.double(), other.double()
    same = (ours == theirs) | (ours.isnan() & theirs.isnan())
    gap = (ours - theirs).abs().masked_fill(same, 0.0).nan_to_num(float("inf")).max()
    return float(gap / ours.abs().nan_to_num(0.0).max().clamp_min(1e-12))


def contiguous_inputs(network: nn.Module) -> nn.Module:
    """A copy of a network that is given contiguous images whatever their layout was."""
    copied = copy.copy(network)
    copied._forward_pre_hooks = network._forward_pre_hooks.copy()
    copied.register_forward_pre_hook(_made_contiguous)
    return copied


def _made_contiguous(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(a.contiguous() if isinstance(a, Tensor) else a for a in args)


def run(network: nn.Module, x: Tree, name: str) -> Any:
    """Run a network; whatever a user's forward pass raises becomes a sentence.

    Raises:
        UnsupportedModel: the forward pass failed.
    """
    try:
        return call(network, x)
    except _PASSED_ON:
        raise
    except Exception as error:
        raise UnsupportedModel(
            f"The forward pass of {name} failed on a batch of {_batch_words(x)}: "
            f"{first_words(error)}. It ran on other "
            "batches when it was added; correct the network so that it takes any batch like this."
        ) from error


def _batch_words(x: Tree) -> str:
    kinds = {str(t.dtype).removeprefix("torch.") for t in tensors(x)}
    shape = tuple(x.shape) if isinstance(x, Tensor) else f"{count(x)} samples, {shown(x)}"
    return f"shape {shape}, {', '.join(sorted(kinds))}"


def first_words(error: Exception) -> str:
    """What an error says, on one line, without what follows its first 300 characters."""
    words = " ".join(str(error).split())[:300].rstrip(".")
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
