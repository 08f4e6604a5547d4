"""Explore with the budget explorer: dragging happens in the browser, details follow on release."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from pages.explore import details, payload, pick, reference
from pages.explore.basic import below_smallest, widest_of
from pages.explore.component import budget_explorer
from pages.explore.details import Scene
from pages.explore.view import View, query_of, read_view
from pages.shared import frames, predictions, session
from pages.shared.budgets import BUDGETS, Range
from pages.shared.columns import COST_COLUMNS
from qcore.costs import COSTS
from qcore.costs.budget import cheapest_total
from qcore.problem import SensitivityTable

OWN_KEYS = (*(key for pair in BUDGETS.values() for key in pair), "x", "focus")
"""Keys of the page's address that only the explorer writes."""


def draw_measured(scene: Scene, setting: str, float_score: float | None, what: str) -> None:
    """Draw what was measured.

    Args:
        scene: The model, its runs and their points.
        setting: Names the images that scores were measured on.
        float_score: The float network's score on the search split in percent, where known.
        what: What the scores are: "Accuracy" or "Agreement with the float network".
    """
    rows, body = _measured_body(scene, what, float_score)
    spans, view, shared = _prepare(scene, f"{scene.model.digest}/{setting}")
    _explorer(scene, {**shared, **reference.marked(body, scene.reference)}, rows, spans)
    _thinned(scene.frame, rows)
    limits = view.limits(spans)
    chosen = frames.picks(rows[rows["selectable"]], limits)
    row = _opened(scene, view)
    if chosen.empty:
        below_smallest(scene.frame, limits)
        if row is None:
            return
    else:
        details.picks_table(chosen, what)
    if row is None:
        row = _in_focus(chosen, view.focus)
    _heading(row, view)
    details.draw(scene, row, limits if view.point is None else None)


def draw_predicted(scene: Scene, name: str, table: SensitivityTable) -> None:
    """Draw what a sensitivity table predicts; the browser solves it again while dragging.

    Args:
        scene: The model, its runs and their points.
        name: What to call the method.
        table: The sensitivities.
    """
    spans, view, shared = _prepare(scene, f"{scene.model.digest}/{name}", table)
    limits = view.limits(spans)
    chosen = predictions.predicted_pick(name, table, scene.model, limits)
    body = payload.predicted_payload(shared, scene.model, spans, name, table, chosen, limits)
    _explorer(scene, body, None, spans)
    if chosen.empty:
        front = session.predicted_front(name, table, scene.model, "weight_bytes")
        below_smallest(front, limits, "predicted")
    details.draw_predicted(scene, chosen, table)


def _prepare(
    scene: Scene, identity: str, table: SensitivityTable | None = None
) -> tuple[dict[str, Range], View, dict[str, Any]]:
    spans = payload.spans_of(scene.model, list(BUDGETS), widest_of(scene.frame))
    view = read_view(st.query_params.to_dict(), spans, _reached(scene, table))
    # what the browser starts from stays the same while it is dragged, so that it is sent once
    opened = st.session_state.setdefault("explorer-opened", {})
    if opened.get("id") != identity:
        opened.update(id=identity, view=view)
        for sentence in view.wrong:
            st.toast(sentence, icon=":material/link_off:")
    tables = session.sensitivity_tables(scene.store, scene.model)
    ranked_by = table or next(iter(tables.values()), None)
    pinned = all(run.spec.pin_first_last is not None for run in scene.compared)
    shared = payload.shared_payload(
        identity, scene.model, opened["view"], spans, locked=pinned, table=ranked_by
    )
    return spans, view, shared


def _reached(scene: Scene, table: SensitivityTable | None) -> dict[str, np.ndarray]:
    """What known points cost: those measured, or the cheapest that a table prices."""
    if table is None:
        columns = {name: COST_COLUMNS[name] for name in BUDGETS}
        known = {name: column for name, column in columns.items() if column in scene.frame}
        return {name: scene.frame[column].to_numpy(float) for name, column in known.items()}
    options = predictions.table_options(table, scene.model)
    return {
        name: np.array([cheapest_total(COSTS[name], scene.model, options)], float)
        for name in BUDGETS
    }


def _measured_body(
    scene: Scene, what: str, float_score: float | None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    versions = tuple(session.version_of(run) for run in scene.compared)
    return _body(scene, (str(scene.store.url), scene.model.digest, versions, what, float_score))


@st.cache_resource(show_spinner=False, max_entries=8)
def _body(
    _scene: Scene, key: tuple[str, str, tuple[session.Version, ...], str, float | None]
) -> tuple[pd.DataFrame, dict[str, Any]]:
    *_, what, float_score = key
    methods = _scene.frame["method"].nunique()
    most = payload.most_selectable(_scene.model, methods, pick.MOST_SELECTABLE)
    rows = pick.drawn(_scene.frame, list(BUDGETS), most)
    spans = payload.spans_of(_scene.model, list(BUDGETS), widest_of(_scene.frame))
    return rows, payload.measured_body(_scene.model, rows, what, float_score, spans)


def _explorer(
    scene: Scene, body: Mapping[str, Any], rows: pd.DataFrame | None, spans: Mapping[str, Range]
) -> None:
    def on_event(name: str, value: Any) -> None:
        if not isinstance(value, Mapping):
            return
        if name == "commit":
            query = query_of(value, spans)
            for key in ("pt", "focus"):
                if key in st.query_params:
                    del st.query_params[key]
            st.query_params.update(query)
        elif name == "open":
            st.query_params["pt"] = f"{value.get('run')}:{value.get('id')}"
        elif name == "pin" and rows is not None:
            row = reference.row_of(rows, value.get("run"), value.get("id"))
            if row is not None:
                details.keep(scene, row)

    budget_explorer(body, on_event)


def _thinned(frame: pd.DataFrame, rows: pd.DataFrame) -> None:
    if len(rows) < len(frame):
        st.caption(
            f"{len(rows):,} of {len(frame):,} points are drawn; those that a budget can pick are "
            f"among them, at most {int(rows['selectable'].sum()):,}."
        )


def _opened(scene: Scene, view: View) -> pd.Series | None:
    """The point that was clicked, or that a link names."""
    if view.point is None:
        return None
    row = reference.row_of(scene.frame, *view.point)
    if row is None:
        st.toast(
            f"Point {view.point[1]} of run {view.point[0]} is not among these results any more.",
            icon=":material/link_off:",
        )
        del st.query_params["pt"]
    return row


def _in_focus(chosen: pd.DataFrame, focus: str) -> pd.Series:
    ranked = details.ranked(chosen)
    wanted = ranked[ranked["method"] == focus]
    return (ranked if wanted.empty else wanted).iloc[0]


def _heading(row: pd.Series, view: View) -> None:
    st.subheader("Take it away")
    clicked = view.point is not None
    what = "the point you clicked" if clicked else "the pick in focus"
    st.markdown(details.score_words(row, what))
