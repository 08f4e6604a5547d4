"""Compare's section on training: loss and accuracy of every epoch of the runs that train."""

from typing import Any

import pandas as pd
import streamlit as st

from pages.compare.sections import Comparison
from pages.downloads.figure_file import figure_files
from pages.plots import diagnostics, training
from pages.plots.style import CHART
from pages.shared import session
from qcore.searches import SEARCHES
from store import Run, Store, events


def curves_of(found: Comparison) -> list[training.Curve]:
    """The epochs of every compared run that trains and has told of one."""
    curves = []
    for method in found.methods:
        for trial in method.trials:
            search = SEARCHES.get(trial.run.spec.search)
            if search is None or not search.trains:
                continue
            run = trial.run
            key = (str(found.store.url), session.version_of(run), found.words)
            epochs = _epochs(found.store, run, key)
            if len(epochs):
                seed = run.spec.seed
                curves.append(training.Curve(method.label, run.id, seed, method.look, epochs))
    return curves


@st.cache_resource(show_spinner=False, max_entries=128)
def _epochs(_store: Store, _run: Run, key: tuple[Any, ...]) -> pd.DataFrame:
    kept = [event.data for event in events(_store, _run.id, kinds=["figures"]) if event.data]
    return diagnostics.epochs_frame(kept, key[-1])


def curves(found: Comparison) -> None:
    """Loss and accuracy beside one another; nothing where no run trains."""
    drawn = curves_of(found)
    if not drawn:
        return
    st.header("Training")
    columns = [column for column in training.TITLES if training.has(drawn, column)]
    for place, column in zip(st.columns(len(columns)), columns, strict=True):
        figure = training.curves_figure(drawn, column, found.words)
        title = found.words.head(training.TITLES[column])
        with place:
            st.plotly_chart(
                figure,
                key=f"compare-training-{column}",
                config=CHART,
                alt=f"{title} of every epoch, a line per run.",
            )
            figure_files(
                figure,
                f"{title}: {found.model.name}",
                f"training_{found.model.name[:60]}_{column[:4]}",
                f"compare-training-html-{column}",
            )
    st.caption(
        "One thin line a run, a colour a method; pointing at a line tells run, seed and stage. "
        "Losses of different methods are different sums and show how each went, not which is "
        f"better. {found.words.text('Accuracy is on training images')} at the bits in use in that "
        "epoch."
    )
