"""The table of runs: what they found, how fast they are, and how much is left."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pandas as pd
import streamlit as st

from pages.searches.launch_batch import duration, seconds_of
from pages.shared import hypervolume, session
from pages.shared.judged import judged, words_for, words_of
from pages.shared.points_table import fitting
from pages.shared.rules.words import rules_words
from pages.shared.run_facts import no_front
from pages.shared.text import ago, limits_text, state_words
from qcore.allocation import ModelSpec
from qcore.costs import COSTS, costs_of_many
from qcore.costs.formulas import CostModel
from qcore.costs.price_table import bits_matrices
from qcore.problem import Scores
from qcore.run_spec import method_label
from store import Run, Store

COST = COSTS["weight_bytes"]
"""The cost whose front the table's hypervolume is of."""


def with_speed(
    table: pd.DataFrame,
    runs: Sequence[Run],
    volumes: Mapping[int, float | None],
    now: datetime | None = None,
) -> pd.DataFrame:
    """Add speed, time left, hypervolume and origin to `runs_frame`.

    Args:
        table: One row a run, in the order of `runs`.
        runs: The runs.
        volumes: Run id to its normalised hypervolume, 0..1.
        now: The time; None is now.
    """
    out = table.copy()
    place = out.columns.get_loc("Evaluations") + 1
    columns = {
        "Evaluations/s": [speed(run, now) for run in runs],
        "Time left": [left(run, now) for run in runs],
        "Hypervolume": [volumes.get(run.id) for run in runs],
    }
    for offset, (name, values) in enumerate(columns.items()):
        out.insert(place + offset, name, values)
    out["Origin"] = [run.origin or "measured here" for run in runs]
    return out


def speed(run: Run, now: datetime | None = None) -> float | None:
    """Evaluations a second since it started; training counts as time. None before its first."""
    seconds = _elapsed(run, now)
    return run.evaluations / seconds if seconds and run.evaluations and not run.origin else None


def left(run: Run, now: datetime | None = None) -> str:
    """How long it will still take, should it go on as until now; "" where that is not known."""
    seconds = _elapsed(run, now)
    if run.state != "running" or not seconds or not run.step or run.step >= run.total:
        return ""
    return f"about {duration(seconds * (run.total - run.step) / run.step)}"


def _elapsed(run: Run, now: datetime | None) -> float | None:
    if run.started is None:
        return None
    if run.finished is not None:
        return seconds_of(run)
    since = (now or datetime.now(UTC)) - datetime.fromisoformat(run.started)
    return since.total_seconds() if since.total_seconds() >= 0 else None  # a clock was set back


def volume(store: Store, run: Run, model: ModelSpec, floats: Scores | None) -> float | None:
    """Normalised hypervolume (0..1) of a run's front over weight bytes.

    None of a run that made no front, and where searches by the loss have no float network's loss
    to be held against.
    """
    zero = hypervolume.zero_of(run.spec.objective, floats)
    return _volume(store, run, model, zero, str(store.url), session.version_of(run))


@st.cache_resource(show_spinner=False, max_entries=256)
def _volume(
    _store: Store,
    _run: Run,
    _model: ModelSpec,
    zero: float | None,
    url: str,
    version: session.Version,
) -> float | None:
    points = [each.point for each in fitting(session.points(_store, _run), _model)]
    allocations = [point.allocation for point in points]
    if zero is None or no_front(_run, len({each.digest for each in allocations})):
        return None
    weight, activation = bits_matrices(_model.layers, allocations)
    costs = costs_of_many(_model, weight, activation)[COST.name].tolist()
    aim = _run.spec.objective
    values = [point.search.value(aim) for point in points]
    box = hypervolume.box_of(_model, COST, aim=aim, zero=zero)
    return hypervolume.normalised(costs, values, box)


def table(store: Store, runs: Sequence[Run]) -> pd.DataFrame:
    """Every run's row, newest first.

    Best accuracy and hypervolume need a run's points; `session.newest_within` says whose are read.
    """
    facts = {name: session.model_facts(store, name) for name in {r.spec.model for r in runs}}
    best: dict[int, Scores | None] = {}
    volumes: dict[int, float | None] = {}
    for run in session.newest_within(runs):
        model = facts[run.spec.model]
        if model is not None:
            floats, _ = session.floats_of(store, run)
            best[run.id] = session.best_scores(store, run, model)
            volumes[run.id] = volume(store, run, model, floats)
    return with_speed(runs_frame(runs, best, store.costs), runs, volumes)


def runs_frame(
    runs: Sequence[Run],
    best: Mapping[int, Scores | None],
    costs: Mapping[str, CostModel] = COSTS,
) -> pd.DataFrame:
    """The table of runs, newest first.

    Args:
        runs: Runs to list.
        best: Run id to the scores of its best point within its budget, where it has one.
        costs: The costs there are.
    """
    rows = []
    # what is no percentage of images named right says what it is
    named = any(not words_of(run.spec.judge).usual for run in runs)
    ruled = any(run.spec.rules for run in runs)
    unit = "" if named else ", %"
    for run in runs:
        scores = best.get(run.id)
        words = words_for(judged(run.spec.judge), scores is None or scores.accuracy is not None)
        low, high = (words.factor * end for end in scores.interval) if scores else (0.0, 0.0)
        what = {"Score": f"{words.name}, {words.symbol}"} if named else {}
        share = run.step / run.total if run.total else 0.0
        rows.append(
            {
                "Run": run.id,
                "State": state_words(run).partition(":")[0],
                "Name": run.name,
                "Method": method_label(run.spec.search, ruled=bool(run.spec.rules)),
                "Progress, %": 100.0 if run.state == "done" else 100 * min(1.0, share),
                f"Best within budget{unit}": words.factor * scores.headline if scores else None,
                f"95 % interval{unit}": f"{low:.1f} to {high:.1f}" if scores else "",
                **what,
                "Evaluations": run.evaluations,
                "Budget": limits_text(run.spec.limits, costs),
                **({"Rules": rules_words(run.spec.rules, 3)} if ruled else {}),
                "Message": run.error or run.message,
                "Started": ago(run.started),
                "Model": run.spec.model,
            }
        )
    return pd.DataFrame(rows)
