"""Sections of the Compare page below the choices: each draws one thing from what was read."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import streamlit as st

from pages.compare import caption as compare_caption
from pages.compare import chance, controls, figures, read, tables
from pages.compare.methods import EFFORT, ELAPSED, Method, front_rows
from pages.downloads.figure_file import figure_files
from pages.downloads.tables_out import latex
from pages.plots import allocations
from pages.plots.style import CHART
from pages.shared import text
from pages.shared.columns import OBJECTIVE, SEARCH_LOSS
from pages.shared.hypervolume import Box
from pages.shared.judged import CLASSIFIER, Words
from pages.shared.words import explained
from qcore.allocation import ModelSpec
from qcore.costs.user_tables import Costs
from qcore.errors import QcoreError
from qcore.problem import Scores
from qcore.setting import Setting
from store import Store

FRONTS = "compare-fronts"

MOST_CARPETS = 8

METHOD_WIDTH = {"Method": st.column_config.TextColumn(width=190)}
"""Two methods of one search begin alike; what tells them apart comes after."""


@dataclass(frozen=True)
class Comparison:
    """Everything the sections draw.

    Attributes:
        store: The database.
        setting: What all runs share.
        model: The network.
        methods: What is compared.
        ladder: Points of uniform bits, or None.
        box: What hypervolume counts; names the cost on the x axis.
        budgets: Budgets of the tables, in that cost's unit.
        float_search: The float network's scores on the search split.
        equal_at: Evaluations at which hypervolumes are held against one another, or None.
        logarithmic: Whether cost axes are.
        words: What figures are called.
    """

    store: Store
    setting: Setting
    model: ModelSpec
    methods: Sequence[Method]
    ladder: pd.DataFrame | None
    box: Box
    budgets: Sequence[float]
    float_search: Scores | None
    equal_at: float | None
    logarithmic: bool
    words: Words = CLASSIFIER

    @property
    def costs(self) -> Costs:
        """The costs there are."""
        return self.store.costs

    @property
    def what(self) -> str:
        """What is measured, as titles say it."""
        return self.words.title

    def run_of(self, point: int) -> int | None:
        """Number of the run a drawn point belongs to."""
        for method in self.methods:
            for trial in method.trials:
                if (trial.rows["point"] == point).any():
                    return trial.run.id
        return None


def fronts(found: Comparison) -> None:
    """Overlaid fronts; a click on a point puts it into the difference below."""
    cost = found.box.cost
    tables = [trial.rows for method in found.methods for trial in method.trials]
    offered = figures.heights(found.words, found.box.aim, tables)
    st.header(f"Fronts against {cost.title.lower()}")
    shows = str(
        st.segmented_control(
            "Vertical axis",
            list(offered),
            default=next(iter(offered)),
            required=True,
            key="compare-shows",
            label_visibility="collapsed",
        )
    )
    height = offered[shows]
    figure = figures.fronts_figure(
        found.methods,
        found.ladder,
        cost,
        height,
        float_value=_float_value(found, height),
        limits=found.budgets,
        logarithmic=found.logarithmic,
    )
    st.plotly_chart(
        figure,
        key=FRONTS,
        config=CHART,
        on_select=lambda: controls.clicked(FRONTS, found.run_of),
        selection_mode="points",
        alt=f"{height.title} against {cost.title.lower()}, one front per run.",
    )
    intervals = (
        "Bars are 95 % intervals"
        if height.ends and figures.has_bars(found.methods)
        else "Hovering tells 95 % intervals"
    )
    words = (
        "All figures are measured. Step lines are fronts of what the searches minimised, one per "
        f"run: nothing is achievable between points. {intervals}; thin dotted lines are the "
        "budgets of the tables. Click a point to take it into the difference below."
    )
    if found.ladder is None:
        words += (
            " No uniform bits were measured in this setting: start a Uniform bits search to see "
            "what there is to beat."
        )
    st.caption(words, help=explained("front", "95 % interval", by=found.words))
    title = f"{shows} against {cost.title.lower()}: {found.model.name}"
    figure_files(figure, title, f"fronts_{found.model.name[:60]}_{cost.name[:60]}", "compare-html")


def _float_value(found: Comparison, height: figures.Height) -> float | None:
    """The float network's value of what is drawn; None where it has no place or is not known."""
    if height.column == SEARCH_LOSS:
        return 0.0
    if height.column == OBJECTIVE:
        return found.box.zero if found.box.aim == "loss" else None
    if found.float_search is None:
        return None
    return found.words.factor * found.float_search.headline


