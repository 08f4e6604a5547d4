"""Paths as people write and paste them. Torch-free; looks at no file."""

import os
from urllib.parse import unquote

_QUOTES = ("'", '"')
_FILE = "file://"


def written_path(words: str) -> str:
    """The path that was meant, absolute: another process has another working folder.

    Spaces around it, quotes around it and "file://" before it are taken off; "~" stays, and is
    whoever reads it. To name a folder whose name ends in a space, end with a slash.

    Args:
        words: As written; may be empty, which gives "".
    """
    path = words.strip()
    if len(path) > 1 and path[0] in _QUOTES and path[-1] == path[0]:
        path = path[1:-1]
    if path.lower().startswith(_FILE):
        # file:///folder and file://localhost/folder
        path = unquote(path[len(_FILE) :]).removeprefix("localhost")
    if not path or path.startswith("~"):
        return path
    # a last slash would be lost, and with it a space before it
    return os.path.join(os.getcwd(), path)
