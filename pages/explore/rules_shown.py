"""Explore's device rules: those of the runs shown; what is set on layers as rules of a search."""

from collections.abc import Sequence

import streamlit as st

from pages.explore.canvas import TYPED
from pages.explore.scene import Scene
from pages.shared.held import NOTHING, Held, held_of_text
from pages.shared.rules.entries import entries_of, text_of
from pages.shared.rules.held_rules import held_of_rules, rules_of_held
from pages.shared.rules.words import rules_words
from pages.shared.run_numbers import run_words
from pages.shared.text import literal
from qcore.costs.budget import make_options
from qcore.errors import QcoreError
from qcore.rules.rule import Rule
from qcore.run_spec import RunSpec
from store import Run


def draw(scene: Scene, basic: bool) -> None:
    """Say what rules the runs shown had, and offer what is set on layers to a search.

    Args:
        scene: The model and its runs.
        basic: Whether the native controls are shown, which say themselves what is set on layers.
    """
    by_rules: dict[tuple[Rule, ...], list[Run]] = {}
    for run in scene.compared:
        by_rules.setdefault(run.spec.rules, []).append(run)
    held = NOTHING if basic else held_of_text(st.query_params.get("held", ""), scene.model)
    ruled = {rules: runs for rules, runs in by_rules.items() if rules}
    if not ruled and not held:
        return
    with st.expander(
        "Device rules of these runs" if basic else "Device rules",
        icon=":material/rule:",
        expanded=bool(held),
    ):
        for at, (rules, runs) in enumerate(ruled.items()):
            _of_runs(scene, at, rules, runs)
        if ruled and () in by_rules:
            st.caption(
                f"Without rules: {run_words([run.id for run in by_rules[()]])}. What they measured "
                "may break the rules above."
            )
        if held:
            as_rules(scene, rules_of_held(held, scene.model))


def _of_runs(scene: Scene, at: int, rules: Sequence[Rule], runs: Sequence[Run]) -> None:
    words = run_words([run.id for run in runs])
    st.markdown(f"**{words[:1].upper()}{words[1:]}**: {literal(rules_words(rules))}")
    held = _held_of_run(scene, runs[0].spec)
    if held:
        st.button(
            "Set these on the layers",
            key=f"hold-{at}",
            icon=":material/lock:",
            on_click=_impose,
            args=(held.to_text(scene.model),),
            help="Only what keeps them is shown and predicted then.",
        )
        if any(rule.pairs for rule in rules):
            st.caption(
                "Pairs cannot be set on layers: each of their widths is allowed there, with any."
            )


def _held_of_run(scene: Scene, spec: RunSpec) -> Held:
    layers = scene.model.layers
    widths = (spec.weight_bits, spec.activation_bits, spec.pin_first_last)
    try:
        return held_of_rules(spec.resolved(layers), make_options(layers, *widths), scene.model)
    except QcoreError:
        # the network was replaced since: its layers are others now
        return NOTHING


def _impose(words: str) -> None:
    # the drawing begins anew with what is set
    st.session_state[TYPED] = st.session_state.get(TYPED, 0) + 1
    st.query_params["held"] = words


def as_rules(scene: Scene, rules: Sequence[Rule]) -> None:
    """Say what is set on layers, and offer it to a search."""
    st.markdown(f"**Set on the layers**: {literal(rules_words(rules))}")
    newest = max(run.id for run in scene.compared)
    st.page_link(
        "pages/views/searches.py",
        label="Use these as rules of a search",
        icon=":material/manage_search:",
        query_params={
            "model": scene.model.name,
            "like": str(newest),
            "near": "",
            "rules": text_of(entries_of(rules)),
        },
    )
