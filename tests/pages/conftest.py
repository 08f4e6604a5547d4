import functools
import shutil
from pathlib import Path

import pytest
import streamlit as st
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

from store import Store, open_store
from tests.pages import sample

APP = Path(__file__).parents[2] / "app.py"


@pytest.fixture(scope="session", autouse=True)
def one_scan():
    """AppTest reads the metadata of every installed package for each page; once is enough."""
    with pytest.MonkeyPatch.context() as patch:
        once = functools.cache(manifest_scanner.scan_component_manifests)
        patch.setattr(manifest_scanner, "scan_component_manifests", once)
        yield


def visit(patch: pytest.MonkeyPatch, place: Path, page: str = "explore", **query: str) -> AppTest:
    """Open the dashboard on a data folder, at a page and with URL parameters.

    Args:
        patch: Undoes what is set in the environment.
        place: The data folder.
        page: Name of a file in pages/views.
        query: Parameters of the link.
    """
    patch.delenv("BITDIAL_DATABASE_URL", raising=False)
    patch.setenv("BITDIAL_DATA", str(place))
    patch.setenv("STREAMLIT_SERVER_ADDRESS", "localhost")
    st.cache_resource.clear()
    at = opened(page, **query)
    st.cache_resource.clear()
    return at


def opened(page: str, **query: str) -> AppTest:
    """Open a page with URL parameters, and check that nothing blew up."""
    at = AppTest.from_file(APP, default_timeout=120)
    for name, value in query.items():
        at.query_params[name] = value
    if page != "explore":
        at.switch_page(f"pages/views/{page}.py")
    at.run()
    assert not at.exception
    return at


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
def store(place, fresh_database) -> Store:
    place.mkdir(parents=True, exist_ok=True)
    shutil.copy(fresh_database, place / "bitdial.db")
    return open_store()


@pytest.fixture(scope="session")
def filled_file(tmp_path_factory) -> Path:
    """The database of `sample.fill`, made once."""
    path = tmp_path_factory.mktemp("filled") / "bitdial.db"
    store = open_store(path)
    sample.fill(store)
    store.engine.dispose()
    return path


@pytest.fixture
def filled(place, filled_file) -> Store:
    place.mkdir(parents=True, exist_ok=True)
    shutil.copy(filled_file, place / "bitdial.db")
    return open_store()


@pytest.fixture
def app(place):
    """Open the dashboard, at a page and with URL parameters, and check that nothing blew up."""
    return lambda page="explore", **query: opened(page, **query)
