"""Weights from a file, as plain tensors, and into a network.

A `.pt`, `.pth` or `.bin` file is read with `weights_only=True`, which refuses everything that is
not a tensor or a plain container; a `.safetensors` file cannot hold anything else.
"""

import difflib
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qcore.errors import InvalidConfig
from qcore.models.loading.limits import FILE_BYTES, check_size
from qcore.models.loading.names import named_for, without_counters
from qcore.models.loading.packages import need
from qcore.models.loading.weight_sets import NESTS, choose, is_plain, sets_in
from qcore.process.unpacking import zip_sizes

COMPILED = "_orig_mod."
PREFIXES = ("module.", COMPILED)
"""What torch's wrappers put before every name; taken off."""

_NO_TENSOR = re.compile(r"(?:Unsupported global: )?GLOBAL ([\w.]+)")


def read_weights(path: Path, key: str = "", most: int = FILE_BYTES) -> dict[str, Tensor]:
    """Read {name: tensor} from a file; nothing in the file is run.

    Args:
        path: A `.safetensors` file, or one that torch.save wrote.
        key: Which of its sets of weights; "" is the one that is proposed first.
        most: Most bytes of the file, and of its tensors.

    Raises:
        DataUnavailable: there is no such file, or safetensors is not installed.
        InvalidConfig: it is damaged, too large, or holds anything but tensors.
    """
    sets = read_sets(path, most)
    return dict(choose(sets, key, list(sets), str(path)).state)


def read_sets(path: Path, most: int = FILE_BYTES) -> dict[str, dict[str, Tensor]]:
    """Read every set of weights in a file, by its key; "" is the whole file.

    Raises:
        As `read_weights` does.
    """
    check_size(path, most)
    safe = path.suffix.lower() == ".safetensors"
    sets = sets_in(_read_safetensors(path) if safe else _read_torch(path))
    stored = {id(value): value for state in sets.values() for value in state.values()}
    total = sum(value.numel() * value.element_size() for value in stored.values())
    if total > most:
        raise InvalidConfig(
            f"The tensors of {path} come to {total / 1e6:,.0f} MB; at most {most / 1e6:,.0f} MB "
            "are read."
        )
    plain = {}
    for key, state in sets.items():
        plain[key] = {_plain(name): value for name, value in state.items()}
        if len(plain[key]) != len(state):
            raise InvalidConfig(
                f"{path} holds the same name twice, with and without {PREFIXES[0]!r}."
            )
    return plain


def _plain(key: str) -> str:
    while found := next((prefix for prefix in PREFIXES if key.startswith(prefix)), None):
        key = key.removeprefix(found)
    # a part of a network may be compiled by itself
    return key.replace(f".{COMPILED}", ".")


def _read_torch(path: Path) -> Mapping[Any, Any]:
    """What torch.save wrote, with at least one set of weights in it."""
    how = "Save them with torch.save(model.state_dict(), path)."
    try:
        with warnings.catch_warnings():
            # of pickle protocols it does not know; what it cannot read it refuses
            warnings.simplefilter("ignore")
            # mapped, not copied: what is refused for its names or shapes is never read
            mapped = zip_sizes(path)[1]
            document: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:
        # what torch meets in a damaged file it raises in any kind
        raise InvalidConfig(
            f"{path} cannot be read as plain weights ({_why_unreadable(error)}). {how}"
        ) from error
    if isinstance(document, Mapping) and sets_in(document):
        return document
    state = document
    if isinstance(document, Mapping):
        inner = (document[nest] for nest in NESTS if isinstance(document.get(nest), Mapping))
        state = next(inner, document)
    if not isinstance(state, Mapping) or not state:
        raise InvalidConfig(
            f"{path} is no state dict (a mapping from names to tensors): it holds a "
            f"{type(state).__name__}. {how}"
        )
    odd = [str(key) for key, value in state.items() if not is_plain(value)]
    more = f" and {len(odd) - 5} more" if len(odd) > 5 else ""
    raise InvalidConfig(
        f"{path} is no state dict (a mapping from names to tensors): no plain tensors are "
        f"{', '.join(key[:80] for key in odd[:5])}{more}. {how}"
    )


def _why_unreadable(error: Exception) -> str:
    """What torch said, without its advice to read the file in a way that runs what is in it."""
    words = str(error)
    if found := _NO_TENSOR.search(words):
        return f"it holds {found[1]}, which is no tensor and is not read: it could run code"
    if "TorchScript" in words:
        return "it is a TorchScript archive, which holds code"
    if "weights_only" in words or "Weights only" in words:
        return "torch.save did not write it, or it is damaged"
    return _first_line(error)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    reader = need("safetensors.torch", "to read .safetensors files")
    library = need("safetensors", "to read .safetensors files")
    try:
        state = dict(reader.load_file(path, device="cpu"))
        with library.safe_open(path, "pt") as opened:
            names = opened.metadata() or {}
    except Exception as error:
        raise InvalidConfig(
            f"{path} is no whole safetensors file ({_first_line(error)}). Save it again with "
            "safetensors.torch.save_file(model.state_dict(), path)."
        ) from error
    # a tensor with two names is stored once; the other name is noted beside the tensors
    return state | {n: state[at] for n, at in names.items() if n not in state and at in state}


