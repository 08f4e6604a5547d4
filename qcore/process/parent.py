"""Ends a process with the one that started it, however that ends. Pure."""

import multiprocessing
import os
import threading
from multiprocessing.connection import wait

PARENT_GONE = 75
"""Exit code of a process whose parent is gone."""


def end_with_parent() -> None:
    """Watch the process that started this one, and end at once when it is gone."""
    threading.Thread(target=_watch, daemon=True).start()


def _watch() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
    os._exit(PARENT_GONE)
