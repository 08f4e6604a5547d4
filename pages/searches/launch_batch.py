"""From one filled-in form to many runs: methods times budgets times seeds. Pure functions."""

import dataclasses
import json
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import count
from statistics import median

from pages.shared.text import ACTIVE, counted, limits_text
from qcore.allocation import width_text
from qcore.costs import COSTS
from qcore.costs.formulas import CostModel
from qcore.errors import InvalidParams
from qcore.run_spec import RunSpec, offered
from qcore.searches import SEARCHES
from store import Run

MOST_RUNS = 100
"""Most runs that one press of the button queues."""

RULES_FILE = "rules.yaml"
"""What a command calls the file of a run's rules."""

SPREAD = 5
"""Budgets of a front for a search that knows one budget at a time."""


def seeds_of(words: str) -> tuple[int, ...]:
    """Read seeds such as "0, 1, 2" or "0-4"; each once, in the order given.

    Raises:
        InvalidParams: a part is no whole number from 0 on, or there is none.
    """
    found: list[int] = []
    for part in words.replace(";", ",").split(","):
        first, dash, last = part.strip().partition("-")
        if not (first.strip().isdecimal() and (not dash or last.strip().isdecimal())):
            raise InvalidParams(f"Seeds are whole numbers such as 0, 1, 2 or 0-4; got {words!r}.")
        end = int(last) if dash else int(first)
        if end - int(first) >= MOST_RUNS:
            raise InvalidParams(f"At most {MOST_RUNS} runs at once; got seeds {part.strip()}.")
        found += range(int(first), end + 1)
    if not found:
        raise InvalidParams(f"Seeds such as 0-4 rise; got {words!r}.")
    return tuple(dict.fromkeys(found))


def spread(reaches: Mapping[str, tuple[float, float]]) -> list[dict[str, float]]:
    """Budgets along the range of costs, from tight to loose, all costs together.

    Args:
        reaches: Cost name to (cheapest, dearest) total, in its unit.

    Returns:
        `SPREAD` budgets, in geometric steps strictly within every range.
    """
    shares = [(step + 1) / (SPREAD + 1) for step in range(SPREAD)]
    return [
        {cost: low * (high / low) ** share for cost, (low, high) in reaches.items()}
        for share in shares
    ]


def batch(
    spec: RunSpec,
    also: Sequence[str],
    budgets: Sequence[Mapping[str, float]],
    seeds: Sequence[int],
    name: str = "",
    costs: Mapping[str, CostModel] = COSTS,
) -> list[tuple[RunSpec, str]]:
    """List the runs to queue, each with its name.

    Args:
        spec: The method that was filled in, with its settings.
        also: Other methods, which keep their own defaults.
        budgets: Limits, one mapping a budget; {} is no limit.
        seeds: Seeds; a method that leaves nothing to chance takes the first alone.
        name: What to call them; "" is method and model.
        costs: The costs that limits may name.

    Raises:
        InvalidParams: more than `MOST_RUNS`.
    """
    methods = (spec.search, *also)
    own = {method: seeds if SEARCHES[method].chance else seeds[:1] for method in methods}
    total = len(budgets) * sum(map(len, own.values()))
    if total > MOST_RUNS:
        raise InvalidParams(f"At most {MOST_RUNS} runs at once; these are {total}.")
    out = []
    for method in methods:
        params = spec.params if method == spec.search else {}
        title = SEARCHES[method].title
        for limits in budgets:
            for seed in own[method]:
                parts = [f"{title} on {spec.model}" if not (name and not also) else name]
                if name and also:
                    parts = [f"{name}: {title}"]
                if len(budgets) > 1:
                    parts.append(limits_text(limits, costs))
                if len(own[method]) > 1:
                    parts.append(f"seed {seed}")
                # what is usual for one method need not be for another
                aim = spec.objective if method == spec.search else ""
                one = dataclasses.replace(
                    spec,
                    search=method,
                    params=params,
                    limits=dict(limits),
                    seed=seed,
                    objective=aim,
                    weight_bits=offered(method, spec.weight_bits),
                )
                out.append((one, ", ".join(parts)))
    return out


