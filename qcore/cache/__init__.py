"""The cache: what was worked out once, in files, by all that it depends on. Torch-free.

An entry's name is a digest of what it is, of what it depends on (weights, samples, settings), of
bitdial's own code and of the machine's arithmetic, so that whatever changes there leads to another
name: nothing is ever out of date, and what comes out of the cache is what would be worked out, to
the last bit. Everything in it can be worked out again, so a file that is damaged, gone or cannot be
written costs time alone. Files appear whole under their names; any number of processes may share a
folder.
"""

import hashlib
import json
import os
import platform
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache as once
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

SUFFIX = ".cached"
MARK = b"bitdial1"
PLAIN, PACKED = b"-", b"z"

SHARE = 4
"""An entry is kept if it takes at most this part, 1/SHARE, of what the cache may hold."""

FORGOTTEN_S = 3600.0
"""Age from which a file that was never finished is one that nobody writes any more."""

Arrays = Mapping[str, np.ndarray]
"""What an entry holds: names to arrays of numbers."""

Value = TypeVar("Value")


@dataclass(frozen=True)
class Cache:
    """A folder of entries, and what all that is asked of it depends on.

    Attributes:
        folder: Where the files lie; None keeps nothing.
        most_bytes: Of all files together; beyond it those that were used longest ago go.
        depends: What every entry asked for depends on.
    """

    folder: Path | None = None
    most_bytes: int = 0
    depends: tuple[Any, ...] = ()

    def about(self, *depends: Any) -> "Cache":
        """The same folder, for what depends on this as well: plain data, as JSON has it."""
        return replace(self, depends=(*self.depends, *depends))

    def get(self, kind: str, *depends: Any) -> Arrays | None:
        """An entry, or None where there is none that is whole; a damaged one is removed."""
        if self.folder is None:
            return None
        path = self._file(kind, depends)
        try:
            found = read(path)
            os.utime(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            sys.stderr.write(f"could not read {path} ({error}): worked out again\n")
            _remove(path)
            return None
        return found

    def put(self, kind: str, arrays: Arrays, *depends: Any, packed: bool = False) -> None:
        """Keep an entry; where it cannot be written, or is too large, it is worked out again.

        Args:
            kind: What it is, in a few letters.
            arrays: What it holds.
            depends: What it depends on beyond `depends`.
            packed: Whether its bytes are worth packing.
        """
        if self.folder is None or sum(a.nbytes for a in arrays.values()) * SHARE > self.most_bytes:
            return
        path = self._file(kind, depends)
        try:
            write(path, arrays, packed=packed)
            make_room(self.folder, self.most_bytes, path)
        except OSError as error:
            sys.stderr.write(f"could not keep {path} ({error})\n")

    def found(
        self,
        kind: str,
        make: Callable[[], Value],
        to_arrays: Callable[[Value], Arrays | None],
        from_arrays: Callable[[Arrays], Value],
        *depends: Any,
    ) -> Value:
        """An entry, worked out and kept where it is not there yet.

        Args:
            kind: What it is, in a few letters.
            make: Works it out.
            to_arrays: Turns it into arrays; None where that would lose something.
            from_arrays: Turns them back.
            depends: What it depends on beyond `depends`.
        """
        kept = self.get(kind, *depends)
        if kept is not None:
            return from_arrays(kept)
        made = make()
        arrays = to_arrays(made) if self.folder is not None else None
        if arrays is not None:
            self.put(kind, arrays, *depends)
        return made

    def _file(self, kind: str, depends: tuple[Any, ...]) -> Path:
        told = [kind, code_digest(), machine_words(), *self.depends, *depends]
        digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
        return (self.folder or Path()) / f"{kind}-{digest[:32]}{SUFFIX}"


NO_CACHE = Cache()
"""Keeps nothing: everything is worked out."""


def write(path: Path, arrays: Arrays, *, packed: bool = False) -> None:
    """Write an entry that is there whole or not at all, whoever else writes it.

    Raises:
        OSError: it could not be written; nothing has changed.
    """
    heads = [[name, a.dtype.str, list(a.shape)] for name, a in arrays.items()]
    head = json.dumps(heads).encode()
    parts = [struct.pack("<I", len(head)), head]
    parts += [np.ascontiguousarray(a).tobytes() for a in arrays.values()]
    body = b"".join(parts)
    body = PACKED + zlib.compress(body, 6) if packed else PLAIN + body
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(".tmp", f"{path.stem}-", path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(MARK + hashlib.sha256(body).digest())
            stream.write(body)
        os.replace(name, path)
    except OSError:
        _remove(Path(name))
        raise


def read(path: Path) -> dict[str, np.ndarray]:
    """What the file of an entry holds, in arrays that may be changed.

    Raises:
        FileNotFoundError: there is none.
        OSError: it cannot be read.
        ValueError: it is not what was written.
    """
    content = path.read_bytes()
    start = len(MARK) + hashlib.sha256().digest_size
    body = content[start:]
    if content[: len(MARK)] != MARK or hashlib.sha256(body).digest() != content[len(MARK) : start]:
        raise ValueError("it is damaged")
    whole = bytearray(zlib.decompress(body[1:]) if body[:1] == PACKED else body[1:])
    (size,) = struct.unpack_from("<I", whole)
    at, found = 4 + size, {}
    for name, kind, shape in json.loads(whole[4:at]):
        count = int(np.prod(shape, dtype=np.int64))
        found[name] = np.frombuffer(whole, np.dtype(kind), count, at).reshape(shape)
        at += found[name].nbytes
    return found


def entries(folder: Path) -> list[Path]:
    """The files of all entries in a folder; none where there is no such folder."""
    return sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []


def damaged(folder: Path) -> Iterator[tuple[Path, str]]:
    """Every entry that cannot be read, with the reason."""
    for path in entries(folder):
        try:
            read(path)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            yield path, str(error)


def make_room(folder: Path, most_bytes: int, newest: Path) -> None:
    """Remove what was used longest ago until the rest fits; the newest stays, whatever its size."""
    found: list[tuple[float, int, Path]] = []
    for path in folder.iterdir():
        try:
            seen = path.stat()
        except OSError:  # another process was faster
            continue
        if path.suffix == SUFFIX and path != newest:
            found.append((seen.st_mtime, seen.st_size, path))
        elif path.suffix == ".tmp" and time.time() - seen.st_mtime > FORGOTTEN_S:
            _remove(path)
    total = newest.stat().st_size if newest.exists() else 0
    for _, size, path in sorted(found, reverse=True):
        total += size
        if total > most_bytes:
            _remove(path)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        # a file in use cannot be removed on Windows; it goes another time
        sys.stderr.write(f"could not remove {path}: {error}\n")


@once
def code_digest() -> str:
    """Digest of the source of all of qcore: whatever is computed otherwise has another name."""
    digest = hashlib.sha256()
    root = Path(__file__).parents[1]
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\n")
        digest.update(path.read_bytes())
    return digest.hexdigest()


def machine_words() -> list[Any]:
    """What the last bits of a sum depend on: the processor, its threads, and the libraries."""
    torch: Any = sys.modules.get("torch")
    known = [platform.machine(), _processor(), np.__version__]
    if torch is None:
        return known
    found = torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()
    return [*known, torch.__version__, *found, torch.backends.mkldnn.enabled]


@once
def _processor() -> str:
    """The processor's name, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith("model name")), platform.processor())


def document_arrays(document: Any) -> Arrays:
    """Plain data as an entry."""
    return {"document": np.frombuffer(json.dumps(document).encode(), np.uint8)}


def document_of(arrays: Arrays) -> Any:
    """The plain data of an entry that `document_arrays` made."""
    return json.loads(arrays["document"].tobytes())
