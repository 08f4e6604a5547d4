"""What a link to Explore carries besides budgets: the runs shown and the point compared with."""

import json
from urllib.parse import urlencode

import numpy as np
import pytest

from pages.explore import nearest, reference, runs_shown
from pages.explore.view import query_of
from pages.shared import frames, session
from pages.shared.columns import SEARCH_SCORE, WEIGHT_BITS, column_of
from pages.shared.run_numbers import MOST_CHOSEN
from qcore.costs import COSTS
from qcore.searches import SEARCHES
from store import all_runs
from store.runs.queue import finish
from tests.pages import sample
from tests.pages.explore.test_view import SPANS

UNIFORM, PORTFOLIO, RANDOM = 1, 2, 3
"""Numbers of the runs of `sample.fill`."""


def sent(at):
    """What the explorer in the browser was given."""
    (element,) = [each for each in at.get("bidi_component") if each.key == "explorer"]
    return json.loads(element.proto.json)


def shown(at):
    return {method["label"] for method in sent(at)["methods"]}


def point_of(store, run, place=-1):
    """The row of a point of a run, with which links and pages name it."""
    frame = session.frame(store, all_runs(store, "resnet8"), sample.MODEL)
    return frame[frame["run"] == run].iloc[place]


def against(at):
    return next(m.value for m in at.markdown if m.value.startswith("Against the reference"))


def test_a_link_restricts_the_runs_and_keeps_the_ladder(app, filled):
    at = app(runs=str(RANDOM))
    assert shown(at) == {"Random", "Uniform bits"}
    assert at.multiselect(key=runs_shown.KEY).value == [RANDOM]
    assert any("1 run not shown" in caption.value for caption in at.caption)
    assert not at.toast


def test_all_runs_are_shown_where_none_is_chosen_and_runs_are_added_one_by_one(app, filled):
    at = app()
    assert shown(at) == {"Random", "Uniform bits", "Portfolio"}
    assert "runs" not in at.query_params
    at.multiselect(key=runs_shown.KEY).set_value([UNIFORM]).run()
    assert shown(at) == {"Uniform bits"}
    at.multiselect(key=runs_shown.KEY).set_value([UNIFORM, PORTFOLIO]).run()
    assert not at.exception
    assert shown(at) == {"Uniform bits", "Portfolio"}
    assert at.query_params["runs"] == "1,2"
    at.multiselect(key=runs_shown.KEY).set_value([]).run()
    assert len(shown(at)) == 3
    assert "runs" not in at.query_params


def test_runs_that_are_not_there_are_told_once_and_left_out(app, filled):
    at = app(runs="99")
    for stale, left in (("99", 3), ("<b>", 3), ("99,1", 1), ("1,1,77777777777777777777", 1)):
        if stale != "99":
            at.query_params["runs"] = stale
            at.run()
        (toast,) = at.toast
        assert "left out" in toast.value
        assert len(shown(at)) == left
        at.run()
        assert not at.toast


def test_runs_of_other_images_are_found_by_their_link(app, filled):
    more = [sample.point(sample.uniform(5), 990)]
    held = sample.add_run(filled, "exact", more, search_images=2048)
    finish(filled, *held, "done")
    at = app(runs=str(held[0]))
    assert not at.toast
    assert shown(at) == {"Exact front"}
    assert "2,048" in at.selectbox(key="on").value


def test_a_chosen_run_without_points_shows_all(app, store):
    sample.fill(store)
    with store.write() as connection:
        connection.exec_driver_sql("DELETE FROM points WHERE run_id IN (1, 3)")
    at = app(runs=str(RANDOM))
    assert len(at.toast) == 1
    assert shown(at) == {"Portfolio"}


def test_another_model_forgets_runs_and_reference(app, filled):
    ref = reference.key_of(point_of(filled, UNIFORM))
    at = app(runs=str(RANDOM), ref=ref)
    at.selectbox(key="model").set_value("resnet20").run()
    assert not at.exception
    assert not at.toast
    assert not {"runs", "ref"} & set(at.query_params)


@pytest.mark.parametrize("ui", ["", "basic"])
def test_a_reference_is_drawn_and_the_difference_is_said(app, filled, ui):
    ref = point_of(filled, UNIFORM)
    at = app(bw="70", ref=reference.key_of(ref), **({"ui": ui} if ui else {}))
    if ui:
        figure = next(
            json.loads(e.proto.spec) for e in at.get("plotly_chart") if "front" in e.proto.id
        )
        (mark,) = [trace for trace in figure["data"] if trace["name"] == "reference"]
        assert mark["y"] == [ref[SEARCH_SCORE]]
        assert mark["x"][0] * 1024 == pytest.approx(ref[column_of(COSTS["weight_bytes"])])
        at.selectbox(key="take").set_value("Portfolio").run()
    else:
        (label,) = [r["label"] for r in sent(at)["refs"] if "reference" in r["label"]]
        assert label == "★ reference: 8 bits"
        at.query_params["focus"] = "Portfolio"
        at.run()
    row = (
        frames.picks(
            session.frame(filled, all_runs(filled, "resnet8"), sample.MODEL),
            {"weight_bytes": 70 * 1024},
        )
        .set_index("method")
        .loc["Portfolio"]
    )
    words = against(at)
    points = row[SEARCH_SCORE] - ref[SEARCH_SCORE]
    assert f"{points:+.2f} points on the same 1,000 search images" in words
    assert f"{8 - row[WEIGHT_BITS]:.2f} bits a weight less" in words
    assert "Uniform bits" in words


