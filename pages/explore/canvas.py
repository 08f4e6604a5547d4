"""Explore with the budget explorer: dragging happens in the browser, details follow on release.

The way of a point to its pixels: the address is read into a `View` and what is `Held`, the scene's
points are thinned to rows, rows and view become the payload, the component draws it.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from pages.explore import details, payload, reference
from pages.explore.component import budget_explorer
from pages.explore.payload import picks
from pages.explore.scene import Scene
from pages.explore.view import View, costs_of_points, query_of, read_view
from pages.shared import predictions, session
from pages.shared.held import Held, held_of, held_of_text
from pages.shared.judged import Words
from pages.shared.ranges import BUDGETS, LOSSES, PER_WEIGHT, budget_keys
from pages.shared.typed import typed_budget
from qcore.costs import COSTS
from qcore.costs.budget import cheapest_total
from qcore.problem import SensitivityTable

OWN_KEYS = (
    *(key for name in (*BUDGETS, PER_WEIGHT, *LOSSES) for key in budget_keys(name)),
    "x",
    "y",
    "focus",
    "held",
)
"""Keys of the page's address that only the explorer writes."""

TYPED = "explorer-typed"
"""Session key: how many budgets were typed; each begins the explorer anew."""

GAP = "explorer-gap"
"""Session key: the address of the search of a gap that was asked for."""


def draw_measured(
    scene: Scene, setting: str, float_score: float | None
) -> tuple[pd.DataFrame, View, Held]:
    """Draw what was measured.

    Args:
        scene: The model, its runs and their points.
        setting: Names the samples that scores were measured on.
        float_score: The float network's score on the search split as it is shown, where known.

    Returns:
        The points that are drawn, with the columns "selectable" and "kept", what the reader has
        set, and what is set on layers.
    """
    query = st.session_state.pop(GAP, None)
    if query:
        st.switch_page("pages/views/searches.py", query_params=query)
    identity = f"{scene.model.digest}/{setting}/{st.session_state.get(TYPED, 0)}"
    view = read_view(
        st.query_params.to_dict(),
        scene.spans,
        costs_of_points(scene.frame, scene.spans),
        scene.costs,
        scene.words,
    )
    held = held_of_text(st.query_params.get("held", ""), scene.model)
    tables = session.sensitivity_tables(scene.store, scene.model)
    shared = payload.shared_payload(
        identity,
        scene.model,
        _first(identity, view),
        scene.spans,
        locked=scene.pinned,
        table=next(iter(tables.values()), None),
        words=scene.words,
        held=_first_held(identity, held),
    )
    versions = (*(session.version_of(run) for run in scene.compared), scene.costs.stamp)
    key = (str(scene.store.url), scene.model.digest, versions, held, scene.words, float_score)
    rows, body = _measured(scene, key)
    measured = {**shared, **payload.marked(body, scene.reference, scene.costs)}
    budget_explorer(measured, partial(_told, scene, rows))
    return rows, view, held


def draw_predicted(scene: Scene, name: str, table: SensitivityTable) -> None:
    """Draw what a sensitivity table predicts; the browser solves it again while dragging.

    Args:
        scene: The model, its runs and their points.
        name: What to call the method.
        table: The sensitivities.
    """
    identity = f"{scene.model.digest}/{name}/{st.session_state.get(TYPED, 0)}"
    view = read_view(
        st.query_params.to_dict(),
        scene.spans,
        _cheapest(scene, table),
        scene.costs,
        scene.words,
    )
    held = held_of_text(st.query_params.get("held", ""), scene.model)
    shared = payload.shared_payload(
        identity,
        scene.model,
        _first(identity, view),
        scene.spans,
        locked=scene.pinned,
        table=table,
        words=scene.words,
        held=_first_held(identity, held),
    )
    limits = view.limits(scene.spans)
    chosen = predictions.predicted_pick(name, table, scene.model, limits, scene.costs, held)
    body = payload.predicted_payload(
        shared, scene.model, scene.spans, name, table, chosen, limits, scene.costs, held
    )
    budget_explorer(body, partial(_told, scene, None))
    with st.container():
        if chosen.empty and held:
            details.none_held()
        elif chosen.empty:
            size = next(iter(scene.spans))
            front = session.predicted_front(name, table, scene.model, size, scene.costs)
            details.below_smallest(front, limits, scene.costs, "predicted")
        details.draw_predicted(scene, chosen, table)


