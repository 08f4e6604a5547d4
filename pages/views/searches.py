"""Searches: launch them, watch them, stop them, and see what each one did."""

import dataclasses
from collections.abc import Callable, Sequence

import streamlit as st

from pages.searches import run_table
from pages.searches.launch_form import launch_form
from pages.searches.run_details import details
from pages.shared import session, text, widgets
from pages.shared.run_numbers import MOST_CHOSEN
from pages.shared.runs import launch
from pages.shared.widgets import set_aside
from qcore.errors import QcoreError
from qcore.run_spec import RunSpec
from store import Run, Store, all_runs, damaged_runs, delete_run, request_cancel, resume


def main() -> None:
    """Draw the page."""
    store = session.database()
    name = widgets.model_picker(store)
    st.title("Searches")
    known = all_runs(store)
    set_aside(damaged_runs(store).values())
    with st.expander(
        "New search", expanded=not known or "near" in st.query_params, icon=":material/add:"
    ):
        launch_form(store, name)
    if not known:
        st.info("No search was started yet. Set one up above.", icon=":material/manage_search:")
        return
    active = any(entry.state in text.ACTIVE for entry in known)
    st.fragment(_table, run_every=1.0 if active else None)(store, active)
    ids = [entry.id for entry in sorted(known, key=lambda entry: -entry.id)]
    # a link carries what the box shows, so it shows numbers
    chosen = st.selectbox("Details of run", ids, key="run", bind="query-params", width=200)
    live = next(entry for entry in known if entry.id == chosen).state in text.ACTIVE
    st.fragment(details, run_every=1.0 if live else None)(store, int(chosen))


@session.database_explained()
def _table(store: Store, was_active: bool) -> None:
    now = sorted(all_runs(store), key=lambda entry: -entry.id)
    if was_active and not any(entry.state in text.ACTIVE for entry in now):
        # all have ended: draw the page once more, without timers
        st.rerun()
    event = st.dataframe(
        run_table.table(store, now),
        hide_index=True,
        placeholder="",
        key="runs-table",
        on_select="rerun",
        selection_mode="multi-row",
        column_config={
            "Progress, %": st.column_config.ProgressColumn(
                "Progress, %", min_value=0, max_value=100, format="%.0f", width="small"
            ),
            "Best within budget, %": st.column_config.NumberColumn(format="%.2f"),
            "Best within budget": st.column_config.NumberColumn(format="%.2f"),
            "Evaluations/s": st.column_config.NumberColumn(format="%.2f"),
            "Hypervolume": st.column_config.NumberColumn(
                format="%.3f",
                help="Share of the plane of weight bytes and divergence (logarithmic) that its "
                "points dominate. Empty for runs that made no front: those for one budget or of "
                "one point. Compare shows it in full, at equal evaluations.",
            ),
        },
        alt="All searches with their state, progress and best result.",
    )
    chosen = [now[row] for row in event["selection"]["rows"] if row < len(now)]
    _together(store, chosen)
    shown = list(dict.fromkeys(entry.state for entry in now))
    if len(session.newest_within(now)) < len(now):
        st.caption(
            f"Best accuracy and hypervolume are of the newest runs, up to {session.MOST_POINTS:,} "
            "points; an older run shows its own below."
        )
    # "done" needs no words
    explained = [text.STATES[state] for state in shown if ":" in text.STATES[state]]
    if explained:
        st.caption(f"States: {'; '.join(explained)}.")


def _together(store: Store, chosen: Sequence[Run]) -> None:
    """What can be done with several runs at once."""
    if not chosen:
        st.caption(
            "Choose rows by their boxes to compare, cancel, resume, repeat or delete several."
        )
        return
    count = text.counted(len(chosen), "run")
    active = [entry for entry in chosen if entry.state in (*text.ACTIVE, "paused")]
    waiting = [entry for entry in chosen if entry.state in ("paused", "failed")]
    ended = [entry for entry in chosen if entry.state not in text.ACTIVE]
    with st.container(horizontal=True):
        st.page_link(
            "pages/views/compare.py",
            label=f"Compare {count}",
            icon=":material/compare:",
            query_params={
                "model": chosen[0].spec.model,
                "runs": ",".join(str(entry.id) for entry in chosen),
            },
        )
        if len({entry.spec.model for entry in chosen}) == 1:
            st.page_link(
                "pages/views/explore.py",
                label=f"Explore {count}",
                icon=":material/tune:",
                query_params={
                    "model": chosen[0].spec.model,
                    "runs": ",".join(str(entry.id) for entry in chosen[:MOST_CHOSEN]),
                },
            )
        if st.button(f"Cancel {len(active)}", disabled=not active, key="all-cancel"):
            _each(request_cancel, store, active)
        if st.button(f"Resume {len(waiting)}", disabled=not waiting, key="all-resume"):
            _each(resume, store, waiting)
        if st.button(
            f"Repeat {len(chosen)} with new seeds",
            key="all-repeat",
            help="The same searches, each with the next seed that none of its kind has had.",
        ) and launch(store, repeats(chosen, all_runs(store))):
            st.rerun()
        with st.popover(f"Delete {len(ended)}", disabled=not ended, icon=":material/delete:"):
            total = sum(entry.evaluations for entry in ended)
            st.write(f"Delete {count} with {total:,} points for good?")
            if st.button("Delete all for good", type="primary", key="all-delete"):
                _each(delete_run, store, ended)


def repeats(chosen: Sequence[Run], known: Sequence[Run]) -> list[tuple[RunSpec, str]]:
    """The same searches again, each with the smallest seed its kind has not had."""
    taken = {(_kind(entry), entry.spec.seed) for entry in known}
    out = []
    for entry in chosen:
        seed = next(at for at in range(len(known) + 1) if (_kind(entry), at) not in taken)
        taken.add((_kind(entry), seed))
        base = entry.name.rpartition(", seed ")[0] or entry.name
        out.append((dataclasses.replace(entry.spec, seed=seed), f"{base}, seed {seed}"))
    return out


def _kind(entry: Run) -> str:
    return str(sorted(dataclasses.replace(entry.spec, seed=0).to_json().items()))


def _each(ask: Callable[[Store, int], None], store: Store, chosen: Sequence[Run]) -> None:
    """Ask the same of several runs; one that has moved on does not keep the others from it."""
    refused = []
    for entry in chosen:
        try:
            ask(store, entry.id)
        except QcoreError as error:
            refused.append(text.literal(str(error)))
    if refused:
        st.warning(" ".join(refused))
        return
    st.rerun()


main()