def test_the_reference_itself_says_so_and_can_be_dropped(app, filled):
    at = app(focus="Uniform bits", bw="40")
    at.button(key="reference").click().run()
    assert not at.exception
    assert at.query_params["ref"]
    assert any(m.value.startswith("This is the reference") for m in at.markdown)
    at.button(key="reference").click().run()
    assert "ref" not in at.query_params
    assert not any("the reference" in m.value for m in at.markdown)


def test_a_reference_of_a_hidden_run_counts_and_one_that_is_not_there_is_dropped(app, filled):
    at = app(runs=str(RANDOM), ref=reference.key_of(point_of(filled, PORTFOLIO)))
    assert not at.toast
    assert "Portfolio" in against(at)
    for stale in ("9:9", "1:9999", "<i>:1", "1:" + "9" * 400):
        at.query_params["ref"] = stale
        at.run()
        (toast,) = at.toast
        assert "reference" in toast.value
        assert "<" not in toast.value.replace("\\<", "")
        assert "ref" not in at.query_params
        assert shown(at) == {"Random", "Uniform bits"}


def test_a_difference_counts_bytes_bits_and_points(filled):
    eight, four = (point_of(filled, UNIFORM, place) for place in (3, 2))
    words = reference.difference_words(sample.MODEL, eight, four)
    less = int(eight[column_of(COSTS["weight_bytes"])] / 2)
    assert f"weights {less / 1024:.1f} KiB less (-50.0 %)" in words
    assert "compute" in words
    assert "4.00 bits a weight less" in words
    assert "-8.00 points on the same 1,000 search images" in words
    assert "-8.00 points on the test split" in words
    back = reference.difference_words(sample.MODEL, four, eight)
    assert "(+100.0 %)" in back
    assert "+8.00 points" in back


def test_a_link_with_everything_stays_short_and_plain():
    longest = max((search.title for search in SEARCHES.values()), key=len)
    said = {
        "values": {name: span.high for name, span in SPANS.items()},
        "on": dict.fromkeys(SPANS, False),
        "x": "activation_bytes_max",
        "focus": f"{longest}, tuned",
    }
    numbers = range(10_000, 10_000 + MOST_CHOSEN)
    link = urlencode(
        {
            **query_of(said, SPANS),
            "model": "efficientnet_v2_l",
            "runs": runs_shown.write_ids(list(numbers)),
            "pt": "10000:1000000",
            "ref": "10000:1000000",
            "src": "predicted",
        }
    )
    assert link.isascii()
    assert len(link) <= 300


@pytest.mark.parametrize("ui", ["", "basic"])
def test_a_pick_without_files_offers_the_nearest_that_has_some(app, filled, ui):
    frame = session.frame(filled, all_runs(filled, "resnet8"), sample.MODEL)
    mine = frame[frame["method"] == "Portfolio"]
    bare = mine[mine["config_point"] < 0].iloc[0]
    at = app(**({"ui": ui, "bw": "70"} if ui else {"pt": reference.key_of(bare)}))
    if ui:
        at.query_params["pt"] = reference.key_of(bare)
        at.run()
        at.selectbox(key="take").set_value("The point of the link").run()
    button = at.button(key="nearest")
    wanted = nearest.nearest_with_files(frame, bare)
    assert f"{wanted[SEARCH_SCORE]:.1f} %" in button.label
    assert not at.get("download_button")
    button.click().run()
    assert not at.exception
    assert at.get("download_button")
    assert at.query_params["pt"] == reference.key_of(wanted)


def test_the_nearest_with_files_is_of_the_same_method_and_nearest_in_cost(filled):
    frame = session.frame(filled, all_runs(filled, "resnet8"), sample.MODEL)
    columns = [column_of(COSTS[name]) for name in ("weight_bytes", "bit_ops")]
    for _, row in frame[frame["config_point"] < 0].iterrows():
        found = nearest.nearest_with_files(frame, row)
        if row["method"] == "Random":
            assert found is None  # none of its points was reported
            continue
        ready = frame[(frame["method"] == row["method"]) & (frame["config_point"] >= 0)]
        apart = sum((np.log(ready[c].astype(float)) - np.log(float(row[c]))).abs() for c in columns)
        assert found["point"] == ready.loc[apart.idxmin(), "point"]


def test_a_pick_without_files_offers_the_best_within_the_same_budgets(app, filled):
    frame = session.frame(filled, all_runs(filled, "resnet8"), sample.MODEL)
    size = column_of(COSTS["weight_bytes"])
    for limit in (20_000, 40_000, 60_000, 80_000):
        for _, row in frames.picks(frame, {"weight_bytes": limit}).iterrows():
            found = nearest.best_with_files(frame, row, {"weight_bytes": limit})
            mine = frame[(frame["method"] == row["method"]) & (frame["config_point"] >= 0)]
            fitting = mine[mine[size] <= limit]
            if fitting.empty:
                assert found is None
                continue
            assert found[size] <= limit
            assert found[SEARCH_SCORE] == fitting[SEARCH_SCORE].max()
            assert found["method"] == row["method"]
