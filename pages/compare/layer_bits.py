"""Compare's section on layers: which layer's bits matter, over all comparable runs."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from pages.compare import importance, read
from pages.compare.comparable import Setting, judge
from pages.compare.sections import Comparison
from pages.downloads.figure_file import figure_files
from pages.plots import layer_bits
from pages.plots.style import CHART
from pages.shared import session, text
from pages.shared.words import explained
from qcore.allocation import BitAllocation, ModelSpec
from qcore.costs import COSTS
from qcore.searches import SEARCHES
from store import Run, all_runs

SIZE = "weight_bytes"


@dataclass(frozen=True)
class _Shown:
    """The allocations that are drawn, with divergence (nats) and size (bytes of weights)."""

    allocations: tuple[BitAllocation, ...]
    divergence: np.ndarray
    size: np.ndarray


def layers(found: Comparison) -> None:
    """Every allocation measured in this setting, and how much each layer matters."""
    st.header("Which layer's bits matter")
    runs = _like(found)
    key = (str(found.store.url), found.model.digest, *map(session.version_of, runs))
    measured, shown, rows = _read(found, runs, key)
    if rows.empty:
        st.caption(
            f"{text.counted(len(measured.allocations), 'different allocation')} were measured with "
            f"the network's own weights; from {importance.FEWEST} on, and where bits differ, this "
            "says which layers they matter in."
        )
        return
    part = importance.PARTS[0]
    if rows["part"].nunique() > 1:
        part = str(
            st.segmented_control(
                "Lines show",
                list(importance.PARTS),
                default=importance.PARTS[0],
                required=True,
                key="compare-lines",
            )
        )
    lines = _lines(found.model, shown, rows, part)
    st.plotly_chart(
        lines,
        key="compare-layers",
        config=CHART,
        alt=f"Bits of the {part} of every layer: a line per allocation, coloured by divergence.",
    )
    count = f"{len(measured.allocations):,} allocations of {text.counted(len(runs), 'run')}"
    st.caption(
        "Drag along an axis to keep the lines that pass there, click it to let go. Each width is a "
        f"band in which lines that diverge less lie higher. {count}, measured with the network's "
        f"own weights on the search split; {len(shown.allocations):,} are drawn."
        + _left_out(found.model)
    )
    stem, title = found.model.name[:60], f"Which layer's bits matter: {found.model.name}"
    figure_files(lines, title, f"lines_{stem}", "compare-lines-html")
    figure = layer_bits.importance_figure(rows, _drawn(found.model, rows))
    st.plotly_chart(
        figure,
        key="compare-importance",
        config=CHART,
        alt="Share of the divergence's variance that hangs on the bits of each layer.",
    )
    st.caption(
        "How much of the variance of the logarithm of the divergence hangs on each layer's bits: a "
        "sum of one term per layer is fitted (ridge regression), and a layer's bits are shuffled "
        "among points that the fit has not seen. Bars are 95 % intervals over allocations "
        f"(jackknife). The fit, to {len(importance.fitted(len(measured.allocations))):,} of them, "
        f"predicts {rows.attrs['explained']:.0f} % of the variance of unseen points. "
        "It is about the allocations that were tried: layers that moved together share the "
        "rest, so shares do not add up to 100, and a layer that never left its bits has none.",
        help=explained("divergence", "nats"),
    )
    figure_files(figure, title, f"layers_{stem}", "compare-layers-html")


def _like(found: Comparison) -> list[Run]:
    """Every run of this setting that left the weights alone: its points were measured alike."""
    wanted = found.setting
    kept = {search.name for search in SEARCHES.values() if not search.trains}
    runs = [
        run
        for run in all_runs(found.store, model=wanted.model)
        if run.evaluations and run.spec.search in kept
    ]
    return [
        run
        for run in session.newest_within(runs)
        if judge({0: wanted, 1: _alike(found, run, wanted)}).comparable
    ]


def _alike(found: Comparison, run: Run, wanted: Setting) -> Setting:
    """The run's setting, but for what its points do not depend on."""
    mine = read.setting(found.store, run)
    return replace(mine, objective=wanted.objective, tuning=wanted.tuning)


@st.cache_resource(show_spinner="Weighing the layers", max_entries=8)
def _read(
    _found: Comparison, _runs: list[Run], key: tuple[object, ...]
) -> tuple[importance.Tried, _Shown, pd.DataFrame]:
    points = [point for run in _runs for point in session.points(_found.store, run)]
    measured = importance.tried(points, _found.model)
    places = layer_bits.thinned(measured.divergence, layer_bits.MOST_LINES)
    allocations = [measured.allocations[place] for place in places]
    size = [COSTS[SIZE].total(_found.model, one) for one in allocations]
    shown = _Shown(tuple(allocations), measured.divergence[places], np.array(size, float))
    return measured, shown, importance.importance(measured, _found.model.names)


def _drawn(model: ModelSpec, rows: pd.DataFrame) -> list[str]:
    """The layers that matter most, in their order in the network; all where there are few."""
    most = rows.groupby("layer")["share"].max().nlargest(layer_bits.MOST_AXES).index
    return [name for name in model.names if name in set(most)]


def _left_out(model: ModelSpec) -> str:
    left = len(model.names) - layer_bits.MOST_AXES
    return f" The {left} layers that matter least are not drawn." if left > 0 else ""


def _lines(model: ModelSpec, shown: _Shown, rows: pd.DataFrame, part: str) -> go.Figure:
    names = _drawn(model, rows)
    factor, unit = text.scale_of(COSTS[SIZE], float(shown.size.max()))
    return layer_bits.lines_figure(
        importance.bits_matrix(shown.allocations, part, names),
        names,
        shown.size / factor,
        shown.divergence,
        unit,
    )
