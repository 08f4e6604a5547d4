"""Cached reads of the Compare page: a run's rows, the digest behind its figures, its answers."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from pages.compare import methods
from pages.compare.comparable import judge, metric_of
from pages.shared import session
from pages.shared.judged import CLASSIFIER, Words
from pages.shared.run_facts import is_ladder
from qcore.allocation import ModelSpec
from qcore.costs.user_tables import Costs
from qcore.setting import Setting
from store import Run, Store, all_runs, config_text, points_of, test_right


def rows_of(store: Store, run: Run, model: ModelSpec, aim: str = "") -> pd.DataFrame:
    """`methods.run_rows` of a run; shared, so never change it.

    Args:
        store: The database.
        run: The run.
        model: Whose layers its points are of.
        aim: Objective of the comparison, which its points are judged by whatever it minimised
            itself. "" takes its own.
    """
    costs = store.costs
    floats = session.floats_of(store, run)
    aim = aim or run.spec.objective
    key = (str(store.url), model.digest, costs.stamp, session.version_of(run), aim, floats)
    return _rows(store, run, model, costs, key)


@st.cache_resource(show_spinner="Reading points", max_entries=128)
def _rows(
    _store: Store,
    _run: Run,
    _model: ModelSpec,
    _costs: Costs,
    key: tuple[Any, ...],
) -> pd.DataFrame:
    points = points_of(_store, [_run.id], windows=True)
    return methods.run_rows(points, _run, _model, _costs, floats=key[-1], aim=key[-2])


def setting(store: Store, run: Run) -> Setting:
    """What must be equal for this run's accuracies to be compared with another's."""
    metric = metric_of(session.points(store, run)[:1], run.spec.judge)
    digest = _digest(store, run, str(store.url), session.version_of(run))
    return Setting.of(run.spec, digest, metric)


@st.cache_resource(show_spinner=False, max_entries=512)
def _digest(_store: Store, _run: Run, url: str, version: session.Version) -> str:
    """Digest of the weights the run was measured with, from its first file; "" without one."""
    for stored in session.points(_store, _run):
        if stored.has_config:
            try:
                document = json.loads(config_text(_store, stored.id) or "")
                return str(document["model"]["digest"])
            except (ValueError, KeyError, TypeError):
                # a damaged file says nothing; taking it away will say what is wrong with it
                continue
    return ""


def ladders_like(store: Store, wanted: Setting) -> list[Run]:
    """Uniform runs of this setting: the ladder that is always drawn. Latest first.

    Tuned or not: only points that were not tuned are drawn.
    """
    return [
        run
        for run in all_runs(store, model=wanted.model)
        if is_ladder(run)
        and run.evaluations
        and judge({0: wanted, 1: replace(setting(store, run), tuning=wanted.tuning)}).comparable
    ]


def right_of(
    store: Store, points: Sequence[int], words: Words = CLASSIFIER
) -> dict[int, np.ndarray]:
    """Point number to what its test samples score, absent where not kept.

    Bool (n,), which were named right; or float (n,) where each has a number, a hundredth of what is
    shown: like shares, whose differences are told in points.
    """
    found = test_right(store, list(points)) if points else {}
    scale = words.factor / 100
    return {at: each if each.dtype == bool else scale * each for at, each in found.items()}