def typed_budgets(scene: Scene) -> None:
    """Boxes to type budgets into; what is typed moves the explorer's dials.

    Args:
        scene: The model, its runs and their points.
    """
    with st.popover("Type a budget", icon=":material/keyboard:"):
        for name, span in scene.spans.items():
            cost = scene.costs[name]
            typed_budget(cost, span, scene.model, scene.widest, partial(_take, name))


def _take(cost: str, value: float) -> None:
    """Set a dial: the address says where, and the explorer begins anew from there."""
    slider, switch = budget_keys(cost)
    st.query_params.update({slider: repr(value), switch: "true"})
    st.session_state[TYPED] = st.session_state.get(TYPED, 0) + 1


def _first(identity: str, view: View) -> View:
    """What was set when the page was opened; it stays while it is dragged, so is sent once."""
    opened = st.session_state.setdefault("explorer-opened", {})
    if opened.get("id") != identity:
        opened.clear()
        opened.update(id=identity, view=view)
        for sentence in view.wrong:
            st.toast(sentence, icon=":material/link_off:")
    first: View = opened["view"]
    return first


def _first_held(identity: str, held: Held) -> Held:
    """What was set on layers when the page was opened, as `_first`."""
    opened = st.session_state["explorer-opened"]
    first: Held = opened.setdefault("held", held)
    return first


def _cheapest(scene: Scene, table: SensitivityTable) -> dict[str, np.ndarray]:
    """The cheapest that a table prices, of each cost with a budget."""
    options = predictions.table_options(table, scene.model)
    return {
        name: np.array([cheapest_total(COSTS[name], scene.model, options)], float)
        for name in scene.spans
    }


@st.cache_resource(show_spinner=False, max_entries=8)
def _measured(
    _scene: Scene, key: tuple[str, str, tuple[object, ...], Held, Words, float | None]
) -> tuple[pd.DataFrame, dict[str, Any]]:
    *_, held, words, float_score = key
    most = picks.most_selectable(_scene.model, _scene.frame["method"].nunique())
    rows = picks.drawn(_scene.frame, list(_scene.spans), most, held=held)
    answers = session.answers(_scene.store, rows.loc[rows["selectable"], "config_point"])
    return rows, payload.measured_body(
        _scene.model, rows, words, float_score, _scene.spans, _scene.costs, answers
    )


def _gap(scene: Scene, value: Mapping[str, Any]) -> dict[str, str] | None:
    """The address of a search of a stretch of cost; None where the browser sent nonsense."""
    cost, high, run = (value.get(name) for name in ("cost", "high", "run"))
    known = {run.id for run in scene.compared}
    if cost not in scene.costs or not isinstance(high, (int, float)) or not 0 < high < 1e18:
        return None
    like = run if run in known else max(known)
    return {"near": f"{cost}:{int(high)}", "like": str(like)}


def _told(scene: Scene, rows: pd.DataFrame | None, name: str, value: Any) -> None:
    """Do what the reader did in the browser; `value` comes from there and may hold anything."""
    if not isinstance(value, Mapping):
        return
    if name == "commit":
        query = query_of(value, scene.spans, scene.costs)
        held = held_of(value.get("held"), scene.model).to_text(scene.model)
        query |= {"held": held} if held else {}
        for key in ("pt", *OWN_KEYS):
            if key not in query and key in st.query_params:
                del st.query_params[key]
        st.query_params.update(query)
    elif name == "open":
        st.query_params["pt"] = f"{value.get('run')}:{value.get('id')}"
    elif name == "gap":
        st.session_state[GAP] = _gap(scene, value)
    elif name == "pin" and rows is not None:
        row = reference.row_of(rows, value.get("run"), value.get("id"))
        if row is not None:
            details.keep(scene, row)
