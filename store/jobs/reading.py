"""Reads bits from what a person gave: short texts where one is, all else in a child within bounds.

A text of at most SMALL bytes cannot take long: its readers are bounded in what they follow.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from qcore import errors
from qcore.allocation import ModelSpec
from qcore.errors import QcoreError
from qcore.formats.imports import Imported, read_allocations, read_gguf
from qcore.formats.imports.by_layer import read_file
from qcore.formats.imports.plain import from_plain, to_plain
from store.database import Store
from store.jobs import opening
from store.jobs.opening import Look, Pool
from store.jobs.telling import Teller

SMALL = 64 * 1024
"""Bytes of a text that is read where one is."""

BY_LAYER = "by layer"
"""Instead of a format: any of them, or layer names with their bits."""

FILES = Pool(8, "files are being read already")
GIVEN = "given"
POLL_S = 0.1

Watch = Callable[[Look], object]


def read_bits(
    store: Store,
    given: bytes | Path,
    model: ModelSpec,
    wanted: str = "",
    watch: Watch = lambda look: None,
) -> Imported:
    """Read the bits of a model's layers.

    Args:
        store: The database; a child works in its folder.
        given: Text or content of a file, or the path of a GGUF file on this machine.
        model: Whose layers they must be for.
        wanted: Key of IMPORTS, "" for whichever it is, or BY_LAYER.
        watch: Told again and again how far the child is; what it raises ends the child.

    Raises:
        QcoreError: it cannot be read, or not within the bounds; says why.
    """
    if _is_small(given):
        return read_gguf(given, model) if isinstance(given, Path) else _read(given, model, wanted)
    request: dict[str, Any] = {"kind": "bits", "model": model.to_json(), "wanted": wanted}
    place = opening.new_place(store)
    if isinstance(given, bytes):
        (place / GIVEN).write_bytes(given)
        request["file"] = str(place / GIVEN)
    else:
        request |= {"kind": "gguf", "file": str(given)}
    return from_plain(_report(store, opening.start(store, request, place, FILES), watch))


def bits(request: Mapping[str, Any], teller: Teller) -> dict[str, Any]:
    """What the child does about a text: reads it; gives the bits as plain data."""
    teller.words("Reading the file")
    model = ModelSpec.from_json(request["model"])
    with teller.opening():
        found = _read(Path(request["file"]).read_bytes(), model, request["wanted"])
        return to_plain(found, model)


def gguf(request: Mapping[str, Any], teller: Teller) -> dict[str, Any]:
    """What the child does about a GGUF file: reads its head; gives the bits as plain data."""
    teller.words("Reading the head of the file")
    model = ModelSpec.from_json(request["model"])
    with teller.opening():
        return to_plain(read_gguf(request["file"], model), model)


def _is_small(given: bytes | Path) -> bool:
    """Whether a text is short, or a path names a short file, or none: that is said at once."""
    if isinstance(given, bytes):
        return len(given) <= SMALL
    try:
        return not given.is_file() or given.stat().st_size <= SMALL
    except (OSError, ValueError):
        return True


def _read(data: bytes, model: ModelSpec, wanted: str) -> Imported:
    if wanted == BY_LAYER:
        return read_file(data, model)
    return read_allocations(data, model, wanted)


def _report(store: Store, step: str, watch: Watch) -> Mapping[str, Any]:
    """What came of a step, once it has ended; it ends with whoever waits for it."""
    try:
        while (look := opening.look(store, step)).state == "running":
            watch(look)
            time.sleep(POLL_S)
    finally:
        opening.forget(store, step)
    if look.report is None:
        kind = getattr(errors, look.error, errors.InvalidConfig)
        raise (kind if issubclass(kind, QcoreError) else errors.InvalidConfig)(look.words)
    return look.report
