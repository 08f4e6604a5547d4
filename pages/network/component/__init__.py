"""The drawing of a network in the browser: it follows whoever changes bits on the same page."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from pages.plots.style import digit_colour, shown_colours
from qcore.allocation import width_text

HERE = Path(__file__).parent
SCRIPTS = ("panel.js", "network.js")


def script() -> str:
    """The component's JavaScript: its files joined into the one module that Streamlit takes."""
    return "\n".join((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS)


def markup() -> str:
    """The component's HTML: what is the same for every network."""
    swatches = []
    for bits, colour in shown_colours(()).items():
        name = width_text(bits)
        look = f"background-color:{colour};color:{digit_colour(bits)}"
        swatches.append(f'<span style="{look}">{name}</span>')
    page = (HERE / "network.html").read_text(encoding="utf-8")
    return page.replace("<!-- swatches -->", "".join(swatches))


def style() -> str:
    """The component's style sheet."""
    return (HERE / "network.css").read_text(encoding="utf-8")


def drawn_network(
    payload: Mapping[str, Any], on_change: Callable[[Any], None] | None, key: str
) -> None:
    """Draw a network.

    Args:
        payload: `picture` and `state` of `pages.network.payload`, as one.
        on_change: Called with {"layer", "weight", "activation", "locked"} when a reader changed a
            layer here and nothing else on the page took it up; it comes from the browser and may
            hold anything.
        key: Name of the element on the page.
    """

    def tell() -> None:
        value = (st.session_state.get(key) or {}).get("change")
        if value is not None and on_change is not None:
            on_change(value)

    _renderer()(key=key, data=dict(payload), on_change_change=tell)


@st.cache_resource(show_spinner=False)
def _renderer() -> Any:
    return st.components.v2.component("network", html=markup(), js=script(), css=style())
