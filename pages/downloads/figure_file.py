"""A figure as files: HTML that hovers and zooms on its own, and SVG, PDF and PNG for a paper."""

from functools import partial

import plotly.graph_objects as go
import streamlit as st

from pages.downloads.paper_figure import MEDIA, drawable, paper_figure
from pages.plots.style import CHART, plain
from pages.shared.text import file_safe

WORDS = (
    "The figure as one file of about 5 MB that any browser shows, hovering and zooming included, "
    "without a network."
)
PAPER_WORDS = {
    "svg": "For a page or a drawing program: text stays text.",
    "pdf": "For a paper: text stays text, on white, without a title.",
    "png": "For a slide: 200 dots an inch.",
}


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


def figure_files(figure: go.Figure, title: str, stem: str, key: str) -> None:
    """Offer the figure as HTML, and where it can be drawn again as SVG, PDF and PNG.

    Args:
        figure: The figure.
        title: What the files say it is.
        stem: Name of the files without ending; only ASCII letters, digits, "._-" are kept.
        key: Of the buttons on the page.
    """
    with st.container(horizontal=True):
        html_button(figure, title, stem, key)
        if not drawable(figure):
            return
        for form, mime in MEDIA.items():
            st.download_button(
                form.upper(),
                data=partial(paper_figure, figure, title, form),
                file_name=f"{file_safe(stem) or 'figure'}.{form}",
                mime=mime,
                key=f"{key}-{form}",
                on_click="ignore",
                icon=":material/download:",
                help=PAPER_WORDS[form],
            )
