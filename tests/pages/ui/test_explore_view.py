import pytest

from pages.ui import payload
from pages.ui.explore_view import query_of, read_view
from pages.ui.widgets import BUDGETS
from tests.pages import sample

SPANS = payload.spans_of(sample.MODEL, list(BUDGETS), 32)


def test_what_the_explorer_said_reads_back_from_the_address():
    said = {
        "values": {"weight_bytes": 31.2, "bit_ops": SPANS["bit_ops"].high},
        "on": {"weight_bytes": False, "bit_ops": True},
        "x": "bit_ops",
        "focus": "Exact front, tuned",
    }
    view = read_view(query_of(said, SPANS), SPANS)
    assert view.values == said["values"]
    assert view.on == said["on"]
    assert (view.x, view.focus, view.wrong) == (said["x"], said["focus"], ())


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"values": {"weight_bytes": "30"}, "on": {}, "x": "<b>", "focus": 3},
        {"values": {"weight_bytes": 1e300}, "on": {"weight_bytes": []}, "x": None, "focus": None},
    ],
)
def test_nonsense_from_a_browser_is_left_out(said):
    view = read_view(query_of(said, SPANS), SPANS)
    assert view.values["weight_bytes"] == SPANS["weight_bytes"].start
    assert (view.x, view.focus, view.wrong) == ("weight_bytes", "", ())


def test_a_link_stays_short_and_plain():
    said = {
        "values": {name: span.high for name, span in SPANS.items()},
        "on": dict.fromkeys(SPANS, True),
        "x": "activation_bytes_max",
        "focus": "x" * 5000,
    }
    assert sum(len(key) + len(value) + 2 for key, value in query_of(said, SPANS).items()) <= 300
