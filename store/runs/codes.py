"""Codes that a rounding chose, as files: one a width, found again by whatever could change them.

They can be made again at any time, so a file that is damaged or cannot be written costs time alone.
"""

import hashlib
import io
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from store.database import Store
from store.runs.checkpoints import write_whole

MOST_BYTES = 4 * 2**30
"""Of all files together; beyond it those that were used longest ago go."""

Codes = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""Layer name to codes int8 (channels, n) and steps float32 (channels,)."""


def codes_folder(store: Store) -> Path:
    """Where they lie."""
    return store.folder / "rounded"


def save(store: Store, key: str, codes: Codes) -> None:
    """Keep the codes of one width; where they cannot be written they are made again."""
    arrays = {"layers": np.array(list(codes), dtype=np.str_)}
    for index, (whole, steps) in enumerate(codes.values()):
        arrays |= {f"codes-{index}": whole, f"steps-{index}": steps}
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    try:
        write_whole(_file(store, key), content.getvalue())
        _make_room(codes_folder(store))
    except OSError as error:
        sys.stderr.write(f"could not keep the codes of {key}: {error}\n")


def load(store: Store, key: str) -> Codes | None:
    """The codes of one width, or None where they are not there whole."""
    path = _file(store, key)
    try:
        content = io.BytesIO(path.read_bytes())
        with np.load(content, allow_pickle=False) as found:
            names = [str(name) for name in found["layers"]]
            codes = {
                name: (found[f"codes-{index}"], found[f"steps-{index}"])
                for index, name in enumerate(names)
            }
        path.touch()
    except FileNotFoundError:
        return None
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zipfile.error) as error:
        sys.stderr.write(f"could not read the codes of {key}: {error}\n")
        return None
    return codes


def _file(store: Store, key: str) -> Path:
    return codes_folder(store) / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"


def _make_room(folder: Path) -> None:
    files = sorted(folder.glob("*.npz"), key=lambda path: path.stat().st_mtime, reverse=True)
    total = 0
    for path in files:
        total += path.stat().st_size
        if total > MOST_BYTES and path != files[0]:
            path.unlink(missing_ok=True)
