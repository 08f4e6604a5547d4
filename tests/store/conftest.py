import time

import pytest

from store import open_store


@pytest.fixture
def store(tmp_path):
    opened = open_store(tmp_path / "bitdial.db")
    yield opened
    opened.engine.dispose()


@pytest.fixture
def eventually():
    """Wait until a condition holds; fail after a deadline."""

    def wait(condition, seconds=40.0):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it never happened"
            time.sleep(0.05)

    return wait
