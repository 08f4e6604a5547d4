"""The process that works on one step of `opening`.

`python -m store.jobs.opening_worker FOLDER`

Its standard input is a pipe held by the server: when that ends, so does this.
"""

import importlib
import json
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qcore.errors import QcoreError
from store.jobs.opening import REQUEST, RESULT, write_json
from store.jobs.telling import Teller

MOST_WORDS = 2000
"""Of a message: a file may hold names of any length."""

KINDS = {
    "add": "store.jobs.network_steps:add",
    "judge": "store.jobs.network_steps:judge",
    "check": "store.jobs.network_steps:check",
    "sensitivity": "store.jobs.network_steps:sensitivity",
    "bits": "store.jobs.reading:bits",
    "gguf": "store.jobs.reading:gguf",
    "samples": "store.jobs.record_steps:samples",
    "runtime": "store.jobs.record_steps:runtime",
    "pace": "store.jobs.record_steps:pace",
    "verify": "store.jobs.record_steps:verify",
}
"""Kind of a step to the function that works on it: given its request and a `Teller`, it gives its
report; what it reads of a person's it reads within `Teller.opening`."""


def work(request: Mapping[str, Any], teller: Teller) -> dict[str, Any]:
    """Do what a request asks for; returns its report.

    Raises:
        QcoreError: it cannot be done; says why.
    """
    module, _, name = KINDS[request["kind"]].partition(":")
    report: dict[str, Any] = getattr(importlib.import_module(module), name)(request, teller)
    return report


def _end_with_the_server() -> None:
    while True:
        try:
            if os.read(0, 1) == b"":
                break
        except OSError:
            break
    os._exit(0)


def main(folder: str, *, piped: bool = True) -> int:
    """Work on the step of a folder; its result is left there. Returns the exit code."""
    if piped:
        threading.Thread(target=_end_with_the_server, daemon=True).start()
        if hasattr(os, "nice"):
            os.nice(10)
    place = Path(folder)
    request = json.loads((place / REQUEST).read_text(encoding="utf-8"))
    try:
        report = work(request, Teller(place))
    except QcoreError as error:
        words = str(error)[:MOST_WORDS]
        write_json(place / RESULT, {"error": words, "type": type(error).__name__})
        return 1
    write_json(place / RESULT, {"report": report})
    return 0


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main(sys.argv[1]))
