"""What a child does about what was measured already: samples, answers, times, measuring again.

Imports torch once there is something to do.
"""

import importlib
import os
from collections.abc import Mapping
from typing import Any

from qcore.run_spec import RunSpec
from store.database import Store, open_store
from store.jobs import pace as paces
from store.jobs import runtime as answers
from store.jobs import samples as looks
from store.jobs import verify as verdicts
from store.jobs.telling import Teller


def _opened() -> Store:
    threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    importlib.import_module("torch").set_num_threads(threads)
    return open_store(create=False)


def samples(request: Mapping[str, Any], teller: Teller) -> dict[str, Any]:
    """Look at samples of a configuration or a point, and keep the record."""
    store = _opened()
    text = looks.content(store, request["configuration"], request["point"])
    looks.compute(store, text, teller.words, teller.opening)
    return {}


def runtime(request: Mapping[str, Any], teller: Teller) -> dict[str, Any]:
    """Run the network of a run at each of its bits, and keep the record."""
    answers.compute(_opened(), request["run"], teller.words, teller.opening)
    return {}


def pace(request: Mapping[str, Any], teller: Teller) -> dict[str, Any]:
    """Measure how fast this machine trains a network, and keep it."""
    teller.words("Timing some steps of training")
    paces.compute(_opened(), RunSpec.from_json(request["spec"]), teller.opening)
    return {}


def verify(request: Mapping[str, Any], teller: Teller) -> dict[str, Any]:
    """Measure a kept configuration again; the verdict is kept with it."""
    teller.words("Measuring it again")
    return verdicts.verify(_opened(), request["configuration"], teller.opening)
