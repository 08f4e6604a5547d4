"""Networks that are code: a factory of the user's, or a `.pt2` file; only where allowed.

Importing a module runs it, and `torch.export.load` runs what is pickled in a file (tried with torch
2.13). So the operator names, when starting bitdial, what may be run:

    BITDIAL_ALLOW_CODE=mypackage.nets,pt2 streamlit run app.py
"""

import importlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qcore.errors import InvalidConfig, InvalidParams, UnsupportedModel
from qcore.loading.limits import check_size
from qcore.permission import PT2, check_allowed

_TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def call_factory(target: str, kwargs: Mapping[str, Any]) -> nn.Module:
    """Import "package.module:function", call it, and return the network it gives.

    Raises:
        InvalidParams: the target is written otherwise, or its module was not allowed.
        UnsupportedModel: it cannot be imported or called, or gives no module.
    """
    if not _TARGET.fullmatch(target):
        raise InvalidParams(f"Write a factory as package.module:function; got {target[:80]!r}.")
    module, _, function = target.partition(":")
    check_allowed(module, f"Importing {module} runs its code")
    try:
        build = getattr(importlib.import_module(module), function)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = build(**kwargs)
    except Exception as error:
        raise UnsupportedModel(
            f"{target} failed: {type(error).__name__}: {error}. Correct it, and try again."
        ) from error
    if not isinstance(network, nn.Module):
        raise UnsupportedModel(
            f"{target} gave a {type(network).__name__}; it must return a torch.nn.Module."
        )
    return network.eval()


def load_pt2(path: Path) -> nn.Module:
    """Read a `.pt2` file that torch.export.save wrote, as modules bitdial can quantize.

    Raises:
        InvalidParams: the operator gave no leave.
        InvalidConfig: it cannot be read.
        UnsupportedModel: it takes several inputs.
    """
    check_allowed(PT2, "Loading a .pt2 file runs code that may lie in it")
    check_size(path)
    from qcore.loading.exported import with_modules

    try:
        program = torch.export.load(path)
    except Exception as error:
        raise InvalidConfig(f"{path} cannot be read by torch.export: {error}.") from error
    return with_modules(program)
