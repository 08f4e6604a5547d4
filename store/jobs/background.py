"""Commands of the store that the server runs in processes of their own, a few at a time."""

import contextlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from qcore.errors import InvalidParams, StoreError
from store.database import Store
from store.database.locations import URL_VARIABLE
from store.jobs.opening import Look
from store.runs.files import files_folder
from store.workers import children
from store.workers.children import Child

Key = tuple[str, str]
"""URL of a database, and what is made there."""


@dataclass(frozen=True)
class Background:
    """One kind of command.

    Attributes:
        name: The command, and how its logs begin.
        title: What messages call one that runs.
        at_once: How many may run at once.
        running: Those that were begun and not told of.
    """

    name: str
    title: str
    at_once: int = 2
    running: dict[Key, Child] = field(default_factory=dict)

    def start(self, store: Store, what: str, words: Sequence[str]) -> None:
        """Run `python -m store NAME WORDS` in a new process, unless one is at it.

        Args:
            store: The database.
            what: What is made: letters and digits, part of a file name.
            words: Arguments of the command.

        Raises:
            InvalidParams: others are at work; wait.
            StoreError: the process could not be started.
        """
        key = store.url, what
        for ended in [k for k, child in self.running.items() if child.process.poll() is not None]:
            if ended != key:
                self.running.pop(ended).close()
        if key in self.running and self.running[key].process.poll() is None:
            return
        others = [k for k, child in self.running.items() if child.process.poll() is None]
        if len(others) >= self.at_once:
            raise InvalidParams(f"{len(others)} other {self.title} are being made; wait for one.")
        folder = files_folder(store) / "logs"
        command = [sys.executable, "-m", "store", self.name, *words]
        # by the environment, because a command line is for all to see and a URL may hold a password
        env = {**os.environ, URL_VARIABLE: store.url}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            log = folder / f"{self.name}-{what}.log"
            self.running[key] = children.start(command, env, log, 0, "")
        except OSError as error:
            raise StoreError(
                f"The process for {self.title} could not be started: {error.strerror or error}."
            ) from error

    def look(self, store: Store, what: str) -> Look | None:
        """How far what `start` began here is; None where nothing was begun, or it was told.

        An end is told once.
        """
        key = store.url, what
        child = self.running.get(key)
        if child is None:
            return None
        if child.process.poll() is None:
            return Look("running", children.last_words(child.log) or "Starting")
        # told once, and then it can be tried again
        self.running.pop(key, None)
        child.close()
        words = children.last_words(child.log) or f"exit code {child.process.returncode}"
        with contextlib.suppress(OSError):
            child.log.unlink()
        return Look("done") if child.process.returncode == 0 else Look("failed", words)
