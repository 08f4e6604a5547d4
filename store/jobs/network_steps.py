"""What a child does about a network that is being added: load, judge, check, sensitivities.

Imports torch once there is something to do.
"""

import importlib
import os
from collections.abc import Mapping
from typing import Any

from qcore.judges import judge_words, read_judge
from qcore.models.new_network import NewNetwork
from store.database import open_store
from store.jobs.telling import Teller
from store.runs import points
from store.runs.files import cache_of


def _inspection() -> Any:
    torch = importlib.import_module("torch")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    return importlib.import_module("qcore.add_network")


def add(request: Mapping[str, Any], teller: Teller) -> dict[str, Any]:
    """Load a network and keep it under its name: its card, its layers, sentences."""
    store, inspection = open_store(), _inspection()
    with teller.opening():
        card, spec, notes = inspection.add_network(
            NewNetwork.from_json(request["new"]), teller.words
        )
    points.forget_float(store, card.name)  # scores of weights that had this name before
    return {"card": card.to_json(), "spec": spec.to_json(), "notes": notes}


def judge(request: Mapping[str, Any], teller: Teller) -> dict[str, Any]:
    """Try another judge on a network, and keep it."""
    store, inspection = open_store(), _inspection()
    with teller.opening():
        judge, notes = inspection.change_judge(request["model"], read_judge(request["judge"]))
    points.forget_float(store, request["model"])
    return {"judge": judge_words(judge), "notes": notes}


def check(request: Mapping[str, Any], teller: Teller) -> dict[str, Any]:
    """Measure a float network on data."""
    store, inspection = open_store(), _inspection()
    check = inspection.check_network_on(
        request["model"],
        request["data"],
        request["calibration"],
        request["search"],
        teller.words,
        teller.opening,
        cache_of(store),
    )
    judged = read_judge(check.report["judge"])
    points.save_model(store, check.model, request["data"], check.point, judged)
    return dict(check.report)


def sensitivity(request: Mapping[str, Any], teller: Teller) -> dict[str, Any]:
    """Compute a sensitivity table."""
    store, inspection = open_store(), _inspection()
    table = inspection.measure_table(
        request["model"],
        request["data"],
        request["sensitivity"],
        tuple(request["weight_bits"]),
        tuple(request["activation_bits"]),
        request["calibration"],
        request["search"],
        save_table=lambda key, digest, table: points.save_table(store, key, digest, table),
        tell=teller.words,
        on_step=teller.step,
        opening=teller.opening,
        cache=cache_of(store),
    )
    return {"kind": table.kind, "n": table.n, "seconds": table.seconds}
