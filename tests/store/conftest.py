import shutil
import time

import pytest
from sqlalchemy import make_url

from store import open_store
from tests.postgres import new_database, server


@pytest.fixture(scope="session")
def template():
    """Name of a PostgreSQL database that has every table and no row."""
    server()
    with new_database() as url:
        open_store(url).engine.dispose()
        yield make_url(url).database


@pytest.fixture(params=["sqlite", "postgresql"])
def backend(request, tmp_path, monkeypatch):
    """Each database in turn; the data folder is the test's own either way."""
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path))
    monkeypatch.delenv("BITDIAL_DATABASE_URL", raising=False)
    return request.param


@pytest.fixture
def empty_location(backend, tmp_path):
    """Where a database may be made: nothing is there yet."""
    if backend == "sqlite":
        yield str(tmp_path / "bitdial.db")
        return
    with new_database() as url:
        yield url


@pytest.fixture
def location(backend, request, tmp_path):
    """Where a database with every table is, or on SQLite is made when opened."""
    if backend == "sqlite":
        yield str(tmp_path / "bitdial.db")
        return
    with new_database(request.getfixturevalue("template")) as url:
        yield url


@pytest.fixture
def store(location, backend, fresh_database):
    if backend == "sqlite":
        shutil.copy(fresh_database, location)
    opened = open_store(location)
    yield opened
    opened.engine.dispose()


@pytest.fixture
def sqlite_store(tmp_path, monkeypatch, fresh_database):
    """For what only SQLite has; everything else asks for `store`."""
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path))
    shutil.copy(fresh_database, tmp_path / "bitdial.db")
    opened = open_store(tmp_path / "bitdial.db")
    yield opened
    opened.engine.dispose()


@pytest.fixture
def postgres_store(template, tmp_path, monkeypatch):
    """For what only a database server has; everything else asks for `store`."""
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path))
    with new_database(template) as url:
        opened = open_store(url)
        yield opened
        opened.engine.dispose()


@pytest.fixture
def eventually():
    """Wait until a condition holds; fail after a deadline."""

    def wait(condition, seconds=120.0):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it never happened"
            time.sleep(0.05)

    return wait
