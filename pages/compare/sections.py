"""Sections of the Compare page below the choices: each draws one thing from what was read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import streamlit as st

from pages.compare import caption as compare_caption
from pages.compare import controls, figures, read, tables
from pages.compare.comparable import Setting
from pages.compare.methods import EFFORT, ELAPSED, Method, front_rows
from pages.downloads.figure_file import figure_files
from pages.downloads.tables_out import latex
from pages.plots import allocations
from pages.plots.style import CHART
from pages.shared import text
from pages.shared.hypervolume import Box
from pages.shared.run_facts import is_ladder
from pages.shared.words import explained
from qcore.allocation import ModelSpec
from qcore.costs.user_tables import Costs
from qcore.errors import QcoreError
from qcore.problem import Scores
from store import Store

FRONTS = "compare-fronts"

MOST_CARPETS = 8


@dataclass(frozen=True)
class Comparison:
    """Everything the sections draw.

    Attributes:
        store: The database.
        setting: What all runs share.
        model: The network.
        methods: What is compared, cut where that is asked for.
        ladder: Points of uniform bits, or None.
        box: What hypervolume counts; names the cost on the x axis.
        budgets: Budgets of the tables, in that cost's unit.
        float_search: The float network's scores on the search split.
        cut_at: Evaluations every run is cut at, or None.
        logarithmic: Whether cost axes are.
    """

    store: Store
    setting: Setting
    model: ModelSpec
    methods: Sequence[Method]
    ladder: pd.DataFrame | None
    box: Box
    budgets: Sequence[float]
    float_search: Scores | None
    cut_at: float | None
    logarithmic: bool

    @property
    def costs(self) -> Costs:
        """The costs there are."""
        return self.store.costs

    @property
    def what(self) -> str:
        """What is measured, as titles say it."""
        return self.setting.metric.capitalize()

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
    st.header(f"{found.what} against {cost.title.lower()}")
    figure = figures.fronts_figure(
        found.methods,
        found.ladder,
        cost,
        found.what,
        float_score=100 * found.float_search.headline if found.float_search else None,
        limits=found.budgets,
        logarithmic=found.logarithmic,
    )
    st.plotly_chart(
        figure,
        key=FRONTS,
        config=CHART,
        on_select=lambda: controls.clicked(FRONTS, found.run_of),
        selection_mode="points",
        alt=f"{found.what} against {cost.title.lower()}, one front per run.",
    )
    intervals = (
        "Bars are 95 % intervals"
        if figures.has_bars(found.methods)
        else "Hovering tells 95 % intervals"
    )
    words = (
        "All figures are measured. Step lines are fronts, one per run: nothing is achievable "
        f"between points. {intervals}; thin dotted lines are the budgets of the table. "
        "Click a point to take it into the difference below."
    )
    if found.ladder is None:
        words += (
            " No uniform bits were measured in this setting: start a Uniform bits search to see "
            "what there is to beat."
        )
    st.caption(words, help=explained("front", "95 % interval"))
    title = f"{found.what} against {cost.title.lower()}: {found.model.name}"
    figure_files(figure, title, f"fronts_{found.model.name[:60]}_{cost.name[:60]}", "compare-html")


def hypervolume(found: Comparison) -> None:
    """Hypervolume over evaluations and over seconds."""
    st.header("Hypervolume against work")
    for column, axis in zip(st.columns(2), (EFFORT, ELAPSED), strict=True):
        figure = figures.hypervolume_figure(found.methods, found.box, axis)
        title = f"Hypervolume of each method against {figures.AXES[axis].lower()}"
        with column:
            st.plotly_chart(figure, key=f"compare-hv-{axis}", config=CHART, alt=f"{title}.")
            stem = f"hypervolume_{found.model.name[:60]}_{axis.partition(',')[0].lower()}"
            figure_files(figure, f"{title}: {found.model.name}", stem, f"compare-hv-html-{axis}")
    st.caption(
        f"Share of the plane that points dominate: {found.box.words()}. Lines are medians over "
        "seeds, bands run from the smallest to the largest. Looking at a part of the search split "
        "counts as that part of an evaluation. Seconds are those of scoring; of searches that "
        "train, all other time of the run counts before its first point.",
        help=explained("hypervolume", "seed"),
    )


def table(found: Comparison, summary: pd.DataFrame) -> None:
    """What each method reached, and the same as a file."""
    st.header("What each method reached")
    st.dataframe(
        tables.shown(summary, found.box, found.budgets),
        hide_index=True,
        alt="Hypervolume, accuracy at each budget, evaluations, minutes and seeds per method.",
    )
    n = int(summary["Search images"].min())
    st.caption(
        f"{found.what} is measured on the search split (n={n:,}) on which points are chosen too, "
        "so it is slightly optimistic for all; round brackets are 95 % intervals, square "
        "brackets the lowest and highest seed. Minutes run from a run's start to its end, pauses "
        f"included. Hypervolume: {found.box.words()}.",
        help=explained("search split", "test split", "95 % interval", "hypervolume"),
    )
    st.download_button(
        "Table as CSV",
        data=lambda: tables.csv_of(summary),
        file_name=tables.file_name(found.model.name, found.box.cost.name),
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
    baseline = st.selectbox(
        "Difference from", labels, index=labels.index(first), key="compare-baseline", width=360
    )
    try:
        rows = tables.paired_table(
            found.methods,
            str(baseline),
            found.box.cost,
            found.budgets,
            lambda points: read.right_of(found.store, points),
        )
    except QcoreError as error:
        st.error(text.literal(str(error), 400), icon=":material/error:")
        return
    st.dataframe(
        rows,
        hide_index=True,
        placeholder="",
        column_config={"Test images": st.column_config.NumberColumn(format="localized")},
        alt=f"{found.what} of every method minus that of the baseline at each budget.",
    )
    compared = int(rows["Difference, points"].notna().sum())
    st.caption(
        "Paired bootstrap: test images are drawn with replacement, the same for both sides; seeds "
        "of a method are averaged image by image, so intervals are about images, not seeds. No "
        "difference is shown where the interval holds 0: these images cannot tell both apart. Each "
        "run's point is the one chosen on the search split among those whose test split was looked "
        f"at. {text.counted(compared, 'comparison')}: at 95 %, one in twenty shows a difference "
        "by chance."
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
        rows = allocations.allocations_frame(front_rows(trial, found.box.cost), found.box.cost)
        with columns[place % len(columns)]:
            st.markdown(f"**{text.literal(method.label, 160)}**, run {trial.run.id}")
            st.plotly_chart(
                allocations.allocations_figure(rows, found.model, found.box.cost, part),
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
            cut_at=found.cut_at,
            origins=sorted(origins),
        )
        if st.toggle("For LaTeX", key="compare-latex"):
            words = latex(words)
        st.code(words, language=None, wrap_lines=True)


def notes(methods: Sequence[Method], trains: Mapping[str, bool]) -> list[str]:
    """What differs between the runs without forbidding the comparison, one sentence each."""
    found = []
    runs = {trial.run.id: trial.run for method in methods for trial in method.trials}.values()
    kinds = {trains.get(run.spec.search, False) for run in runs if not is_ladder(run)}
    if len(kinds) > 1:
        found.append(
            "Some of these searches train the weights and others do not: their difference is that "
            "of the training as well as of the bits."
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
