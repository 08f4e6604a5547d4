"""The process that works on one step of adding a network.

`python -m store.jobs.add_network_worker FOLDER`

Its standard input is a pipe held by the server: when that ends, so does this.
"""

import importlib
import json
import os
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qcore.errors import QcoreError
from qcore.judges import judge_words, read_judge
from qcore.models.new_network import NewNetwork
from store.database import Store, open_store
from store.jobs import bounds
from store.jobs.add_network import BOUNDED, PROGRESS, REQUEST, RESULT, write_json
from store.runs import points
from store.settings import open_gb, open_seconds

EVERY_S = 0.2
MOST_WORDS = 2000
"""Of a message: a file may hold names of any length."""


class Teller:
    """Keeps the progress file; not more often than anybody looks."""

    def __init__(self, place: Path) -> None:
        self._path, self._result = place / PROGRESS, place / RESULT
        self._words = ""
        self._told = float("-inf")

    def words(self, words: str) -> None:
        """Say what is being done."""
        self._words = words
        write_json(self._path, {"words": words, "done": 0, "total": 0})

    def ended(self, words: str) -> None:
        """Say why the work is ended before it is done."""
        write_json(self._result, {"error": words})

    def step(self, done: int, total: int) -> None:
        """Say how many of how many steps are done."""
        now = time.monotonic()
        if now - self._told < EVERY_S:
            return
        self._told = now
        write_json(self._path, {"words": self._words, "done": done, "total": total})


def work(store: Store, request: Mapping[str, Any], teller: Teller) -> dict[str, Any]:
    """Do what a request asks for; returns its report.

    Raises:
        QcoreError: it cannot be done; says why.
    """
    torch = importlib.import_module("torch")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    inspection = importlib.import_module("qcore.add_network")
    if request["kind"] in BOUNDED:
        bounds.hold(open_gb(), open_seconds(), teller.ended)
    if request["kind"] == "add":
        new = NewNetwork.from_json(request["new"])
        card, spec, notes = inspection.add_network(new, teller.words)
        points.forget_float(store, card.name)  # scores of weights that had this name before
        return {"card": card.to_json(), "spec": spec.to_json(), "notes": notes}
    if request["kind"] == "judge":
        judge, notes = inspection.change_judge(request["model"], read_judge(request["judge"]))
        points.forget_float(store, request["model"])
        return {"judge": judge_words(judge), "notes": notes}
    sizes = (request["calibration"], request["search"])
    if request["kind"] == "check":
        check = inspection.check_network_on(request["model"], request["data"], *sizes, teller.words)
        judged = read_judge(check.report["judge"])
        points.save_model(store, check.model, request["data"], check.point, judged)
        return dict(check.report)
    table = inspection.measure_table(
        request["model"],
        request["data"],
        request["sensitivity"],
        tuple(request["weight_bits"]),
        tuple(request["activation_bits"]),
        *sizes,
        save_table=lambda key, digest, table: points.save_table(store, key, digest, table),
        tell=teller.words,
        on_step=teller.step,
    )
    return {"kind": table.kind, "n": table.n, "seconds": table.seconds}


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
        report = work(open_store(), request, Teller(place))
    except (QcoreError, MemoryError, RuntimeError) as error:
        lacking = bounds.lacked_memory(error)
        if not lacking and not isinstance(error, QcoreError):
            raise
        words = bounds.memory_words(open_gb()) if lacking else str(error)
        write_json(place / RESULT, {"error": words[:MOST_WORDS]})
        return 1
    write_json(place / RESULT, {"report": report})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
