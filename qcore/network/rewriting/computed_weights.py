"""Weights that are computed before each pass, computed once and put in as plain parameters.

Weight norm and spectral norm (as hooks and as parametrizations) and pruning masks keep other
tensors in a weight's place and make the weight of them in every forward pass. In eval mode it comes
out the same each time, so it can be read once.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

HOOKS: dict[tuple[str, str], tuple[str, str]] = {
    ("torch.nn.utils.weight_norm", "WeightNorm"): ("name", "weight norm"),
    ("torch.nn.utils.spectral_norm", "SpectralNorm"): ("name", "spectral norm"),
    ("torch.nn.utils.prune", "BasePruningMethod"): ("_tensor_name", "pruning"),
}
"""Module and name of a hook's class, to the attribute with the tensor's name and what it is."""

_LEFT_BEHIND = ("_g", "_v", "_orig", "_u", "_mask")


def computed(module: nn.Module) -> dict[str, str]:
    """Name of each tensor of a module that is computed, to how: "weight norm", for example."""
    found = {}
    if is_parametrized(module):
        lists: Any = module.parametrizations
        for name, steps in lists.items():
            found[name] = ", ".join(_words(type(step).__name__) for step in steps)
    return found | {name: what for _, name, what in _hooks(module)}


def _words(kind: str) -> str:
    known = {"_WeightNorm": "weight norm", "_SpectralNorm": "spectral norm"}
    return known.get(kind, f"the parametrization {kind.lstrip('_')}")


def _hooks(module: nn.Module) -> Iterator[tuple[int, str, str]]:
    for key, hook in module._forward_pre_hooks.items():
        for kind in type(hook).__mro__:
            if (kind.__module__, kind.__qualname__) in HOOKS:
                attribute, what = HOOKS[kind.__module__, kind.__qualname__]
                yield key, getattr(hook, attribute), what


def tensors_of(model: nn.Module) -> Iterator[Tensor]:
    """Every tensor that a model holds: parameters, buffers, and those kept as plain attributes."""
    yield from model.parameters()
    yield from model.buffers()
    for module in model.modules():
        for value in vars(module).values():
            values = value if isinstance(value, (list, tuple)) else (value,)
            yield from (v for v in values if isinstance(v, Tensor))


@torch.no_grad()
def make_plain(model: nn.Module) -> None:
    """Give every module of a model plain parameters in place of computed tensors.

    Args:
        model: Changed in place: a copy, whose tensors may be another model's and are left alone.
    """
    made: dict[tuple[Any, ...], nn.Parameter] = {}
    for module in list(model.modules()):
        names = computed(module)
        if not names:
            continue
        training = module.training
        module.eval()  # spectral norm goes on estimating while it trains
        # computed alike of the very same tensors, it is one weight that two modules share
        keys = {n: (n, what, *map(id, _sources(module, n))) for n, what in names.items()}
        plain = {
            n: made.setdefault(key, nn.Parameter(_value(module, n), requires_grad=False))
            for n, key in keys.items()
        }
        _forget(module, plain)
        for name, value in plain.items():
            module.register_parameter(name, value)
        module.train(training)
        flat = getattr(module, "_flat_weights_names", None)
        if flat is not None:
            vars(module)["_flat_weights"] = [getattr(module, name) for name in flat]


def _sources(module: Any, name: str) -> list[Tensor]:
    lists = module._modules.get("parametrizations")
    if lists is not None and name in lists:
        return [*lists[name].parameters(), *lists[name].buffers()]
    kept = {**module._parameters, **module._buffers}
    return [kept[f"{name}{end}"] for end in _LEFT_BEHIND if f"{name}{end}" in kept]


def _value(module: nn.Module, name: str) -> Tensor:
    for key, hooked, _ in list(_hooks(module)):
        if hooked == name:
            module._forward_pre_hooks[key](module, ())
    value: Tensor = getattr(module, name)
    return value.detach().clone()


def _forget(module: Any, names: Iterable[str]) -> None:
    """Take away what computed the tensors, and what they were computed of."""
    for key, name, _ in list(_hooks(module)):
        del module._forward_pre_hooks[key]
        for ending in _LEFT_BEHIND:
            for kept in (module._parameters, module._buffers):
                kept.pop(f"{name}{ending}", None)
    for hooks in (module._state_dict_hooks, module._load_state_dict_pre_hooks):
        for key, hook in list(hooks.items()):
            if type(getattr(hook, "hook", hook)).__module__ == "torch.nn.utils.spectral_norm":
                del hooks[key]
    if module._modules.pop("parametrizations", None) is not None:
        # the class was made for this module, with a property in the place of each tensor
        module.__class__ = type(module).__bases__[0]
    for name in names:
        vars(module).pop(name, None)
