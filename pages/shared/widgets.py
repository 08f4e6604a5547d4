"""Widgets the pages share. Values that a link should carry are bound to the URL."""

import ipaddress

import streamlit as st

from pages.shared import text
from pages.shared.budgets import forget_budgets
from qcore.costs.user_tables import broken_tables, odd_tables, refresh_costs
from qcore.errors import QcoreError
from qcore.models.catalog import model_names
from store import Store, all_runs


def error_box(error: QcoreError) -> None:
    """Show what went wrong in words; everything else is a bug and keeps its traceback."""
    st.error(text.literal(str(error)), icon=":material/error:")


def is_loopback(address: str | None) -> bool:
    """True when only this machine can reach a server bound to the address."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address or "").is_loopback
    except ValueError:
        return False


def network_warning(address: str | None) -> None:
    """Warn, for as long as it is so, that others can reach this server."""
    if not is_loopback(address):
        st.warning(
            f"**Others can reach this dashboard** (it listens on {address or 'every address'}). "
            "It has no login: whoever reaches it can start searches and delete results. "
            "Restart it with `--server.address localhost` unless you mean this.",
            icon=":material/lock_open:",
        )


def model_picker(store: Store) -> str:
    """Let the reader choose a model in the sidebar; bound to the URL key "model".

    Models of stored runs that are no longer listed can still be chosen.
    """
    refresh_costs(store.folder / "costs")
    everywhere = all_runs(store)
    names = list(dict.fromkeys([*model_names(), *(run.spec.model for run in everywhere)]))

    with st.sidebar:
        name = st.selectbox(
            "Model",
            names,
            key="model",
            bind="query-params",
            on_change=forget_budgets,
        )
        active = [run.state for run in everywhere if run.state in text.ACTIVE]
        st.caption(
            f"{active.count('running')} running, {active.count('queued')} queued"
            if active
            else "No search is running."
        )
        _cost_table_notes()
    return str(name)


def _cost_table_notes() -> None:
    """Say which of the user's cost tables cannot be used, and what is odd about others."""
    broken, odd = broken_tables(), odd_tables()
    if not broken and not odd:
        return
    with st.expander("Cost tables", icon=":material/table:", expanded=bool(broken)):
        for reason in broken.values():
            st.error(text.literal(reason))
        for file, sentences in odd.items():
            more = f" And {len(sentences) - 3} more." if len(sentences) > 3 else ""
            st.warning(text.literal(f"{file}: {' '.join(sentences[:3])}{more}"))
