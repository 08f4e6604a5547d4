"""A figure as one HTML file: it hovers, zooms and hides lines without bitdial or a network."""

import plotly.graph_objects as go
import streamlit as st

from pages.plots.style import CHART, plain
from pages.shared.text import file_safe

WORDS = (
    "The figure as one file of about 5 MB that any browser shows, hovering and zooming included, "
    "without a network. For SVG use the camera at the figure's corner."
)


def html_of(figure: go.Figure, title: str) -> bytes:
    """The figure on white paper, with plotly.js inside.

    Args:
        figure: As the page draws it; left as it is.
        title: What stands above it. Names may hold anything: they are shown as text.

    Returns:
        The page, UTF-8.
    """
    page = go.Figure(figure)
    page.update_layout(
        template="plotly_white",
        paper_bgcolor="white",
        plot_bgcolor="white",
        title={"text": plain(title), "y": 0.98, "yanchor": "top"},
        height=(page.layout.height or 450) + 60,
        margin={"l": 70, "r": 50, "t": 110, "b": 60},
    )
    return page.to_html(include_plotlyjs=True, config=CHART).encode()


def html_button(figure: go.Figure, title: str, stem: str, key: str) -> None:
    """Offer the file; it is made when the button is pressed.

    Args:
        figure: The figure.
        title: What stands above it in the file.
        stem: Name of the file without its ending; only ASCII letters, digits, "._-" are kept.
        key: Of the button on the page.
    """
    st.download_button(
        "Figure as HTML",
        data=lambda: html_of(figure, title),
        file_name=f"{file_safe(stem) or 'figure'}.html",
        mime="text/html",
        key=key,
        on_click="ignore",
        icon=":material/download:",
        help=WORDS,
    )
