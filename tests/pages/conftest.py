from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from store import Store, open_store
from tests.pages import sample

APP = Path(__file__).parents[2] / "app.py"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Point the dashboard at an empty folder; caches of other tests are dropped."""
    monkeypatch.delenv("BITDIAL_DATABASE_URL", raising=False)
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("STREAMLIT_SERVER_ADDRESS", "localhost")
    st.cache_resource.clear()
    yield tmp_path / "data"
    st.cache_resource.clear()


@pytest.fixture
def store(place) -> Store:
    return open_store()


@pytest.fixture
def filled(store) -> Store:
    sample.fill(store)
    return store


@pytest.fixture
def app(place):
    """Open the dashboard, at a page and with URL parameters, and check that nothing blew up."""

    def open_page(page: str = "explore", **query: str) -> AppTest:
        at = AppTest.from_file(APP, default_timeout=30)
        for name, value in query.items():
            at.query_params[name] = value
        if page != "explore":
            at.switch_page(f"pages/views/{page}.py")
        at.run()
        assert not at.exception
        return at

    return open_page
