"""Checksums of points: a score that flips to another plausible number is known to be damaged.

A checksum has three parts of 16 letters: of what identifies a point and of its search score, of its
test score, and of its answers sample by sample. What is added later changes its own parts alone.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from store.database.json_text import dump_json

PART = 16
"""Letters of a part."""

_SCORED = ("run_id", "stage", "images", "digest", "search")
"""What identifies a point and its score; its bits are held against their digest elsewhere."""


def checksum(values: Mapping[str, Any]) -> str:
    """The checksum of a point.

    Args:
        values: Its columns, JSON as plain data.
    """
    return _scored(values) + reported(values["test"], values["test_right"])


def reported(test: Any, test_right: bytes | None) -> str:
    """The later two parts, of what a report adds."""
    return _digest(dump_json(test).encode()) + _digest(test_right or b"")


def check_scores(row: Mapping[str, Any]) -> None:
    """Raise unless a row's scores are those that were stored; rows of old have no checksum.

    Raises:
        ValueError: they are not.
    """
    kept = row["checksum"]
    if kept is None:
        return
    test = _digest(dump_json(row["test"]).encode())
    if not isinstance(kept, str) or kept[: 2 * PART] != _scored(row) + test:
        raise ValueError("its scores are not those that were stored, by their checksum")


def check_answers(kept: object, test_right: bytes) -> None:
    """Raise unless answers sample by sample are those that were stored.

    Raises:
        ValueError: they are not.
    """
    if kept is None:
        return
    if not isinstance(kept, str) or kept[2 * PART :] != _digest(test_right):
        raise ValueError("they are not those that were stored, by their checksum")


def _scored(values: Mapping[str, Any]) -> str:
    return _digest(dump_json([values[name] for name in _SCORED]).encode())


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=PART // 2).hexdigest()
