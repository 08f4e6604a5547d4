"""Networks that are code: a factory of the user's, or a `.pt2` file; only where allowed.

Importing a module runs it, and `torch.export.load` runs what is pickled in a file (tried with torch
2.13). So the operator names, when starting bitdial, what may be run:

    BITDIAL_ALLOW_CODE=mypackage.nets,pt2 streamlit run app.py
"""

import importlib
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qcore.errors import InvalidConfig, InvalidParams, UnsupportedModel
from qcore.models.code_allowed import PT2, check_allowed
from qcore.models.loading.limits import check_size
from qcore.network.running import AGREEMENT, first_words

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
    except (Exception, SystemExit) as error:
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
        As `read_pt2` does, but nothing is compared.
    """
    return _read(path)[0]


def read_pt2(path: Path) -> tuple[nn.Module, float]:
    """Read a `.pt2` file for the first time, and hold the network against the program.

    Returns:
        (the network, its largest difference from the program, relative to the largest output).

    Raises:
        InvalidParams: the operator gave no leave.
        InvalidConfig: it cannot be read.
        UnsupportedModel: it takes several inputs, was exported in training mode, or the network
            made of it computes something else.
    """
    network, program = _read(path)
    from qcore.models.loading.exported import difference

    try:
        found = difference(program, network)
    except Exception as error:
        # whatever a program raises
        raise UnsupportedModel(
            f"{path.name} cannot be run as layers ({first_words(error)}). Bring the code and the "
            "weights instead (own code)."
        ) from error
    if not found <= AGREEMENT:
        raise UnsupportedModel(
            f"{path.name} cannot be read as layers: the outputs differ from the program's by "
            f"{100 * found:.3g} % of the largest. Bring the code and the weights instead (own "
            "code)."
        )
    return network, found


def _read(path: Path) -> tuple[nn.Module, Any]:
    """The network of a file, and its program."""
    check_allowed(PT2, "Loading a .pt2 file runs code that may lie in it")
    check_size(path)
    from qcore.models.loading.exported import with_modules

    logger = logging.getLogger("torch.export")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it logs a traceback for every way that it tries
    try:
        program = torch.export.load(path)
    except Exception as error:
        raise InvalidConfig(f"{path} cannot be read by torch.export: {error}.") from error
    finally:
        logger.setLevel(level)
    return with_modules(program), program


def exported_shape(network: nn.Module) -> tuple[int, int, int] | None:
    """(channels, height, width) that a network of `load_pt2` was exported with, where it says."""
    graph: Any = network.graph
    image = next(node for node in graph.nodes if node.op == "placeholder")
    sizes = getattr(image.meta.get("val"), "shape", ())
    if len(sizes) != 4 or not all(isinstance(size, int) for size in sizes[1:]):
        return None
    channels, height, width = map(int, sizes[1:])
    return channels, height, width
