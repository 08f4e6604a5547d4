"""The budget explorer: budgets are dragged in the browser, the server hears of it on release."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from pages.plots.style import digit_colour, shown_colours
from qcore.allocation import width_text

HERE = Path(__file__).parent
SCRIPTS = (
    "rules.js",
    "held.js",
    "solve.js",
    "marks.js",
    "drawing.js",
    "told.js",
    "save.js",
    "hints.js",
    "cells.js",
    "explorer.js",
)
KEY = "explorer"


def script() -> str:
    """The component's JavaScript: its files joined into the one module that Streamlit takes."""
    return "\n".join((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS)


def markup() -> str:
    """The component's HTML: what is the same for every network."""
    swatches = []
    for bits, colour in shown_colours(()).items():
        name = width_text(bits)
        look = f"background-color:{colour};color:{digit_colour(bits)}"
        swatches.append(f'<span class="bits-{name}" style="{look}">{name}</span>')
    page = (HERE / "explorer.html").read_text(encoding="utf-8")
    return page.replace("<!-- swatches -->", "".join(swatches))


def style() -> str:
    """The component's style sheet."""
    return (HERE / "explorer.css").read_text(encoding="utf-8")


def budget_explorer(
    payload: Mapping[str, Any], on_event: Callable[[str, Any], None], key: str = KEY
) -> None:
    """Draw the explorer.

    Args:
        payload: What `pages.explore.payload` builds; its names reach the page as text only.
        on_event: Called with ("commit", what was set) when the reader lets go of a budget or
            changes the focus or an axis, ("open", {"run", "id"}) when a point is clicked,
            ("pin", {"run", "id"}) when one is to be kept and ("gap", {"cost", "low", "high", "run",
            "id"}) when a stretch of cost is to be searched. Nothing is sent while dragging.
        key: Name of the element on the page.
    """

    def teller(name: str) -> Callable[[], None]:
        def tell() -> None:
            value = (st.session_state.get(key) or {}).get(name)
            if value is not None:
                on_event(name, value)

        return tell

    _renderer()(
        key=key,
        data=dict(payload),
        on_commit_change=teller("commit"),
        on_open_change=teller("open"),
        on_pin_change=teller("pin"),
        on_gap_change=teller("gap"),
    )


@st.cache_resource(show_spinner=False)
def _renderer() -> Any:
    return st.components.v2.component("budget_explorer", html=markup(), js=script(), css=style())
