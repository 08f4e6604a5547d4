import ast
import os
from pathlib import Path

import pytest

from pages.shared.text import literal
from store import open_store
from store.runs.queue import finish
from tests.pages import sample

ROOT = Path(__file__).parents[2]
PAGES = ("explore", "searches")
ALL = (*PAGES, "compare", "workbench", "models", "configs", "settings", "run_time")
"""Every page that reads the database."""


def texts(at):
    kinds = (at.markdown, at.caption, at.info, at.warning, at.error, at.header)
    return "\n".join(element.value for kind in kinds for element in kind)


def test_only_the_package_file_lies_directly_in_pages():
    # Streamlit would run any other file there as a page of its own, without app.py
    assert [path.name for path in (ROOT / "pages").glob("*.py")] == ["__init__.py"]


def test_pages_hold_no_sql_and_no_torch():
    for path in [ROOT / "app.py", *(ROOT / "pages").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.split(".")[0] not in {"torch", "sqlalchemy", "alembic"}, path


@pytest.mark.parametrize("page", PAGES)
def test_an_empty_database_is_explained(app, page):
    at = app(page)
    expected = {"explore": "Nothing was measured", "searches": "No search was started"}
    assert expected[page] in texts(at)


@pytest.mark.parametrize("page", PAGES)
def test_results_are_drawn(app, filled, page):
    at = app(page)
    assert not at.error
    assert len(at.dataframe) >= 1
    assert len(at.get("plotly_chart")) >= 1


@pytest.mark.parametrize("page", PAGES)
def test_a_running_search_shows_its_progress(app, store, page):
    sample.add_run(store, "uniform", [sample.point(sample.uniform(4), 900)])
    at = app(page)
    assert "1 running, 0 queued" in texts(at)
    assert at.get("progress")


@pytest.mark.parametrize("page", PAGES)
def test_a_failed_search_shows_its_error(app, store, page):
    held = sample.add_run(store, "uniform", [])
    finish(store, *held, "failed", "There is no folder /nowhere.", "Traceback: line 1")
    at = app(page)
    assert literal("There is no folder /nowhere.") in texts(at)


@pytest.mark.parametrize("page", ALL)
@pytest.mark.parametrize("ruin", ["not a database", "too new", "no folder"])
def test_an_unusable_database_is_explained_without_a_traceback(app, place, page, ruin):
    if ruin == "too new":
        store = open_store()
        with store.write() as connection:
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    elif ruin == "not a database":
        place.mkdir(parents=True)
        (place / "bitdial.db").write_text("this is prose, not a database\n" * 100)
    else:
        place.write_text("a file where a folder is needed")
    at = app(page)
    (error,) = at.error
    assert "database" in error.value
    assert "Traceback" not in error.value
    assert not at.button


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(
    ("address", "warns"), [("localhost", False), ("127.0.0.1", False), ("0.0.0.0", True)]
)
def test_a_server_others_can_reach_says_so(app, monkeypatch, page, address, warns):
    import streamlit as st

    real = st.get_option
    monkeypatch.setattr(
        st, "get_option", lambda name: address if name == "server.address" else real(name)
    )
    at = app(page)
    assert any("Others can reach" in box.value for box in at.warning) is warns


def test_a_server_without_an_address_listens_everywhere():
    from pages.shared.notes.setup import is_loopback

    assert not is_loopback(None)
    assert not is_loopback("")
    assert not is_loopback("192.168.1.5")
    assert is_loopback("::1")


def test_a_database_lost_while_the_page_is_open_is_explained(app, filled):
    at = app()
    with filled.write() as connection:
        connection.exec_driver_sql("DROP TABLE points")
    at.run()
    assert not at.exception
    assert any("database" in error.value for error in at.error)


def test_settings_keep_the_server_to_this_machine():
    import tomllib

    settings = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    assert settings["server"]["address"] == "localhost"
    assert settings["server"]["allowedHosts"] == ["localhost", "127.0.0.1"]
    assert settings["browser"]["gatherUsageStats"] is False


def test_no_test_of_the_pages_touches_the_default_database(place):
    assert os.environ["BITDIAL_DATA"] == str(place)
