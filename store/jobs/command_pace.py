"""The command that measures how fast this machine trains, and `run --minutes` that asks for it."""

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from qcore.models.catalog import SHIPPED, data_name, default_data, read_models
from qcore.qat.pace import epochs_words, paced, work_of
from qcore.run_spec import RunSpec, check_here
from qcore.searches import SEARCHES
from store import bounds
from store.database import Store
from store.jobs import pace

Say = Callable[[str], None]


def add_command(commands: Any) -> argparse.ArgumentParser:
    """Add the command to the others."""
    made: argparse.ArgumentParser = commands.add_parser(
        "pace", help="measure how fast this machine trains a network"
    )
    made.add_argument("model")
    made.add_argument("--data", default="", type=data_name)
    made.add_argument("--device", default="auto")
    made.add_argument("--inputs", action="store_true", help="inputs are quantized too")
    return made


def command_pace(store: Store, arguments: argparse.Namespace, say: Say) -> int:
    """Measure how fast this machine trains a network, and keep it."""
    known = arguments.model in read_models()
    spec = RunSpec(
        arguments.model,
        arguments.data or (default_data(arguments.model) if known else SHIPPED),
        "gradfreebits",
        activation_bits=(8,) if arguments.inputs else (32,),
        device=arguments.device,
    )
    check_here(spec)
    say(pace.told(pace.compute(store, spec, bounds.as_set)))
    return 0


def in_minutes(store: Store, spec: RunSpec, minutes: float, say: Say) -> RunSpec:
    """The same run with as many epochs as take so many minutes on this machine.

    Raises:
        QcoreError: its search trains nothing, or the minutes are too few; or the network cannot be
            trained on these data.
    """
    search = SEARCHES.get(spec.search)
    if search is None:
        return spec  # that is said where the run is checked
    work_of(search)
    check_here(spec)
    found = pace.read_pace(store, spec) or pace.compute(store, spec, bounds.as_set)
    switches = max(len(spec.weight_bits), len(spec.activation_bits))
    params = paced(search, minutes, found, switches, spec.params)
    say(f"{minutes:g} minutes: {epochs_words(search, params, found)}")
    return replace(spec, params=params)
