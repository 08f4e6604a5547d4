"""Explore before and around its results: the model's facts, and what to do when there are none."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from pages.plots.heatmap import bit_heatmap
from pages.plots.style import CHART
from pages.shared import frames, session, text
from pages.shared.judged import CLASSIFIER, Words, words_for
from pages.shared.notes.float_note import float_note, warn
from pages.shared.runs import launch, live_progress
from qcore.allocation import FLOAT_BITS, BitAllocation, ModelSpec
from qcore.costs import COSTS, applicable
from qcore.float_check import far_off
from qcore.models.catalog import BUNDLED_NAMES, default_data, judge_of, read_models
from qcore.problem import Scores
from qcore.run_spec import RunSpec
from qcore.searches import SEARCHES
from qcore.setting import Setting
from store import Run, Store

# few images and few levels, all of them tested: a front for the impatient
QUICK: dict[str, Any] = {"calibration_images": 512, "search_images": 512, "reported": 8}
QUICK_SEARCHES: dict[str, dict[str, Any]] = {
    "uniform": {},
    "portfolio": {"points": 8, "exchanges": 4, "kinds": ["gradient", "gradient_pairs"]},
}


def pick_setting(mine: Sequence[Run], linked: Sequence[int] = ()) -> tuple[str, list[Run]]:
    """Pick the runs whose accuracies may be compared: one data set, one number of images.

    Args:
        mine: Runs of one model.
        linked: Numbers of the runs that a link names; where they are is where the page begins.
    """
    groups: dict[str, list[Run]] = {}
    for run in mine:
        groups.setdefault(Setting.of(run.spec).measuring.words, []).append(run)
    if not groups:
        return "", []
    names = sorted(groups, key=lambda name: -sum(run.evaluations for run in groups[name]))
    asked = {name: sum(run.id in linked for run in groups[name]) for name in names}
    chosen = max(names, key=lambda name: asked[name])
    if len(names) > 1:
        with st.sidebar:
            chosen = st.selectbox(
                "Measured on",
                names,
                index=names.index(chosen),
                key="on",
                bind="query-params",
                help="Scores on different samples are never shown together."
                if any(run.spec.judge for run in mine)
                else "Accuracies on different images are never shown together.",
            )
    return chosen, groups[chosen]


def first_data(name: str) -> str:
    """The data name a model is first searched on, or "" where a folder is to be given first."""
    found = default_data(name) if name in read_models() else ""
    return "" if found.endswith(":") else found


def facts(
    model: ModelSpec | None,
    search: Scores | None,
    test: Scores | None,
    words: Words = CLASSIFIER,
) -> None:
    """Say what the float network scores, on each split by itself.

    Args:
        model: The network, where its layers are known.
        search: The float network's scores on the search split, where known.
        test: Those on the test split, where known.
        words: What they are called.
    """
    parts = [
        f"{words.scores(scores)} on the {split} split"
        for scores, split in ((test, "test"), (search, "search"))
        if scores is not None
    ]
    if parts:
        name = "" if words.usual else f": {words.name}"
        st.markdown(f"Float network{name} {' · '.join(parts)}")
    warn(words.text(far_off(test or search, model.classes)) if model is not None else "")
    for warning in model.warnings if model is not None else ():
        st.warning(text.literal(warning))


def network_facts(model: ModelSpec) -> None:
    """Say what the network weighs, how much it computes, and what stays in float."""
    price = COSTS["weight_bytes"]
    sizes = [
        text.cost_text(price, price.total(model, BitAllocation.uniform(model.layers, bits, bits)))
        for bits in (FLOAT_BITS, 8, 4)
    ]
    macs = sum(layer.macs for layer in model.layers)
    parts = [
        f"Weights {sizes[0]} in float, {sizes[1]} at 8 bits, {sizes[2]} at 4",
        f"{len(model.layers)} layers, {text.significant(macs / 1e6)} M MACs",
    ]
    if model.coverage < 1:
        parts.append(f"{100 * (1 - model.coverage):.1f} % of weights stay in float")
    st.caption(f"{' · '.join(parts)}.")


def nothing_yet(store: Store, name: str, mine: Sequence[Run], model: ModelSpec | None) -> None:
    """Show what runs or what failed, what the ladder costs, and offer the first search."""
    active = [run for run in mine if run.state in text.ACTIVE]
    if active:
        st.header("Measuring the first allocations")
        st.write("Points appear here as soon as they are measured. You may close this page.")
        live_progress(store, mine, lambda run: run.spec.model == name)
        if model is not None:
            draw(model)
        return
    st.header("Nothing was measured for this model yet")
    failed = next((run for run in mine if run.state == "failed"), None)
    if failed is not None:
        st.error(text.literal(f"{failed.name} failed: {failed.error}"))
    if model is None:
        _first_search(store, name)
        return
    beside, ladder = st.columns([1, 2], gap="large")
    with beside:
        _first_search(store, name)
    with ladder:
        draw(model)


def _first_search(store: Store, name: str) -> None:
    words = words_for(judge_of(name))
    st.write(
        f"A search tries bit-widths per layer and measures what each costs in {words.name}. To "
        "begin, measure the same bits in every layer (2, 3, 4 and 8: the ladder to beat), then let "
        "the portfolio search spread the bits where they matter."
    )
    data = first_data(name)
    if data:
        far = float_note(store, session.model_facts(store, name), data)
        anyway = bool(far) and st.checkbox("Search it anyway", key="first-anyway")
        if st.button(
            "Start the first search",
            type="primary",
            icon=":material/play_arrow:",
            disabled=bool(far) and not anyway,
        ):
            _launch_quick(store, name, data, {**QUICK, "anyway": anyway})
        if name in BUNDLED_NAMES:
            st.caption(
                "On two idle cores the first points of resnet8 are there after 10 seconds. Then "
                "the front's points are tested on every test image; larger networks take minutes."
            )
        else:
            st.caption(text.literal(f"On {data}, as this network was added."))
    else:
        what = "a folder of images" if words.images else "data of its own"
        st.write(f"This model needs {what}: choose it on the Searches page.")
    st.page_link(
        "pages/views/searches.py", label="Set up a search", icon=":material/manage_search:"
    )


def recorded_words(compared: Sequence[Run]) -> str:
    """Which results were not measured here, as a sentence with a space before; "" for none."""
    origins = sorted({run.origin for run in compared if run.origin})
    if not origins:
        return ""
    return (
        f" Results {text.literal('; '.join(origins))}: made by this program, and any point can be "
        "measured again here."
    )


def search_here(store: Store, name: str, mine: Sequence[Run], compared: Sequence[Run]) -> None:
    """Where results were not measured here, offer to measure some: one click.

    Args:
        store: The database.
        name: The model.
        mine: All runs of the model.
        compared: Those shown.
    """
    if not any(run.origin for run in compared):
        return
    idle = not any(run.state in text.ACTIVE for run in mine)
    if (
        idle
        and not any(run.evaluations for run in mine if not run.origin)
        and st.button(
            "Search here, now",
            icon=":material/play_arrow:",
            help="These results were recorded elsewhere with this program; measure your own.",
        )
    ):
        like = compared[0].spec
        images = {
            "calibration_images": like.calibration_images,
            "search_images": like.search_images,
            "quantizer": like.quantizer,
            "rounding": like.rounding,
            "correction": like.correction,
            "images_seed": like.images_seed,
        }
        _launch_quick(store, name, like.data, {**QUICK, **images})


def _launch_quick(store: Store, name: str, data: str, settings: dict[str, Any]) -> None:
    quick = [
        (RunSpec(name, data, search, params, **settings), f"{SEARCHES[search].title} on {name}")
        for search, params in QUICK_SEARCHES.items()
    ]
    if launch(store, quick):
        st.rerun()


LADDER = (2, 3, 4, 8)
"""Weight bits of the steps; the first search measures just these, with activations in float."""

PRICED = ("weight_bytes", "model_bytes", "bit_ops")


def ladder_frame(model: ModelSpec) -> pd.DataFrame:
    """One row a step: "method" (how it is called) and its allocation."""
    rows = [
        (f"{bits} bits", BitAllocation.uniform(model.layers, bits, FLOAT_BITS)) for bits in LADDER
    ]
    return pd.DataFrame(rows, columns=["method", "allocation"])


def costs_frame(model: ModelSpec) -> pd.DataFrame:
    """What each step costs, to the byte and the operation."""
    return pd.DataFrame(
        [
            {
                "Every weight": row["method"],
                **{
                    f"{COSTS[name].title} (exact)": text.exact_cost_text(
                        COSTS[name], COSTS[name].total(model, row["allocation"])
                    )
                    for name in PRICED
                    if name in applicable(model)
                },
            }
            for row in ladder_frame(model).to_dict("records")
        ]
    )


def draw(model: ModelSpec) -> None:
    """Draw the ladder's bits and costs, and say that none of it was measured."""
    st.markdown("**The same bits in every layer: the ladder to beat**")
    st.plotly_chart(
        bit_heatmap(frames.bits_frame(ladder_frame(model), model)),
        key="ladder",
        config=CHART,
        alt="2, 3, 4 and 8 weight bits in every layer, activations in float.",
    )
    st.dataframe(
        costs_frame(model),
        hide_index=True,
        alt="Bytes and bit-operations of 2, 3, 4 and 8 bits in every layer.",
    )
    name = words_for(judge_of(model.name)).name
    st.caption(
        "Costs are exact: they follow from the layers' shapes, with activations in float. "
        f"**Not measured yet:** what each step costs in {name}; the first search measures that."
    )
