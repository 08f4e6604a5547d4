"""Rewrites modules that hide their layers into equal ones whose layers are modules of their own.

Some modules compute with weights that no module of their own multiplies: attention and recurrent
modules hand them to a function, some batch-norms apply the activation as well, and some weights are
computed before each pass (weight norm, spectral norm, pruning). `expose_layers` replaces these, and
only these, by modules with the same outputs (as far as floats add up alike) and the same
parameters, or a computed one as it comes out, under names that depend on the model alone. Whoever
wraps a model calls it
first, so the user's own model, untouched, always leads to the same layers.
"""

import copy
from collections.abc import Callable
from typing import Any

from torch import nn

from qcore.network.rewriting.attention import ExplicitAttention
from qcore.network.rewriting.computed_weights import computed, make_plain, tensors_of
from qcore.network.rewriting.norm_then_rest import NormThenRest
from qcore.network.rewriting.recurrent import ExplicitCell, ExplicitRecurrent, recurrent_parts
from qcore.network.rewriting.stored_transposed import as_linear
from qcore.network.rewriting.tied import TiedEmbedding, row_scale
from qcore.network.rewriting.window_attention import WindowAttention

Rows = dict[tuple[int, int], nn.Parameter]

REWRITES: dict[tuple[str, str], Callable[[Any, Rows], nn.Module]] = {
    ("torch.nn.modules.activation", "MultiheadAttention"): ExplicitAttention,
    ("torchvision.models.swin_transformer", "ShiftedWindowAttention"): WindowAttention,
    ("torchvision.models.swin_transformer", "ShiftedWindowAttentionV2"): WindowAttention,
    ("timm.layers.norm_act", "BatchNormAct2d"): NormThenRest,
    **{("torch.nn.modules.rnn", name): ExplicitRecurrent for name in ("LSTM", "GRU", "RNN")},
    **{("torch.nn.modules.rnn", f"{name}Cell"): ExplicitCell for name in ("LSTM", "GRU", "RNN")},
    ("transformers.pytorch_utils", "Conv1D"): as_linear,
}
"""Module and name of the class whose forward pass hides layers, to what takes its place.

Classes are named, not imported: their packages are slow to import, or need not be installed. A
subclass with a forward pass of its own is left as it is."""


def expose_layers(model: nn.Module) -> nn.Module:
    """Return the model with every layer in a module of its own.

    Returns:
        The model itself where nothing hides a layer; otherwise a copy of its modules that shares
        the parameters and buffers (slices of them where a parameter holds several layers). Applied
        again it changes nothing.
    """
    hides = any(_hides(module) or computed(module) for module in model.modules())
    if not hides and not _ties(model):
        return model
    rewritten = copy.deepcopy(model, {id(tensor): tensor for tensor in tensors_of(model)})
    make_plain(rewritten)
    rows: Rows = {}
    if _hides(rewritten):
        return _replaced(rewritten, rows)
    hiding = [module for module in rewritten.modules() if _hides(module)]
    done = {id(module): _replaced(module, rows) for module in hiding}
    for tied in _ties(rewritten):
        one = TiedEmbedding(tied[0], tied[-1]).train(tied[0].training)
        done |= {id(module): one for module in tied}
    for parent in list(rewritten.modules()):
        for name, child in list(parent._modules.items()):
            if id(child) in done:
                setattr(parent, name, done[id(child)])
    return rewritten


def _ties(model: nn.Module) -> list[list[Any]]:
    """Embeddings, and behind them plain linear layers, that share one weight and one bias.

    An embedding looks rows up, and does no more than scale them.
    """
    sharing: dict[int, list[Any]] = {}
    for module in model.modules():
        weight = module._parameters.get("weight")
        if weight is not None and isinstance(module, (nn.Embedding, nn.Linear)):
            sharing.setdefault(id(weight), []).append(module)
    found = []
    for modules in sharing.values():
        if len(modules) < 2:
            continue
        lookups = [m for m in modules if isinstance(m, nn.Embedding) and _looks_up(m)]
        heads: list[Any] = [m for m in modules if isinstance(m, nn.Linear) and plain(m)]
        alike = len({row_scale(m) for m in lookups}) == 1
        if alike and heads and all(m.bias is heads[0].bias for m in heads):
            found.append([*lookups, *heads])
    return found


def _looks_up(embedding: Any) -> bool:
    """True where an embedding gives its rows, scaled by one factor or as they are."""
    return embedding.max_norm is None and (plain(embedding) or row_scale(embedding) is not None)


def _hides(module: nn.Module) -> bool:
    """True where a module hides layers and can be replaced."""
    replacement = REWRITES.get(forward_of(module))
    if replacement in (ExplicitRecurrent, ExplicitCell):
        return recurrent_parts(module)
    return replacement is not None


def forward_of(module: nn.Module) -> tuple[str, str]:
    """Module and name of the class in a module's family that defines its forward pass.

    Both empty where that was set on the module itself.
    """
    if "forward" in vars(module):
        return "", ""
    owner = next((c for c in type(module).__mro__ if "forward" in vars(c)), nn.Module)
    return owner.__module__, owner.__qualname__


def plain(module: nn.Module) -> bool:
    """True where a module computes just as the torch class it descends from."""
    keys = ("forward", "_conv_forward")
    if any(key in vars(module) for key in keys):
        return False
    owners = [next((c for c in type(module).__mro__ if key in vars(c)), nn.Module) for key in keys]
    return all(owner.__module__.startswith("torch.nn.") for owner in owners)


def _replaced(module: nn.Module, rows: Rows) -> nn.Module:
    return REWRITES[forward_of(module)](module, rows).train(module.training)
