"""Throwaway databases on the PostgreSQL server that the tests were given, if any."""

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import create_engine, make_url

VARIABLE = "BITDIAL_TEST_POSTGRES"
WHY_SKIPPED = (
    f"needs a PostgreSQL server: set {VARIABLE} to the URL of an empty database whose user may "
    "create databases; `make test` starts such a server"
)
NUMBERS = itertools.count()


def server() -> str:
    """URL of the server; the test that asks is skipped where there is none."""
    return os.environ.get(VARIABLE) or pytest.skip(WHY_SKIPPED)


@contextmanager
def new_database(template: str = "template1") -> Iterator[str]:
    """URL of a new database, copied from another by its name and dropped afterwards."""
    url = make_url(server())
    name = f"bitdial_test_{os.getpid()}_{next(NUMBERS)}"
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        yield url.set(database=name).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.exec_driver_sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        engine.dispose()
