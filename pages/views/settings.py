"""Settings: what holds, where it comes from, how to change it, and whether all is well."""

import streamlit as st

from pages.shared import session
from pages.shared.notes import setup
from store.health.doctor import findings
from store.health.status import health
from store.settings import describe_settings
from store.workers.slots import ask_driver


def main() -> None:
    """Draw the page."""
    st.title("Settings")
    st.caption(
        "Settings are environment variables, read when bitdial starts. To change one, stop the "
        "dashboard, set the variable, and start it again: "
        "`BITDIAL_WORKERS=2 streamlit run app.py`."
    )
    # a plain table, because it wraps the explanations
    st.table(
        setup.settings_frame(describe_settings()),
        hide_index=True,
        alt="Every setting with its value, where it comes from, and what it means.",
    )
    store = session.database()
    st.header("Now")
    st.dataframe(
        setup.health_frame(health(store), _cards()),
        hide_index=True,
        alt="Database, disk, server and graphics cards as they are now.",
    )
    st.header("Check everything")
    st.caption(
        "Looks through the database, its locks, the disk, the packages and the evaluator, and "
        "changes nothing. The same in a terminal: `python -m store doctor`."
    )
    if st.button("Check", icon=":material/stethoscope:", key="check"):
        with st.spinner("Checking"):
            found = setup.findings_frame(findings())
        worst = found["Verdict"].iloc[0]
        if worst == "problem":
            st.error("Something does not work; the first rows say what to do.")
        elif worst == "warning":
            st.warning("All works; the first rows are worth a look.")
        else:
            st.success("All is well.")
        st.dataframe(found, hide_index=True, alt="What was checked and what was found.")


@st.cache_data(ttl=60, show_spinner=False)
def _cards() -> list[str]:
    lines = [line for line in ask_driver().splitlines() if line.startswith("GPU ")]
    return [line.partition(" (UUID")[0] for line in lines]


main()