def hypervolume(found: Comparison) -> None:
    """Hypervolume over evaluations and over seconds."""
    st.header("Hypervolume against work")
    left_out = [
        f"{method.label} ({why})"
        for method in found.methods
        if (why := method.no_hypervolume(found.box))
    ]
    for column, axis in zip(st.columns(2), (EFFORT, ELAPSED), strict=True):
        figure = figures.hypervolume_figure(
            found.methods, found.box, axis, found.equal_at if axis == EFFORT else None
        )
        title = f"Hypervolume of each method against {figures.AXES[axis].lower()}"
        with column:
            st.plotly_chart(figure, key=f"compare-hv-{axis}", config=CHART, alt=f"{title}.")
            stem = f"hypervolume_{found.model.name[:60]}_{axis.partition(',')[0].lower()}"
            figure_files(figure, f"{title}: {found.model.name}", stem, f"compare-hv-html-{axis}")
    st.caption(
        f"Share of the box that points dominate: {found.box.words()}. Lines are medians over "
        "seeds, bands run from the smallest to the largest seed. Looking at a part of the search "
        "split counts as that part of an evaluation. Seconds are those of scoring; of searches "
        "that train, all other time of the run counts before its first point.",
        help=explained("hypervolume", "seed", by=found.words),
    )
    if left_out:
        st.caption(
            "A hypervolume is that of a front, so these have none: "
            f"{text.literal('; '.join(left_out), 600)}."
        )


def table(found: Comparison, summary: pd.DataFrame) -> None:
    """What each method reached, and the same as a file."""
    st.header("What each method reached")
    cost = found.box.cost
    st.dataframe(
        tables.shown(summary, found.equal_at),
        hide_index=True,
        column_config=METHOD_WIDTH,
        alt="Hypervolume, activation bits, evaluations, minutes and seeds per method.",
    )
    at = ""
    if found.equal_at is not None:
        at = (
            f" It is taken at {text.counted(round(found.equal_at), 'evaluation')} of the whole "
            "search split, the count of the shortest search that trains nothing where there is "
            "one; the uniform ladder is taken whole."
        )
    st.caption(
        "Hypervolume is the median over seeds, with the lowest and the highest seed. Minutes run "
        f"from a run's start to its end, pauses included.{at}"
    )
    st.dataframe(
        found.words.heads(tables.within(summary, cost, found.budgets, found.model)),
        hide_index=True,
        column_config=METHOD_WIDTH,
        placeholder="",
        alt="What each method loses against the float network at each budget, and what it uses.",
    )
    n = int(summary["Search images"].min())
    st.caption(
        f"Loss is {found.words.name} lost against the float network on the same "
        f"{found.words.samples}, mean "
        f"over seeds; round brackets are 95 % intervals over {found.words.samples}, not corrected "
        "for their "
        "number. Each run's point is its best by what the search minimises, within the budget: "
        f"the row says what it really uses. Where it was not tested, the loss is that on the "
        f"search split (n={n:,}), which chose it, and so slightly optimistic.",
        help=explained("search split", "test split", "95 % interval", by=found.words),
    )
    st.download_button(
        "Table as CSV",
        data=lambda: tables.csv_of(found.words.heads(summary)),
        file_name=tables.file_name(found.model.name, cost.name),
        mime="text/csv",
        key="compare-csv",
        on_click="ignore",
        icon=":material/download:",
    )


def paired(found: Comparison) -> None:
    """Differences on the same test images, with words for what they mean."""
    st.header("Is the difference more than chance?")
    labels = [method.label for method in found.methods]
    if len(labels) < 2:
        st.info(
            "One method alone has nothing to differ from; choose runs of another one too.",
            icon=":material/compare_arrows:",
        )
        return
    first = next((m.label for m in found.methods if m.reference), labels[0])
    baseline = str(
        st.selectbox(
            "Difference from", labels, index=labels.index(first), key="compare-baseline", width=360
        )
    )
    try:
        rows = chance.paired_table(
            found.methods,
            baseline,
            found.box.cost,
            found.budgets,
            lambda points: read.right_of(found.store, points, found.words),
        )
    except QcoreError as error:
        st.error(text.literal(str(error), 400), icon=":material/error:")
        return
    taken = rows["Difference, points"].notna()
    rows["In words"] = rows["In words"].str.replace("is more accurate", found.words.better)
    st.dataframe(
        found.words.heads(pd.concat([rows[taken], rows[~taken]])),
        hide_index=True,
        placeholder="",
        column_config={
            **METHOD_WIDTH,
            "In words": st.column_config.TextColumn(width="large"),
            found.words.head("Test images"): st.column_config.NumberColumn(format="localized"),
        },
        alt=f"{found.what} of every method minus that of the baseline at each budget.",
    )
    compared = int(taken.sum())
    told = (
        "Both sides answer the same test images; each run's point is the one chosen on the search "
        "split among those that were tested. A difference is only taken where both use all of the "
        f"budget but {100 * chance.NEAR:.0f} %: else it would be one of sizes. Whether one method "
        "is better is a question of images and of seeds: with another seed a search finds another "
        "network. How far a seed moves the true accuracy of a pick is estimated at each budget "
        "from all methods with two or more seeds, and taken to be alike for the others; a method "
        "whose own seeds lie further apart is given its own (t test). Where no method has two "
        "seeds, two networks are compared and nothing is said of their methods (exact McNemar "
        "test). p-values are corrected for "
        f"{text.counted(compared, 'comparison')} (Holm), and intervals are as wide: 95 % for all "
        "together. Words follow p below 0.05; with two or three seeds only large differences get "
        "there."
    )
    st.caption(found.words.text(told), help=explained("seed", "test split", by=found.words))
    if not compared:
        st.caption(
            "No difference can be taken at these budgets: write budgets at which both sides have "
            "tested points."
        )
    if len({method.trained for method in found.methods}) > 1:
        st.caption(TRAINING_TOO)


