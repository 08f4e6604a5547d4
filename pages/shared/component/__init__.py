"""What pages share in the browser: a text area that is heard while it is typed into."""

from pathlib import Path
from typing import Any

import streamlit as st

HERE = Path(__file__).parent


def heard_while_typed(key: str) -> None:
    """Have a text area tell its text whenever the keys rest, not only when it is left.

    Args:
        key: The text area's key, of letters, digits and "-".
    """
    _renderer()(key=f"{key}-typing", data={"key": key})


@st.cache_resource(show_spinner=False)
def _renderer() -> Any:
    return st.components.v2.component("typing", js=(HERE / "typing.js").read_text(encoding="utf-8"))
