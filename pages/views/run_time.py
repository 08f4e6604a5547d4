"""Run time: a demand moves the switches of a trained network."""

import streamlit as st

from pages.run_time.view import draw
from pages.shared import session, widgets


def main() -> None:
    """Draw the page."""
    store = session.database()
    name = widgets.model_picker(store)
    st.title("Run time")
    draw(store, name)


main()