def apart(asked: Sequence[tuple[RunSpec, str]], known: Sequence[Run]) -> list[tuple[RunSpec, str]]:
    """Number names that nobody chose, "Uniform bits on resnet8 (2)", where a run is under way.

    Args:
        asked: Runs to queue with their names.
        known: Every stored run; two that have not ended cannot have one name.
    """
    taken = {run.name for run in known if run.state in (*ACTIVE, "paused")}
    out = []
    for spec, name in asked:
        names = (name if number == 1 else f"{name} ({number})" for number in count(1))
        out.append((spec, next(fresh for fresh in names if fresh not in taken)))
    return out


def duration(seconds: float) -> str:
    """Write a time: "40 s", "12 min", "1.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def seconds_of(run: Run) -> float | None:
    """Wall-clock seconds a run took; None while it has not ended, or where a clock was set back."""
    if run.started is None or run.finished is None:
        return None
    took = datetime.fromisoformat(run.finished) - datetime.fromisoformat(run.started)
    return took.total_seconds() if took.total_seconds() >= 0 else None


def estimate(
    specs: Sequence[RunSpec], known: Sequence[Run], workers: int, minutes: float | None = None
) -> str:
    """Say how long runs will take, from how long the like of them took here.

    Args:
        specs: What would be queued.
        known: Every stored run.
        workers: Runs that work at the same time.
        minutes: What each of those that train was given; None where they were given none.
    """
    total, unknown, given = 0.0, set(), 0
    for spec in specs:
        if minutes is not None and SEARCHES[spec.search].work is not None:
            given += 1
            continue
        like = [
            seconds
            for run in known
            if run.state == "done"
            and not run.origin
            and (run.spec.search, run.spec.model) == (spec.search, spec.model)
            and (seconds := seconds_of(run)) is not None
        ]
        if like:
            total += median(like[:5])
        else:
            unknown.add(SEARCHES[spec.search].title)
    seeds = len({spec.seed for spec in specs})
    words = counted(len(specs), "run")
    words += f" with {seeds} seeds" if seeds > 1 else ""
    if given and minutes is not None:
        words += f"; {counted(given, 'run')} that train, about {duration(60 * minutes)} each alone"
    if total:
        words += f", about {duration(total / min(workers, len(specs)))} as the last ones here took"
    if unknown:
        words += f"; no time is known yet for {', '.join(sorted(unknown))}"
    return words + "."


def command_line(spec: RunSpec) -> str:
    """The command that does the same without a browser."""
    default = RunSpec(spec.model, spec.data, spec.search)
    words = ["python", "-m", "store", "run", "--model", spec.model, "--data", spec.data]
    words += ["--search", spec.search]
    for flag, values in (("--limit", spec.limits), ("--param", spec.params)):
        for key, value in values.items():
            words += [flag, f"{key}={json.dumps(value)}"]
    # what is usual for weights depends on the network, so that it is always said
    words += ["--weight-bits", ",".join(map(width_text, spec.weight_bits))]
    if spec.activation_bits != default.activation_bits:
        words += ["--activation-bits", ",".join(map(width_text, spec.activation_bits))]
    if spec.pin_first_last is not None:
        words += ["--pin", width_text(spec.pin_first_last)]
    for flag, field in (
        ("--seed", "seed"),
        ("--calibration-images", "calibration_images"),
        ("--search-images", "search_images"),
        ("--objective", "objective"),
        ("--reported", "reported"),
        ("--device", "device"),
        ("--quantizer", "quantizer"),
        ("--rounding", "rounding"),
        ("--correction", "correction"),
    ):
        value = getattr(spec, field)
        if value != getattr(default, field):
            words += [flag, str(value)]
    if spec.images_seed != spec.seed:
        words += ["--images-seed", str(spec.images_seed)]
    words += ["--rules", RULES_FILE] if spec.rules else []
    words += ["--tuning"] if spec.tuning else []
    words += ["--anyway"] if spec.anyway else []
    return shlex.join(words)
