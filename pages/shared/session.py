"""The database handle and cached reads: one of each per server, shared by all browser sessions."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from pages.shared import frames, predictions
from pages.shared.held import NOTHING, Held
from pages.shared.judged import CLASSIFIER, Words, words_for, words_of
from pages.shared.points_table import points_frame
from qcore.allocation import ModelSpec
from qcore.costs.user_tables import Costs
from qcore.errors import DatabaseTooNew, DatabaseUnavailable, DataUnavailable
from qcore.judges import Judge, read_judge
from qcore.judges.signal import MOST_DB
from qcore.models.catalog import BUNDLED_NAMES, bundled_facts, judge_of
from qcore.problem import Point, Scores, SensitivityTable
from qcore.ptq.rounding_names import NEAREST, rounding_of
from qcore.quantizer_names import USUAL, quantizer_of
from qcore.run_spec import data_of
from store import (
    Run,
    Store,
    StoredPoint,
    damaged_facts,
    float_point,
    open_store,
    read_points,
    tables,
    test_right,
)
from store import model_facts as model_facts

Version = tuple[Any, ...]
"""Changes whenever a run's points may have changed; cached reads are keyed by it."""


@contextmanager
def database_explained() -> Iterator[None]:
    """Explain on the page why the database cannot be used, where it cannot, and stop.

    Goes around everything that reads or writes it: each page, and each fragment that reruns alone.
    """
    try:
        yield
    except (DatabaseUnavailable, DatabaseTooNew) as error:
        too_new = isinstance(error, DatabaseTooNew)
        st.error(
            f"**The database of results {'is too new' if too_new else 'cannot be used'}.** "
            f"{error}\n\nNothing was changed. Put it right and reload this page.",
            icon=":material/database:",
        )
        st.stop()


def database() -> Store:
    """Return the server's open database.

    Raises:
        DatabaseUnavailable, DatabaseTooNew: it cannot be opened; `database_explained` says why.
    """
    return _open((os.environ.get("BITDIAL_DATABASE_URL", ""), os.environ.get("BITDIAL_DATA", "")))


@st.cache_resource(show_spinner=False, max_entries=8)
def _open(location: tuple[str, str]) -> Store:
    return open_store()


def version_of(run: Run) -> Version:
    """Key of a run's cached points.

    Points get their test scores after they were counted; only the worker's beat tells then.
    """
    return run.id, run.attempt, run.state, run.evaluations, run.beat


MOST_POINTS = 20_000
"""Points that a page reads at once: some seconds' worth for a network of 100 layers."""


def newest_within(runs: Sequence[Run], most: int = MOST_POINTS) -> list[Run]:
    """The newest runs whose points together are at most so many; always the newest one."""
    kept: list[Run] = []
    total = 0
    for run in sorted(runs, key=lambda run: -run.id):
        total += run.evaluations
        if kept and total > most:
            break
        kept.append(run)
    return kept


def float_scores(
    store: Store, name: str, data: str, judge: Judge | None = None
) -> tuple[Scores | None, Scores | None]:
    """Return the float network's (search, test) scores on a data set, where they are known.

    Args:
        store: The database.
        name: Of the network.
        data: Data name.
        judge: Of the runs that it is shown with; None is the one the network has now.
    """
    point: Point | None = float_point(store, name, data, judge)
    if point is not None:
        return point.search, point.test
    if name not in BUNDLED_NAMES:
        return None, None
    try:
        facts = bundled_facts(name)
    except DataUnavailable:
        return None, None
    # its test samples are the data set's own, whichever others are drawn
    if data_of(data) != facts["data"]:
        return None, None
    if "test_accuracy" in facts:
        share, count = facts["test_accuracy"], facts["test_images"]
        return None, Scores(count, kl=0.0, agreement=1.0, accuracy=share)
    count, score, error = facts["test_samples"], facts["test_score"], facts["test_error"]
    alike = 1.0 if judge_of(name).match.share else MOST_DB
    test = Scores(count, kl=0.0, agreement=alike, accuracy=score, score_error=error)
    return None, replace(test, change=0.0, change_error=0.0)


def floats_of(store: Store, run: Run) -> tuple[Scores | None, Scores | None]:
    """The float network's (search, test) scores as a run's judge has them, where known.

    What was measured on more or fewer search samples than the run's is not known of them.
    """
    spec = run.spec
    search, test = float_scores(store, spec.model, spec.images, read_judge(spec.judge))
    if search is not None:
        counts = {stored.point.search.n for stored in points(store, run)}
        search = search if not counts or search.n in counts else None
    return search, test


def points(store: Store, run: Run) -> tuple[StoredPoint, ...]:
    """Every point of a run, in the order they were stored."""
    return _points(store, str(store.url), run.id, version_of(run))[0]


def left_out(store: Store, run: Run) -> tuple[str, ...]:
    """Why each of a run's points that cannot be read cannot."""
    return _left_out(store, str(store.url), run.id, version_of(run))


