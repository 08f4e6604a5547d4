import numpy as np
import pytest

from pages.explore.view import query_of, read_view
from pages.shared.ranges import loss_spans, spans_of
from tests.pages import sample

SPANS = spans_of(sample.MODEL, 32)


def test_what_the_explorer_said_reads_back_from_the_address():
    said = {
        "values": {
            "weight_bytes": 31.2,
            "bit_ops": SPANS["bit_ops"].high,
            "points": 0.75,
            "nats": 0.1,
        },
        "on": {"weight_bytes": False, "bit_ops": True, "points": True, "nats": True},
        "x": "bit_ops",
        "y": "loss",
        "focus": "Exact front, tuned",
    }
    view = read_view(query_of(said, SPANS), SPANS)
    assert view.values == said["values"]
    assert view.on == said["on"]
    assert (view.x, view.y, view.focus, view.wrong) == ("bit_ops", "loss", said["focus"], ())
    assert view.within == (0.75, "points")
    assert read_view({"ln": "true", "bn": "0.1"}, SPANS).within == (0.1, "nats")
    assert read_view({}, SPANS).within is None


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"values": {"weight_bytes": "30"}, "on": {}, "x": "<b>", "y": [], "focus": 3},
        {"values": {"weight_bytes": 1e300}, "on": {"weight_bytes": []}, "x": None, "focus": None},
    ],
)
def test_nonsense_from_a_browser_is_left_out(said):
    view = read_view(query_of(said, SPANS), SPANS)
    assert view.values["weight_bytes"] == SPANS["weight_bytes"].start
    assert (view.x, view.focus, view.wrong) == ("weight_bytes", "", ())


def test_a_typed_budget_between_two_settings_stays_exact_in_a_link():
    exact = 19_269 / SPANS["weight_bytes"].factor
    query = query_of({"values": {"weight_bytes": exact}, "on": {"weight_bytes": True}}, SPANS)
    assert read_view(query, SPANS).limits(SPANS) == {"weight_bytes": 19_269}
    on_grid = query_of({"values": {"weight_bytes": 25.0}, "on": {}}, SPANS)
    assert float(on_grid["bw"]) == 25
    assert len(on_grid["bw"]) <= 6


def test_a_link_stays_short_and_plain():
    said = {
        "values": {name: span.high for name, span in {**SPANS, **loss_spans()}.items()},
        "on": dict.fromkeys([*SPANS, *loss_spans()], True),
        "y": "divergence",
        "x": "activation_bytes_max",
        "focus": "x" * 5000,
    }
    assert sum(len(key) + len(value) + 2 for key, value in query_of(said, SPANS).items()) <= 300


def bytes_of(kibibytes):
    return np.array(kibibytes, float) * SPANS["weight_bytes"].factor


def test_a_budget_below_its_range_is_the_lowest_that_something_fits():
    reached = {"weight_bytes": bytes_of([31.23, 40.0]), "bit_ops": np.array([9e8, 1e6])}
    view = read_view({"bw": "-4"}, SPANS, reached)
    assert view.limits(SPANS)["weight_bytes"] >= bytes_of(31.23)
    assert view.values["weight_bytes"] == pytest.approx(31.23, abs=SPANS["weight_bytes"].step)
    assert len(view.wrong) == 1
    # another budget that holds is kept
    within = read_view({"bw": "-4", "bc": "0.5", "lc": "true"}, SPANS, reached)
    assert {name: within.values[name] for name in SPANS} == {"weight_bytes": 40.0, "bit_ops": 0.5}
    assert read_view({"bw": "-4"}, SPANS).values["weight_bytes"] == SPANS["weight_bytes"].low


def test_a_budget_above_its_range_is_the_highest():
    view = read_view({"bw": "1e9"}, SPANS, {"weight_bytes": bytes_of([31.23])})
    assert view.values["weight_bytes"] == SPANS["weight_bytes"].high


def test_a_budget_within_its_range_stays_even_where_nothing_fits():
    view = read_view({"bw": "20"}, SPANS, {"weight_bytes": bytes_of([31.23])})
    assert (view.values["weight_bytes"], view.wrong) == (20.0, ())
