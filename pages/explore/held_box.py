"""What layers may have, set with native controls as with the drawing's cells; and by rules."""

from collections.abc import Mapping, Sequence

import streamlit as st

from pages.explore.rules_shown import as_rules
from pages.explore.scene import Scene
from pages.shared.held import NOTHING, Held, held_of_text
from pages.shared.rules.editor import rules_editor
from pages.shared.rules.findings import Findings
from pages.shared.rules.held_rules import held_of_rules, rules_of_held
from pages.shared.text import literal, tidy
from qcore.allocation import LayerBits, ModelSpec, in_order, width_text
from qcore.rules.ties import PARTS, WORDS, Part

Options = Mapping[str, Sequence[LayerBits]]
"""Layer name to what it may have where nothing is set."""

BOTH = "both"
OF: dict[str, tuple[Part, ...]] = {
    "weights": ("weight",),
    "activations": ("activation",),
    BOTH: PARTS,
}
"""What of some layers is set."""


def held_box(scene: Scene, base: Options, predicts: bool) -> Held | None:
    """Draw the box.

    Args:
        scene: The model.
        base: What layers may have where nothing is set.
        predicts: Whether they are for a prediction, which rules that are written decide too.

    Returns:
        What is set on layers, by rules and in the page's address, later ones last; nothing where
        it is ignored, and None while the rules cannot be.
    """
    model = scene.model
    link = held_of_text(st.query_params.get("held", ""), model)
    with st.expander("Device rules", icon=":material/rule:", expanded=bool(link)):
        st.caption(
            "The prediction keeps what is set here: the front and the pick are exact under it."
            if predicts
            else "Of what was measured only what has this is shown."
        )
        with st.container(horizontal=True, vertical_alignment="center"):
            keep = st.toggle(
                "Keep what is set",
                True,
                key="native-keep",
                help="Off shows what there would be if nothing were set; it stays set.",
            )
            st.button(
                "Clear",
                key="native-clear",
                icon=":material/clear_all:",
                disabled=not link,
                on_click=_set,
                args=(NOTHING, model),
                help="Lets go of all that is set on layers; rules below stay.",
            )
        _on_layers(model, base, link)
        found = _written(model, base) if predicts else Findings()
        rules = (*found.rules, *rules_of_held(link, model))
        if rules:
            as_rules(scene, rules)
    if not keep:
        return NOTHING
    if found.wrong:
        st.error(f"Nothing is predicted: {literal(found.wrong)}", icon=":material/error:")
        return None
    ruled = NOTHING if found.resolved is None else held_of_rules(found.resolved, base, model)
    return Held((*ruled.rules, *link.rules))


def _written(model: ModelSpec, base: Options) -> Findings:
    weights, inputs = (
        in_order(getattr(bits, part) for row in base.values() for bits in row) for part in PARTS
    )
    return rules_editor("predicted-rules", model, weights, inputs)


def _on_layers(model: ModelSpec, base: Options, link: Held) -> None:
    """Choose layers, then say what they may have, tie them, or let them go."""
    layers = st.multiselect(
        "Layers",
        model.names,
        format_func=lambda name: tidy(name, 60),
        key=f"native-layers-{model.digest}",
        placeholder="those to set something on",
    )
    part = str(
        st.segmented_control("Of them", list(OF), default="weights", required=True, key="native-of")
    )
    parts = OF[part]
    offered = in_order(
        getattr(bits, each) for name in layers or base for bits in base[name] for each in parts
    )
    widths = st.pills(
        "Widths",
        offered,
        selection_mode="multi",
        format_func=width_text,
        # others are offered by another one
        key=f"native-widths-{part}-{offered}",
        help="One locks them; several are what they may have.",
        wrap=True,
    )
    named = [name for name in model.names if name in layers]
    # ids that are looked up have no bits that could be set
    of = {
        each: [x.name for x in model.layers if x.name in named and not _no_bits(x.looks_up, each)]
        for each in parts
    }
    allowed, tied, free = link, link, link
    for each, mine in of.items():
        allowed = allowed.allowing(mine, each, widths)
        tied = tied.tying(mine, each)
        free = free.letting_go(mine, each)
    with st.container(horizontal=True):
        _button("Allow these widths", "lock", bool(named and widths), allowed, model)
        _button("Tie", "link", any(len(mine) > 1 for mine in of.values()), tied, model)
        _button("Let go", "lock_open", free != link, free, model)


def _no_bits(looks_up: bool, part: Part) -> bool:
    return looks_up and WORDS[part] == "activations"


def _button(label: str, icon: str, possible: bool, then: Held, model: ModelSpec) -> None:
    st.button(
        label,
        key=f"native-{icon}",
        icon=f":material/{icon}:",
        disabled=not possible,
        on_click=_set,
        args=(then, model),
    )


def _set(held: Held, model: ModelSpec) -> None:
    words = held.to_text(model)
    if words:
        st.query_params["held"] = words
    elif "held" in st.query_params:
        del st.query_params["held"]
