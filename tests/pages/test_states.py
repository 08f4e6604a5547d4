"""Every page draws in every state of the database: no traceback, and words where there is nothing.

Empty, filled, running, failed, with a damaged row, and with 10,000 points of 200 layers.
"""

import itertools

import pytest
from sqlalchemy import update
from streamlit.testing.v1 import AppTest

from benchmarks.dashboard import large
from store import open_store
from store.database.schema import PointRow
from store.runs.queue import finish
from tests.pages import sample
from tests.pages.conftest import APP
from tests.variants import crossed

PAGES = (
    "explore",
    "searches",
    "compare",
    "workbench",
    "models",
    "configs",
    "guide",
    "settings",
)
NASTY = "<script>alert(1)</script> \u202etxet \U0001f680 $x^2$ **b** [a](http://b) " + "n" * 120


def empty(store):
    """Nothing was ever measured."""


def filled(store):
    sample.fill(store)


def running(store):
    sample.add_run(store, "portfolio", [sample.point(sample.uniform(4), 900)])


def failed(store):
    held = sample.add_run(store, "uniform", [sample.point(sample.uniform(4), 900)])
    finish(store, *held, "failed", "The disk is full.", "Traceback: somewhere")


def damaged(store):
    """A row whose layers are not the model's, and a configuration that is no JSON."""
    sample.fill(store)
    with store.write() as connection:
        other = {"nowhere": [2, 8]}
        connection.execute(update(PointRow).where(PointRow.id == 1).values(allocation=other))
        connection.execute(update(PointRow).where(PointRow.id == 2).values(config="{"))
        connection.exec_driver_sql("UPDATE points SET search = '{broken' WHERE id = 3")
        connection.exec_driver_sql("UPDATE runs SET spec = 'broken' WHERE id = 2")


def hostile(store):
    held = sample.add_run(store, "uniform", [sample.point(sample.uniform(4), 900, tested=True)])
    finish(store, *held, "failed", NASTY, NASTY)


STATES = {f.__name__: f for f in (empty, filled, running, failed, damaged, hostile)}


def text_of(at: AppTest) -> str:
    """All words on the page that Markdown would read."""
    kinds = (at.markdown, at.title, at.header, at.subheader, at.caption, at.info, at.error)
    return "\n".join(str(element.value) for kind in (*kinds, at.warning) for element in kind)


UNFIT = ("empty", "damaged")
"""States in which every page is drawn by default; of the others, each page in one."""


@pytest.mark.parametrize(
    ("page", "state"),
    [
        *itertools.product(PAGES, UNFIT),
        *crossed(PAGES, [state for state in STATES if state not in UNFIT]),
    ],
)
def test_every_page_draws_in_every_state(app, store, page, state):
    STATES[state](store)
    at = app(page)
    words = text_of(at)
    assert words.strip()
    assert "Traceback" not in words
    # nothing but our own code may make HTML
    assert not any(element.allow_html for element in at.markdown)


@pytest.fixture(scope="module", params=[2_000, pytest.param(10_000, marks=pytest.mark.slow)])
def deep(request, tmp_path_factory):
    """Thousands of points of a network with 200 layers, made once."""
    folder = tmp_path_factory.mktemp("deep")
    large.fill(open_store(folder / "bitdial.db"), layers=200, points=request.param, runs=2)
    return folder


# Compare takes as long as all others together, and reads its points as Explore does
@pytest.mark.parametrize(
    "page", ["explore", "searches", "workbench", pytest.param("compare", marks=pytest.mark.slow)]
)
def test_thousands_of_points_of_two_hundred_layers_are_drawn(deep, monkeypatch, page):
    monkeypatch.delenv("BITDIAL_DATABASE_URL", raising=False)
    monkeypatch.setenv("BITDIAL_DATA", str(deep))
    monkeypatch.setenv("STREAMLIT_SERVER_ADDRESS", "localhost")
    at = AppTest.from_file(APP, default_timeout=120)
    at.query_params["model"] = "deep"
    if page != "explore":
        at.switch_page(f"pages/views/{page}.py")
    at.run()
    assert not at.exception
    assert text_of(at).strip()
