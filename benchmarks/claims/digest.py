"""A digest of the code behind a measurement: it changes where what is computed may have changed."""

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


def sources(places: Iterable[str]) -> list[Path]:
    """The Python files of some files and folders of the project, in order.

    Raises:
        FileNotFoundError: a place is not there.
    """
    found: list[Path] = []
    for place in places:
        path = ROOT / place
        if not path.exists():
            raise FileNotFoundError(f"There is no {place} in the project.")
        found += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return list(dict.fromkeys(found))


def without_words(text: str) -> str:
    """Source code as its tree, without comments, docstrings and places of lines."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            continue
        node.body = [  # type: ignore[attr-defined]
            each
            for each in body
            if not (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))
        ]
    return ast.dump(tree)


@cache
def code_digest(places: tuple[str, ...]) -> str:
    """Digest of some files and folders, whatever their comments and docstrings say.

    Args:
        places: Paths from the project's root.
    """
    digest = hashlib.sha256()
    for path in sources(places):
        digest.update(path.relative_to(ROOT).as_posix().encode())
        digest.update(without_words(path.read_text(encoding="utf-8")).encode())
    return digest.hexdigest()[:16]
