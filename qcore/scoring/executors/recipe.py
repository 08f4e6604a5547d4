"""What travels to another process so that it can score: a function, its arguments and their name.

Torch-free: the function is imported where the recipe is unpacked. Only what scoring needs travels;
test images and the database stay where the search runs.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from qcore.allocation import BitAllocation
from qcore.errors import InvalidParams
from qcore.problem import Point, Window

KEPT = 2
"""Recipes, and contexts built from them, kept at a time: a training stage and the one before."""

Thing = TypeVar("Thing")


class Context(Protocol):
    """What a recipe builds: something that scores."""

    def score(
        self, allocations: Sequence[BitAllocation], stage: str = ..., images: Window | None = ...
    ) -> Iterable[Point]:
        """One point for each allocation, in order."""
        ...


@dataclass(frozen=True, eq=False)
class Recipe:
    """How another process comes to score like this one.

    Attributes:
        key: Digest of the arguments' contents and the stage: same key, same scores.
        build: Function at the top of a module, importable there, that gives a `Context`.
        arguments: What it is called with: plain data, bytes and numpy arrays.
        device: Where the context computes: "cpu", "cuda" or "mps".
    """

    key: str
    build: Callable[..., Context]
    arguments: tuple[Any, ...]
    device: str = "cpu"

    def context(self) -> Context:
        """Build what scores."""
        return self.build(*self.arguments)


class Portable(Protocol):
    """What an evaluator needs of `prepare`'s result."""

    def score(
        self, allocations: Sequence[BitAllocation], stage: str = ..., images: Window | None = ...
    ) -> Iterator[Point]:
        """Score here."""
        ...

    def recipe(self, stage: str) -> Recipe:
        """How to score a stage elsewhere."""
        ...


class Newest(Generic[Thing]):
    """The few things used last, by name."""

    def __init__(self, most: int = KEPT) -> None:
        self._most = most
        self._things: OrderedDict[str, Thing] = OrderedDict()

    def find(self, name: str) -> Thing | None:
        """The thing of a name, or None."""
        if name in self._things:
            self._things.move_to_end(name)
        return self._things.get(name)

    def drop(self, name: str) -> None:
        """Keep it no longer."""
        self._things.pop(name, None)

    def get(self, name: str, make: Callable[[], Thing]) -> Thing:
        """The thing of a name; made where it is not there, after the oldest has made room."""
        if name not in self._things:
            while len(self._things) >= self._most:
                self._things.popitem(last=False)
            self._things[name] = make()
        self._things.move_to_end(name)
        return self._things[name]


def make_recipe(
    stage: str, build: Callable[..., Context], arguments: tuple[Any, ...], device: str = "cpu"
) -> Recipe:
    """A recipe named by what is in it.

    Args:
        stage: The weights stage it scores.
        build: Function at the top of a module.
        arguments: Plain data, bytes and numpy arrays, nested in tuples, lists and mappings.
        device: Where the context computes.

    Raises:
        InvalidParams: an argument is of another kind and could not travel.
    """
    digest = hashlib.sha256()
    _feed(digest, [stage, f"{build.__module__}.{build.__qualname__}", device, arguments])
    return Recipe(digest.hexdigest(), build, arguments, device)


def _feed(digest: Any, value: Any) -> None:
    """Hash a value with its type and length, so that no two values give the same bytes."""
    if isinstance(value, np.ndarray):
        digest.update(f"array {value.dtype} {value.shape};".encode())
        digest.update(np.ascontiguousarray(value))
    elif isinstance(value, bytes):
        digest.update(f"bytes {len(value)};".encode())
        digest.update(value)
    elif value is None or isinstance(value, (bool, int, float, str)):
        text = repr(value).encode()
        digest.update(f"{type(value).__name__} {len(text)};".encode())
        digest.update(text)
    elif isinstance(value, (tuple, list)):
        digest.update(f"list {len(value)};".encode())
        for item in value:
            _feed(digest, item)
    elif isinstance(value, Mapping):
        _feed(digest, [[name, value[name]] for name in sorted(value)])
    else:
        raise InvalidParams(f"A {type(value).__name__} cannot travel in a recipe; give plain data.")
