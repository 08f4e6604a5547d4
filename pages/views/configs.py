"""Configs: the configurations you keep; import, compare, verify and take them away."""

import streamlit as st

from pages.configs.detail import CRASHED, details, undo
from pages.configs.frames import Kept, configs_frame, read
from pages.configs.import_form import import_form
from pages.downloads.downloads import draw, parsed, table_offers
from pages.shared import session, widgets
from pages.shared.text import counted, file_stem, literal
from store import Store, all_runs, configs, damaged_configs


def main() -> None:
    """Draw the page."""
    store = session.database()
    name = widgets.model_picker(store)
    st.title("Configurations")
    widgets.set_aside(damaged_configs(store))
    costs = store.costs
    kept = [read(saved, lambda content: parsed(content, costs)) for saved in configs(store)]
    model = session.model_facts(store, name)
    mine = sorted(all_runs(store, model=name), key=lambda run: -run.id)
    with st.expander("Import", expanded=not kept, icon=":material/upload_file:"):
        if model is None:
            st.info(
                "The layers of this network are not known yet: measure something with it on the "
                "Searches page, or add it on the Models page.",
                icon=":material/info:",
            )
        else:
            import_form(store, model, kept, mine)
    undo(store)
    crash = st.session_state.pop(CRASHED, None)
    if crash is not None:
        st.error(f"Verifying ended without a verdict: {crash}", icon=":material/error:")
    if kept:
        _list(store, kept)
    else:
        st.info(
            "Nothing is kept yet. Keep a point on Explore (Pin, or Keep it), save edited bits on "
            "Workbench, or import a file above.",
            icon=":material/keep:",
        )
    if model is not None and mine:
        st.header("Everything measured")
        st.caption(f"What {counted(len(mine), 'run')} of {literal(model.name)} measured.")
        stem = file_stem(model.name[:60], 0, 0, "all", len(mine)).partition("_")[0]
        draw(table_offers(store, {run.id: run for run in mine}, model, stem), "tables")


def _list(store: Store, kept: list[Kept]) -> None:
    st.dataframe(
        configs_frame(kept),
        hide_index=True,
        column_config={
            "Number": st.column_config.NumberColumn(width="small"),
            "Name": st.column_config.TextColumn(width="medium"),
            "From": st.column_config.TextColumn(width="medium"),
        },
        alt="Saved configurations with network, size, measured accuracy and verification.",
    )
    numbers = [entry.saved.id for entry in kept]
    # a link carries what the box shows, so it shows numbers
    chosen = st.selectbox(
        "Details of configuration", numbers, key="config", bind="query-params", width=240
    )
    entry = next(entry for entry in kept if entry.saved.id == chosen)
    network = entry.config.model.name if entry.config is not None else ""
    mine = sorted(all_runs(store, model=network), key=lambda run: -run.id) if network else []
    details(store, entry, kept, mine)


main()
