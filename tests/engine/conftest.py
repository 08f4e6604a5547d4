import dataclasses
import itertools
import tempfile
import time
from pathlib import Path

import pytest

from store import create_run, open_store, points_of
from store.workers import worker
from tests.engine import toys
from tests.engine.dashboard import Dashboard
from tests.postgres import new_database
from tests.store import fake

NUMBERS = itertools.count(1)


def spec(delay_s=0.3, search="random", params=None):
    """A search no other test made: its seed is its own."""
    return dataclasses.replace(
        fake.SPEC,
        search=search,
        data=f"toys {delay_s}",
        params={"evaluations": 30} if params is None else params,
        seed=next(NUMBERS),
    )


def essence(store, run_id):
    """What must not depend on what befell a run: its points in order, without time and place."""
    return [
        (s.point.key, dict(s.point.allocation), s.point.search, s.point.test, s.has_config)
        for s in points_of(store, [run_id], windows=True)
    ]


def uninterrupted(wanted):
    """The essence of a run that nothing happens to, done in this process."""
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder) / "bitdial.db")
        run_id = create_run(store, wanted, host="here")
        prepared = toys.ToyPrepared(wanted.seed, 0.0, Path(folder))
        code = worker.work(store, run_id, 1, worker.Signals(), lambda *_, **__: prepared)
        assert code == worker.DONE
        found = essence(store, run_id)
        store.engine.dispose()
    return found


@pytest.fixture
def eventually():
    """Wait until a condition holds; fail after a deadline."""

    def wait(condition, seconds=120.0):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it never happened"
            time.sleep(0.03)

    return wait


@pytest.fixture
def hurry(dashboards):
    """Let the toys of every server take no time from now on, until the test has ended."""
    yield lambda: [(one.data / "hurry").touch() for one in dashboards.made]
    for one in dashboards.made:
        (one.data / "hurry").unlink(missing_ok=True)


# whole servers are killed on SQLite in the default run, on PostgreSQL by `make test-all`
@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)]
)
def database(request):
    """URL of an empty database; None is a file in the data folder."""
    if request.param == "sqlite":
        yield None
        return
    with new_database() as url:
        yield url


@pytest.fixture(scope="module")
def dashboards(tmp_path_factory, database):
    """Makes dashboards, each on a data folder of its own or a given one; none is left over."""

    def make(data=None, **more):
        one = Dashboard(data or tmp_path_factory.mktemp("data"), database, **more)
        make.made.append(one)
        return one

    make.made = []
    yield make
    for one in make.made:
        one.stop()


@pytest.fixture(scope="module")
def store(server):
    opened = server.store()
    yield opened
    opened.engine.dispose()