def in_order(model: nn.Module, state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Give tensors the names of a network's own, matched by order; every shape must agree.

    Raises:
        InvalidConfig: there are more or fewer tensors, or a shape differs; names the first.
    """
    wanted, given = without_counters(model.state_dict()), without_counters(state)
    if len(wanted) != len(given):
        raise InvalidConfig(
            f"{source} holds {len(given)} tensors, the network {len(wanted)}; they cannot be "
            "matched by order."
        )
    renamed = {}
    for (ours, value), (theirs, stored) in zip(wanted.items(), given.items(), strict=True):
        if value.shape != stored.shape:
            raise InvalidConfig(
                f"{source} cannot be matched by order: {theirs!r} has shape "
                f"{tuple(stored.shape)} where {ours!r} has {tuple(value.shape)}."
            )
        renamed[ours] = stored
    return renamed


def fill(model: nn.Module, state: Mapping[str, Tensor], name: str, source: str) -> tuple[str, ...]:
    """Load a state dict; every entry but counters must be there, and no other of the network.

    Args:
        model: What is filled, in place.
        state: Name to tensor, in any floating type of 16 bits or more; float32 afterwards.
        name: What the architecture is called, for errors.
        source: Where the weights come from, for errors.

    Returns:
        Sentences on what was passed over.

    Raises:
        InvalidConfig: names or shapes differ, with the nearest names; whole, complex or 8-bit
            numbers stand where the network has floats; or NaN or infinity.
    """
    wanted = without_counters(model.state_dict())
    named = named_for(model, state, source)
    given = named.state
    problems = []
    if missing := [key for key in wanted if key not in given]:
        problems.append(f"missing: {_listed(missing, list(given))}")
    if unexpected := [key for key in given if key not in wanted]:
        problems.append(f"unexpected: {_listed(unexpected, list(wanted))}")
    problems += [
        f"{key} has shape {tuple(given[key].shape)}, not {tuple(value.shape)}"
        for key, value in wanted.items()
        if key in given and given[key].shape != value.shape
    ][:5]
    if problems:
        raise InvalidConfig(
            f"{source} does not fit {name}; {'; '.join(problems)}. {_advice(model, state, source)}"
        )
    _check_floats(wanted, given, source)
    floats = {k: v.float() if v.is_floating_point() else v for k, v in given.items()}
    broken = [k for k, v in floats.items() if v.is_floating_point() and not v.isfinite().all()]
    if broken:
        raise InvalidConfig(f"{source} holds NaN or infinity in {', '.join(broken[:5])}.")
    model.load_state_dict(floats, strict=False)
    return named.notes


def _advice(model: nn.Module, state: Mapping[str, Tensor], source: str) -> str:
    """What to do about names that do not fit."""
    try:
        in_order(model, state, source)
    except InvalidConfig:
        return "Use weights saved from this architecture."
    return (
        "Taken in order every shape fits: if these are weights of the same network under other "
        "names, have them matched by order (--by-order)."
    )


def _check_floats(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], source: str) -> None:
    """Raise where floats are wanted and other numbers are given: codes of a quantized network."""
    for key, value in wanted.items():
        rounded = given[key].is_floating_point() and given[key].element_size() == 1
        if value.is_floating_point() and (rounded or not given[key].is_floating_point()):
            kind, sure = str(given[key].dtype).removeprefix("torch."), "is" if rounded else "may be"
            raise InvalidConfig(
                f"{source} holds {key} as {kind}, where the network has floats: it {sure} "
                "quantized already. Bring the float weights."
            )


def other_sizes(
    built: Mapping[str, Tensor], state: Mapping[str, Tensor], classes: int, channels: int
) -> dict[str, int]:
    """Classes and input channels of a state dict, where they differ from the built network's.

    Args:
        built: State dict of the network with `classes` outputs and `channels` inputs.
        state: The other one.
        classes: Outputs of the first.
        channels: Input channels of the first.

    Returns:
        "classes" and "in_channels", each only where all differing shapes agree on it.
    """
    sizes, outputs, inputs = {}, set(), set()
    for key in built.keys() & state.keys():
        ours, theirs = built[key].shape, state[key].shape
        if ours == theirs or not len(ours) == len(theirs) > 0:
            continue
        if ours[0] == classes and ours[1:] == theirs[1:]:
            outputs.add(theirs[0])
        elif ours[0] == theirs[0] and len(ours) == 4 and ours[1] == channels:
            inputs.add(theirs[1])
    if len(outputs) == 1:
        sizes["classes"] = int(outputs.pop())
    if len(inputs) == 1:
        sizes["in_channels"] = int(inputs.pop())
    return sizes


def _listed(keys: list[str], others: list[str]) -> str:
    shown = []
    for key in keys[:5]:
        near = difflib.get_close_matches(key, others, n=1, cutoff=0.7)
        shown.append(f"{key} (nearest: {near[0]})" if near else key)
    more = f" and {len(keys) - 5} more" if len(keys) > 5 else ""
    return ", ".join(shown) + more


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
