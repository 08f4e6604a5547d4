"""The picture of the bits: bars that are dragged in the browser; the server hears on release."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import streamlit as st

HERE = Path(__file__).parent
SCRIPTS = ("rules.js", "bars.js")
KEY = "wb-bars"


def script() -> str:
    """The component's JavaScript: its files joined into the one module that Streamlit takes."""
    return "\n".join((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS)


def markup() -> str:
    """The component's HTML: what is the same for every network."""
    return (HERE / "bars.html").read_text(encoding="utf-8")


def style() -> str:
    """The component's style sheet."""
    return (HERE / "bars.css").read_text(encoding="utf-8")


def bit_bars(payload: Mapping[str, Any], on_edit: Callable[[Any], None]) -> None:
    """Draw the picture.

    Args:
        payload: What `payload.bars_payload` builds; its names reach the page as text only.
        on_edit: Called with what the browser tells of an edit (`payload.read_edit` reads it), once
            when a bar is let go, a lock is closed or the keys rest; nothing is sent while dragging.
    """

    def tell() -> None:
        value = (st.session_state.get(KEY) or {}).get("edit")
        if value is not None:
            on_edit(value)

    _renderer()(key=KEY, data=dict(payload), on_edit_change=tell)


@st.cache_resource(show_spinner=False)
def _renderer() -> Any:
    return st.components.v2.component("bit_bars", html=markup(), js=script(), css=style())