@st.cache_resource(show_spinner=False, max_entries=64)
def _points(
    _store: Store, url: str, run_id: int, version: Version
) -> tuple[tuple[StoredPoint, ...], tuple[str, ...]]:
    found, damaged = read_points(_store, [run_id])
    return tuple(found), tuple(damaged)


@st.cache_resource(show_spinner=False, max_entries=2048)
def _left_out(_store: Store, url: str, run_id: int, version: Version) -> tuple[str, ...]:
    return _points(_store, url, run_id, version)[1]


def damaged_of(store: Store, name: str) -> tuple[str, ...]:
    """Why what is stored of a network cannot be read, as of the last minute."""
    return _damaged_of(store, str(store.url), name)


@st.cache_resource(show_spinner=False, max_entries=64, ttl=60)
def _damaged_of(_store: Store, url: str, name: str) -> tuple[str, ...]:
    return tuple(damaged_facts(_store, name))


def frame(store: Store, runs: Sequence[Run], model: ModelSpec) -> pd.DataFrame:
    """`points_frame` over runs of one setting; shared, so never change it."""
    versions = tuple(version_of(run) for run in runs)
    costs = store.costs
    floats = floats_of(store, runs[0]) if runs else (None, None)
    key = (str(store.url), model.digest, costs.stamp, floats, versions)
    return _frame(store, list(runs), model, costs, key)


@st.cache_resource(show_spinner=False, max_entries=16)
def _frame(
    _store: Store,
    _runs: list[Run],
    _model: ModelSpec,
    _costs: Costs,
    key: tuple[Any, ...],
) -> pd.DataFrame:
    stored = [point for run in _runs for point in points(_store, run)]
    floats = key[3]
    return points_frame(stored, {run.id: run for run in _runs}, _model, _costs, floats)


def words(store: Store, runs: Sequence[Run], model: ModelSpec | None) -> Words:
    """What the figures of runs of one setting are called; those of classifiers where none is."""
    if not runs:
        return CLASSIFIER if model is None else words_for(judge_of(model.name), model=model)
    firsts = [point for run in runs for point in points(store, run)[:1]]
    # where some have no labels, likeness to the float network is all that they share
    firsts.sort(key=lambda stored: stored.point.search.accuracy is not None)
    return words_of(runs[0].spec.judge, firsts, model)


def answers(store: Store, numbers: Iterable[int]) -> dict[int, np.ndarray]:
    """Point number to its test samples' scores, absent where not kept.

    Bool (n,), which images it named right; float32 (n,) where the judge gives each a number.
    """
    wanted = sorted({int(number) for number in numbers if number >= 0})
    return test_right(store, wanted) if wanted else {}


def best_scores(store: Store, run: Run, model: ModelSpec) -> Scores | None:
    """Scores of a run's best point within its budget."""
    costs = store.costs
    return _best(store, run, model, costs, str(store.url), costs.stamp, version_of(run))


@st.cache_resource(show_spinner=False, max_entries=256)
def _best(
    _store: Store,
    _run: Run,
    _model: ModelSpec,
    _costs: Costs,
    url: str,
    stamp: tuple[object, ...],
    version: Version,
) -> Scores | None:
    return frames.best_scores(points(_store, _run), _run, _model, _costs)


def sensitivity_tables(store: Store, model: ModelSpec) -> dict[str, SensitivityTable]:
    """Stored sensitivity tables by the name the pages give them; of equal names the latest."""
    named: dict[str, SensitivityTable] = {}
    for key, table in tables(store, model.digest):
        bits = sorted({width for row in table.weight.values() for width in row})
        inputs = sorted({width for row in table.activation.values() for width in row})
        words = f"{table.kind} sensitivity, weights {'/'.join(map(str, bits))}"
        words += f", activations {'/'.join(map(str, inputs))}" if inputs else ""
        quantizer = quantizer_of(key)
        words += "" if quantizer == USUAL else f", quantizer {quantizer}"
        rounding = rounding_of(key)
        words += "" if rounding == NEAREST else f", rounding {rounding}"
        named.setdefault(words, table)
    return named


def predicted_front(
    name: str,
    table: SensitivityTable,
    model: ModelSpec,
    cost: str,
    costs: Costs,
    held: Held = NOTHING,
) -> pd.DataFrame:
    """`predictions.predicted_front`, kept; shared, so never change it."""
    versions = (table.n, table.seconds, costs.stamp, held)
    return _predicted_front(table, model, costs, held, name, model.digest, cost, versions)


@st.cache_resource(show_spinner="Computing the exact front", max_entries=32)
def _predicted_front(
    _table: SensitivityTable,
    _model: ModelSpec,
    _costs: Costs,
    _held: Held,
    name: str,
    digest: str,
    cost: str,
    stamp: tuple[object, ...],
) -> pd.DataFrame:
    return predictions.predicted_front(name, _table, _model, cost, costs=_costs, held=_held)