TRAINING_TOO = (
    "Some of these methods have trained weights and others do not: their difference is that of the "
    "training as well as of the bits."
)


def allocations_along_fronts(found: Comparison) -> None:
    """Every allocation along each method's front, side by side."""
    st.header("Allocations along the fronts")
    drawn = [method for method in found.methods if not method.reference][:MOST_CARPETS]
    quantized = any(
        bits.activation != 32
        for method in drawn
        for allocation in method.trials[0].rows["allocation"]
        for bits in allocation.values()
    )
    part = "weights"
    if quantized:
        part = str(
            st.segmented_control(
                "Bits of",
                ["weights", "activations"],
                default="weights",
                required=True,
                key="compare-part",
            )
        )
    columns = st.columns(2) if len(drawn) > 1 else [st.container()]
    for place, method in enumerate(drawn):
        trial = method.trials[0]
        front = front_rows(trial, found.box.cost)
        rows = allocations.allocations_frame(front, found.box.cost, words=found.words)
        with columns[place % len(columns)]:
            st.markdown(f"**{text.literal(method.label, 160)}**, run {trial.run.id}")
            st.plotly_chart(
                allocations.allocations_figure(
                    rows, found.model, found.box.cost, part, found.words.name
                ),
                key=f"compare-allocations-{place}",
                config=CHART,
                alt=f"Bits of the {part} of every layer, one row per point of the front.",
            )
    left = len([m for m in found.methods if not m.reference]) - len(drawn)
    st.caption(
        "Rows are the points of a front, cheapest above; columns are layers. Of several seeds the "
        "first run is shown." + (f" {text.counted(left, 'method')} more not drawn." if left else "")
    )


def caption(found: Comparison, summary: pd.DataFrame) -> None:
    """Words for a figure in a paper."""
    with st.expander("Caption for a paper", icon=":material/article:"):
        origins = {
            trial.run.origin for method in found.methods for trial in method.trials
        } - {""}  # fmt: skip
        words = compare_caption.caption(
            found.setting,
            summary,
            found.box,
            float_scores=found.float_search,
            equal_at=found.equal_at,
            origins=sorted(origins),
            said=found.words,
        )
        if st.toggle("For LaTeX", key="compare-latex"):
            words = latex(words)
        st.code(words, language=None, wrap_lines=True)


def notes(methods: Sequence[Method]) -> list[str]:
    """What differs between the runs without forbidding the comparison, one sentence each."""
    found = []
    runs = {trial.run.id: trial.run for method in methods for trial in method.trials}.values()
    # the reference counts too: what is held against it was trained or not
    if len({method.trained for method in methods}) > 1:
        found.append(TRAINING_TOO)
    widths = {bits for run in runs for bits in run.spec.activation_bits}
    limited = any("bit_ops" in run.spec.limits for run in runs)
    if len(widths) > 1 and limited:
        found.append(
            "Some runs had a limit on compute and saved bits of activations too: tables say their "
            "mean bits beside every figure."
        )
    devices = {run.device.partition(":")[0] for run in runs if run.device}
    if len(devices) > 1:
        found.append("Runs used different devices: compare evaluations, not seconds.")
    origins = sorted({run.origin for run in runs} - {""})
    if origins:
        found.append(f"Not all were measured in this database: {'; '.join(origins)}.")
    waiting = [run.id for run in runs if run.state in text.ACTIVE]
    if waiting:
        found.append("Runs that have not ended are drawn as far as they are.")
    return found
