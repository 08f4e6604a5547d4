"""What is stored is read whole, or not at all: one error names what is damaged. Torch-free.

    with intact("Run 3"):
        spec = checked(RunSpec.from_json(row.spec))

Whatever a damaged text makes a parser or a constructor raise comes out as `Damaged`. Readers of
many things read them one by one: a damaged one is set aside, and the others are still there.
"""

import logging
import struct
import types
import typing
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from qcore.errors import Damaged, QcoreError

MOST_LETTERS = 300
"""Of a reason: what is damaged may hold anything, of any length."""

MOST_DEEP = 60
"""Lists in lists of a value that may be anything."""

_WHOLE = range(-(2**63), 2**63)
_PARSING = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    MemoryError,
    EOFError,
    OSError,
    struct.error,
    zlib.error,
)
"""What damage makes of a parser; errors of ours are among them, and so is UnicodeError."""

Kind = TypeVar("Kind")
Stored = TypeVar("Stored")


@contextmanager
def intact(name: str) -> Iterator[None]:
    """Read something stored, named `name`, in the body.

    Raises:
        Damaged: it cannot be read; says its name and why.
    """
    try:
        yield
    except Damaged:
        raise
    except _PARSING as error:
        why = reason(error)
        raise Damaged(why if why.startswith(name) else f"{name} cannot be read: {why}") from error


@contextmanager
def worded(kind: type[QcoreError], words: str) -> Iterator[None]:
    """Read what a person gave in the body; our own errors pass as they are.

    Args:
        kind: What every other error of reading becomes.
        words: What is wrong then, without a dot at its end; the reason follows.

    Raises:
        QcoreError: ours, or one of `kind`.
    """
    try:
        yield
    except QcoreError:
        raise
    except _PARSING as error:
        raise kind(f"{words}: {reason(error)}") from error


def read_text(path: Path, most: int) -> str:
    """The text of a file of at most `most` bytes, in UTF-8.

    Raises:
        ValueError: it is larger, no file (a folder, a pipe), or no text.
        OSError: it cannot be read.
    """
    if path.exists() and not path.is_file():
        raise ValueError("it is no file")
    with path.open("rb") as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise ValueError(f"it is larger than {most:,} bytes")
    return data.decode("utf-8-sig")


def read_each(
    stored: Iterable[Stored], read: Callable[[Stored], Kind]
) -> tuple[list[Kind], list[Damaged]]:
    """Read many things: those that can be read, and why each of the others cannot.

    The log says of each damaged one once that it was set aside.

    Args:
        stored: What to read, one by one.
        read: Reads one, or raises `Damaged`.
    """
    found: list[Kind] = []
    aside: list[Damaged] = []
    for one in stored:
        try:
            found.append(read(one))
        except Damaged as error:
            _say_once(str(error))
            aside.append(error)
    return found, aside


@lru_cache(maxsize=1000)
def _say_once(words: str) -> None:
    logging.getLogger("bitdial").warning("Set aside: %s", words)


def reason(error: Exception) -> str:
    """Why something cannot be read, as one sentence of bounded length."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply."
    if isinstance(error, MemoryError):
        return "it asks for more memory than there is."
    if isinstance(error, KeyError) and not isinstance(error, QcoreError):
        words = f"{error.args[0] if error.args else ''!s} is missing"
    elif isinstance(error, OSError) and error.strerror:
        words = error.strerror
    else:
        words = " ".join(str(error).split()) or type(error).__name__
    words = words.encode("utf-8", "backslashreplace").decode()
    if len(words) > MOST_LETTERS:
        words = words[: MOST_LETTERS - 3] + "..."
    return words if words.endswith(".") else f"{words}."


def checked(value: Kind) -> Kind:
    """A frozen value whose fields are of the kinds that its class says, else an error.

    Whole numbers lie within 64 bits, and texts can be shown: no half of a pair of UTF-16.

    Raises:
        TypeError: a field holds something else; says which and what.
    """
    kind: Any = type(value)
    for name, quick, fits in _fields(kind):
        held = getattr(value, name)
        if type(held) not in quick and not fits(held):
            raise TypeError(f"{name} is {repr(held)[:60]}, which it cannot be")
    return value


Fits = Callable[[Any], bool]


@lru_cache(maxsize=64)
def _fields(cls: type) -> tuple[tuple[str, frozenset[type], Fits], ...]:
    """Name, types of which every value fits, and what tells of the others."""
    hints = typing.get_type_hints(cls)
    return tuple(
        (each.name, _quick(hints[each.name]), _fits(hints[each.name])) for each in fields(cls)
    )


def _quick(hint: Any) -> frozenset[type]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return frozenset().union(*map(_quick, typing.get_args(hint)))
    return frozenset({hint} & {float, bool, bytes, type(None)})


def _fits(hint: Any) -> Fits:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return lambda value: _plain(value, MOST_DEEP)
    if origin in (typing.Union, types.UnionType):
        choices = [_fits(each) for each in inner]
        return lambda value: any(fits(value) for fits in choices)
    if origin is typing.Literal:
        return lambda value: isinstance(value, str) and value in inner
    if origin is tuple:
        if inner[-1:] == (Ellipsis,):
            each = _fits(inner[0])
            return lambda value: isinstance(value, tuple) and all(map(each, value))
        parts = [_fits(part) for part in inner]
        return lambda value: (
            isinstance(value, tuple)
            and len(value) == len(parts)
            and all(fits(part) for fits, part in zip(parts, value, strict=True))
        )
    if origin is not None and issubclass(origin, Mapping):
        key, entry = map(_fits, inner)
        return lambda value: (
            isinstance(value, Mapping) and all(key(k) and entry(v) for k, v in value.items())
        )
    return _simple(hint)


def _simple(kind: Any) -> Fits:
    whole = is_dataclass(kind)
    if kind is int:
        return lambda value: isinstance(value, int) and value in _WHOLE
    if kind is float:
        return lambda value: (
            isinstance(value, float) or (isinstance(value, int) and value in _WHOLE)
        )
    if kind is str:
        return lambda value: isinstance(value, str) and _shown(value)
    return lambda value: isinstance(value, kind) and (not whole or checked(value) is value)


def _shown(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _plain(value: Any, deep: int) -> bool:
    """Whether a value is JSON data that everything can be done with."""
    if value is None or isinstance(value, bool | float):
        return True
    if isinstance(value, int):
        return value in _WHOLE
    if isinstance(value, str):
        return _shown(value)
    if deep and isinstance(value, Mapping):
        return all(
            isinstance(k, str) and _shown(k) and _plain(v, deep - 1) for k, v in value.items()
        )
    if deep and isinstance(value, Sequence):
        return all(_plain(entry, deep - 1) for entry in value)
    return False
