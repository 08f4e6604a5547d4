"""How the bits of layers went together in CMA-ES, beside how their damages add up."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import streamlit as st

from pages.plots.dependencies import layers_figure
from pages.plots.style import CHART
from pages.shared import session
from pages.shared.text import literal
from qcore.allocation import ModelSpec
from qcore.problem import SensitivityTable
from qcore.solvers.dependencies import (
    Agreement,
    interactions,
    kept_dependencies,
    rank_agreement,
    sign_agreement,
)
from store import Run, Store, all_runs, events

Figures = Mapping[str, Any]

MOST_OTHERS = 5
"""Runs with another seed that one is held against, newest first."""


def draw(store: Store, entry: Run, kept: Sequence[Figures], model: ModelSpec | None) -> None:
    """Draw them; nothing where a run sent no such figures.

    Args:
        store: The database.
        entry: The run.
        kept: Figures it sent with its progress.
        model: Its network, where known.
    """
    sent = [each["dependencies"] for each in kept if isinstance(each.get("dependencies"), Mapping)]
    if not sent:
        return
    found = kept_dependencies(kept)
    with st.expander("Dependencies between layers"):
        if not found:
            st.caption(literal(str(sent[-1].get("left_out", "Its figures cannot be read."))))
            return
        place = 0
        if len(found) > 1:
            place = st.selectbox(
                "At the end of",
                range(len(found)),
                index=longest(found),
                format_func=lambda at: _title(found[at]),
                key="dependencies",
            )
        shown = found[place]
        table = None if model is None else _table(store, model)
        pairs = None if table is None else interactions(table, shown["layers"], shown["part"])
        what = "weights" if shown["part"] == "weight" else "inputs"
        st.write(f"Correlation of the bits of {what} in the distribution that CMA-ES ended with.")
        st.plotly_chart(
            layers_figure(shown["layers"], shown["matrix"], "correlation"),
            key="dependencies-found",
            config=CHART,
            alt="Layers by layers: how their bits went together.",
        )
        if pairs is not None:
            st.write("How the damages of two layers add up, by gradients, at their fewest bits.")
            st.plotly_chart(
                layers_figure(shown["layers"], pairs, "interaction"),
                key="dependencies-pairs",
                config=CHART,
                alt="Layers by layers: how their damages add up by gradients.",
            )
        st.markdown(literal(said(shown, pairs, _others(store, entry, shown))))


def longest(found: Sequence[Figures]) -> int:
    """Which had most generations, in which the distribution could adapt; the first of equals."""
    return max(range(len(found)), key=lambda at: (int(found[at].get("generations", 0)), -at))


def _title(shown: Figures) -> str:
    count = int(shown.get("generations", 0))
    return f"{shown.get('title', 'descent')}, {count:,} generations"


def _table(store: Store, model: ModelSpec) -> SensitivityTable | None:
    tables = session.sensitivity_tables(store, model).values()
    return next((t for t in tables if t.kind == "gradient" and t.pairs is not None), None)


def _others(store: Store, entry: Run, shown: Figures) -> list[tuple[int, np.ndarray]]:
    """Number and matrix of finished runs that differ by their seed alone."""
    out = []
    for other in sorted(all_runs(store, entry.spec.model), key=lambda run: -run.id):
        same = replace(other.spec, seed=entry.spec.seed, images_seed=entry.spec.images_seed)
        if other.id == entry.id or other.state != "done" or same != entry.spec:
            continue
        kept = [e.data for e in events(store, other.id, kinds=["figures"]) if e.data is not None]
        found = [
            each
            for each in kept_dependencies(kept)
            if (each["layers"], each["part"]) == (shown["layers"], shown["part"])
        ]
        if found:
            out.append((other.id, found[longest(found)]["matrix"]))
        if len(out) == MOST_OTHERS:
            break
    return out


def said(shown: Figures, pairs: np.ndarray | None, others: Sequence[tuple[int, np.ndarray]]) -> str:
    """Whether seeds agree, and the gradients, in sentences. Pure.

    Args:
        shown: One of `kept_dependencies`.
        pairs: The interactions of the same layers, where known.
        others: Number and matrix of runs with another seed.
    """
    if len(shown["layers"]) < 3:
        return "Two layers are one pair: nothing can be told apart from chance."
    words = []
    for number, matrix in others:
        agreed = rank_agreement(shown["matrix"], matrix)
        words.append(
            f"Run {number}, another seed: rank correlation {agreed.value:+.2f} over "
            f"{agreed.pairs} pairs (chance {agreed.low:+.2f} to {agreed.high:+.2f}): "
            f"{_verdict(agreed, 'they agree')}."
        )
    if not others:
        words.append("No finished run differs by its seed alone, so agreement is not known.")
    if pairs is None:
        words.append("No gradient sensitivity with pairs of these layers is stored.")
    else:
        signs = sign_agreement(shown["matrix"], pairs)
        words.append(
            f"Damages that add up should make bits go opposite ways: signs are opposite at "
            f"{100 * signs.value:.0f} % of {signs.pairs} pairs (chance {100 * signs.low:.0f} to "
            f"{100 * signs.high:.0f} %): {_verdict(signs, 'gradients and search agree')}."
        )
    return " ".join(words)


def _verdict(agreed: Agreement, words: str) -> str:
    return words if agreed.shown else "no more than chance"
