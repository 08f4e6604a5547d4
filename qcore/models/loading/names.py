"""Brings the names in a weight file to those of a network.

Training frameworks save a network as a part of something ("model." before every name, a loss's
weights beside it); a tensor that a network has under two names may be in the file once.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qcore.errors import InvalidConfig

COUNTERS = ("num_batches_tracked", "n_averaged")
"""Last parts of names that count steps of a training; no network needs them."""


@dataclass(frozen=True)
class Named:
    """A state dict under a network's names.

    Attributes:
        state: Name to tensor, counters left out.
        foreign: Names of the file that belong to other things than the network.
    """

    state: Mapping[str, Tensor]
    foreign: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence on the names that were passed over."""
        if not self.foreign:
            return ()
        more = f" and {len(self.foreign) - 5} more" if len(self.foreign) > 5 else ""
        return (
            "The file also holds tensors of something else than the network, which were passed "
            f"over: {', '.join(name[:80] for name in self.foreign[:5])}{more}.",
        )


def without_counters(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict without what only counts steps."""
    return {k: v for k, v in state.items() if k.rpartition(".")[2] not in COUNTERS}


def shared_names(network: nn.Module) -> list[tuple[str, ...]]:
    """Names of the network in groups of those that are one tensor; most groups hold one name."""
    groups: dict[int, list[str]] = {}
    for name, value in without_counters(network.state_dict(keep_vars=True)).items():
        groups.setdefault(id(value), []).append(name)
    return [tuple(names) for names in groups.values()]


def named_for(network: nn.Module, state: Mapping[str, Tensor], source: str) -> Named:
    """Take one prefix off the names, or put one before them, where the network's names show then.

    What lies outside the prefix belongs to something else and is passed over. A tensor that the
    network has under several names needs to be there under one.

    Args:
        network: Whose names are wanted.
        state: Name to tensor.
        source: Where they come from, for errors.

    Returns:
        The state under the network's names as far as they can be brought together.

    Raises:
        InvalidConfig: several prefixes fit; or one tensor of the network has two values.
    """
    given = without_counters(state)
    groups = shared_names(network)
    wanted = {name for names in groups for name in names}

    def fits(names: Iterable[str]) -> bool:
        found = wanted.intersection(names)
        return all(not found.isdisjoint(group) for group in groups)

    if not fits(given):
        given, foreign = _renamed(given, wanted, fits, source)
    else:
        foreign = ()
    return Named(_with_twins(given, groups, source), foreign)


def _renamed(
    given: dict[str, Tensor], wanted: set[str], fits: Callable[[Iterable[str]], bool], source: str
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    counts = Counter(p for name in given for p, rest in _splits(name) if rest in wanted)
    whole = [p for p in counts if fits(n.removeprefix(p) for n in given if n.startswith(p))]
    if len(whole) > 1:
        raise InvalidConfig(
            f"{source} holds the network {len(whole)} times, under {', '.join(whole[:10])}. Name "
            f"one as the weights' key (--weights-key {whole[0].rstrip('.')})."
        )
    longer = Counter(p for name in wanted for p, rest in _splits(name) if rest in given)
    for prefix in longer:
        if fits(prefix + name for name in given):
            return {prefix + name: value for name, value in given.items()}, ()
    best = whole[0] if whole else max(counts, key=counts.__getitem__, default="")
    # where no prefix brings all names, one that brings most of them keeps the error short
    if not whole and 2 * counts[best] < len(wanted):
        return given, ()
    inside = {n.removeprefix(best): v for n, v in given.items() if n.startswith(best)}
    return inside, tuple(name for name in given if not name.startswith(best))


def _splits(name: str) -> Iterator[tuple[str, str]]:
    """Every way to part a name at a "."; the first part may be empty."""
    yield "", name
    at = name.find(".")
    while at >= 0:
        yield name[: at + 1], name[at + 1 :]
        at = name.find(".", at + 1)


def _with_twins(
    given: Mapping[str, Tensor], groups: Iterable[tuple[str, ...]], source: str
) -> dict[str, Tensor]:
    """The state with every name of a tensor that the network has under several."""
    state = dict(given)
    for names in groups:
        there = [name for name in names if name in given]
        for name in there[1:]:
            if not torch.equal(given[name], given[there[0]]):
                raise InvalidConfig(
                    f"{source} holds different values for {there[0]} and {name}, which are one "
                    "tensor in this network. Use weights of a network that shares it too, or an "
                    "architecture that does not."
                )
        for name in names:
            if there and name not in given:
                state[name] = given[there[0]]
    return state
