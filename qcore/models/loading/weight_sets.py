"""The sets of weights in one checkpoint: raw and averaged ones, a student's and a teacher's.

Training scripts keep the weights under a key, beside the optimiser's state and often beside a
second set: the average of the weights over the last steps (EMA, SWA), which scores differently.
Which one is meant cannot be seen, so one is proposed and the others are named.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from qcore.errors import InvalidConfig

NESTS = ("state_dict", "model_state_dict", "model", "net", "weights", "model_state", "module")
"""Keys of raw weights, in the order in which they are proposed."""

AVERAGED_NESTS = ("state_dict_ema", "model_ema")
"""Keys of averaged weights that timm looks for, in its order."""

DEPTH = 4
"""So deep are sets looked for: {"checkpoint": {"model": {"state_dict": ...}}} is three."""

_AVERAGED = re.compile(r"(^|[._])(ema|swa|averaged?|avg|shadow|polyak)([._]|$)")
_NO_WEIGHTS = re.compile(
    r"optim|sched|scaler|hyper_?param|callback|loop|metric|param_groups|config|(^|_)args$"
)

State = Mapping[str, Tensor]
Sets = Mapping[str, State]
"""Key (with "." between levels; "" is the whole file) to {name: tensor}, in the file's order."""


@dataclass(frozen=True)
class Chosen:
    """The set of weights that is taken.

    Attributes:
        key: Where it lies; "" is the whole file.
        state: Name to tensor.
        notes: Sentences on the sets that were not taken.
    """

    key: str
    state: State
    notes: tuple[str, ...] = ()


def is_averaged(key: str) -> bool:
    """True where a key says that weights are averages: "state_dict_ema", "ema.shadow"."""
    return bool(_AVERAGED.search(key.lower()))


def sets_in(document: Mapping[Any, Any]) -> dict[str, dict[str, Tensor]]:
    """Every mapping from names to plain tensors in a checkpoint, by the key where it lies.

    Averaged weights that stand among the others under a first name of their own
    ("model_ema.conv.weight") are a set too.
    """
    found = dict(_walk(document, "", 0))
    for key, state in list(found.items()):
        heads = {name.partition(".")[0] for name in state if "." in name}
        for head in sorted(head for head in heads if is_averaged(head)):
            inner = {n.removeprefix(f"{head}."): v for n, v in state.items() if _under(n, head)}
            if len(inner) < len(state):
                found[f"{key}.{head}".lstrip(".")] = inner
                found[key] = {n: v for n, v in found[key].items() if not _under(n, head)}
    return found


def _under(name: str, head: str) -> bool:
    return name.startswith(f"{head}.")


def _walk(value: Any, key: str, depth: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
    if not isinstance(value, Mapping) or not value or depth > DEPTH:
        return
    if all(isinstance(k, str) and is_plain(v) for k, v in value.items()):
        yield key, {name: tensor.detach() for name, tensor in value.items()}
        return
    for name, inner in value.items():
        if isinstance(name, str) and not _NO_WEIGHTS.search(name.lower()):
            yield from _walk(inner, f"{key}.{name}".lstrip("."), depth + 1)


def is_plain(value: object) -> bool:
    """True for a dense tensor of plain numbers that is there."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and not value.is_quantized
        and not value.is_meta
    )


def proposed(sets: Sets, averaged_first: bool = True) -> list[str]:
    """Keys in the order in which they are proposed: averaged ones first, as timm does.

    Args:
        sets: The sets of a file.
        averaged_first: False proposes raw ones first.
    """

    def place(key: str) -> tuple[bool, int, int]:
        averaged = is_averaged(key)
        known = AVERAGED_NESTS if averaged else NESTS
        first, last = key.partition(".")[0], key.rpartition(".")[2]
        ranks = [known.index(part) for part in (first, last) if part in known]
        return averaged != averaged_first, min(ranks, default=len(known)), key.count(".")

    return sorted(sets, key=place)


def choose(sets: Sets, key: str, fitting: Sequence[str], source: str) -> Chosen:
    """The set that is meant: the named one, or the first proposed one that fits the network.

    Args:
        sets: The sets of a file, at least one.
        key: Where the wanted one lies, or the first part of its names; "" leaves it to the
            proposal.
        fitting: Keys of the sets that have every name the network needs.
        source: Where the weights come from, for errors.

    Raises:
        InvalidConfig: no set lies there; or several fit and none is the usual one.
    """
    if key:
        return Chosen(key, _named(sets, key, source))
    order = [k for k in proposed(sets) if k in fitting] or proposed(sets)
    if len(order) > 1 and not any(map(_usual, order)):
        raise InvalidConfig(
            f"{source} holds {len(order)} sets of weights that could be meant: "
            f"{', '.join(k[:80] for k in order[:10])}. Name one as the weights' key "
            f"(--weights-key {order[0][:80]})."
        )
    return Chosen(order[0], sets[order[0]], _notes(sets, order[0], fitting))


def _named(sets: Sets, key: str, source: str) -> State:
    if key in sets:
        return sets[key]
    for place, state in sets.items():
        whole = {f"{place}.{name}".lstrip("."): value for name, value in state.items()}
        if inner := {n.removeprefix(f"{key}."): v for n, v in whole.items() if _under(n, key)}:
            return inner
    known = ", ".join((place or "weights without a key")[:80] for place in proposed(sets)[:10])
    raise InvalidConfig(f"{source} holds no weights under {key[:80]!r}; it holds {known}.")


def _usual(key: str) -> bool:
    return not key or is_averaged(key) or not set(NESTS).isdisjoint(key.split("."))


def _notes(sets: Sets, taken: str, fitting: Sequence[str]) -> tuple[str, ...]:
    """A sentence on the sets beside the one that was taken, where they hold the same weights."""
    names = set(sets[taken])
    others = [
        key
        for key in proposed(sets)
        if key != taken and (key in fitting or names & set(sets[key]) or is_averaged(key))
    ]
    if not others:
        return ()
    kind = "averaged " if is_averaged(taken) else "raw " if any(map(is_averaged, others)) else ""
    words = [
        ("raw weights" if not key else key[:80]) + ("" if key in fitting else " (does not fit)")
        for key in others[:5]
    ]
    place = f"under {taken[:80]}" if taken else "without a key"
    return (
        f"The {kind}weights {place} were taken. The file also holds {', '.join(words)}: other "
        "weights score differently. Name their key (--weights-key) to take them instead.",
    )
