import json
from dataclasses import replace

import pytest

from pages.explore import details
from pages.shared import frames, promised, session
from pages.shared.columns import SEARCH_LOSS, TEST_LOSS, WEIGHT_BITS, column_of
from pages.shared.text import literal
from qcore.costs import COSTS, mean_weight_bits
from qcore.formats.config import parse_bits
from qcore.formats.exports import EXPORTS
from qcore.models.catalog import MODELS
from qcore.problem import Point, Scores
from qcore.setting import Setting
from store import all_runs, configs, create_run, save_model
from store.runs.queue import finish
from tests.pages import sample
from tests.variants import some


@pytest.fixture
def basic(app):
    """Open Explore with its native controls."""
    return lambda **query: app(ui="basic", **query)


def chart(at, key):
    return next(
        json.loads(element.proto.spec)
        for element in at.get("plotly_chart")
        if key in element.proto.id
    )


def cells(at, key="heatmap"):
    """Method -> (weight texts, activation texts) of the heatmap."""
    return {
        trace["name"]: trace["text"]
        for trace in chart(at, key)["data"]
        if trace["type"] == "heatmap"
    }


def frame_of(store):
    return session.frame(store, all_runs(store, "resnet8"), sample.MODEL)


def test_a_network_that_guesses_is_said_to_and_asked_about_before_its_first_search(app, store):
    guesses = Scores(2_000, 0.0, 1.0, 0.1, 2.3)
    save_model(
        store, sample.MODEL, "fashion-mnist", Point(sample.uniform(32, 32), guesses, guesses)
    )
    at = app("explore")
    assert any(literal("comes to 10.0 %") in warning.value for warning in at.warning)
    button = next(b for b in at.button if b.label == "Start the first search")
    assert button.disabled
    at.checkbox(key="first-anyway").check().run()
    next(b for b in at.button if b.label == "Start the first search").click().run()
    assert all(run.spec.anyway for run in all_runs(store))
    assert len(all_runs(store)) == 2


def test_a_trained_network_gets_no_warning(app, filled):
    assert not [w for w in app("explore").warning if "guessing" in w.value]


def test_the_first_search_queues_the_ladder_and_the_portfolio(app, store):
    at = app()
    button = next(b for b in at.button if b.label == "Start the first search")
    button.click().run()
    assert not at.exception
    queued = {run.spec.search: run for run in all_runs(store)}
    assert set(queued) == {"uniform", "portfolio"}
    assert all(run.state == "queued" and run.spec.model == "resnet8" for run in queued.values())
    assert queued["portfolio"].spec.data == "fashion-mnist"
    assert "Start the first search" not in [b.label for b in at.button]


def test_the_ladder_is_drawn_with_its_costs_before_anything_is_measured(app, store):
    at = app()
    digits = {text for rows in cells(at, "ladder").values() for row in rows for text in row}
    assert digits == {"2", "3", "4", "8", "float"}
    size = sum(layer.weights for layer in sample.MODEL.layers)
    assert any(f"{size:,} B" in str(frame.value.to_dict()) for frame in at.dataframe)
    assert any("Not measured yet" in caption.value for caption in at.caption)
    assert "Start the first search" in [b.label for b in at.button]


def test_a_model_that_needs_images_points_to_the_searches_page(app):
    at = app(model="resnet18")
    assert at.selectbox(key="model").value == "resnet18"
    assert not [b for b in at.button if "first search" in b.label]
    assert any("folder of images" in text.value for text in at.markdown)


def test_the_heatmap_shows_the_pick_of_the_one_rule(basic, filled):
    at = basic()
    frame = frame_of(filled)
    for budget in (20.0, 30.0, 45.5, 70.0):
        at.slider(key="bw").set_value(budget).run()
        assert not at.exception
        chosen = frames.picks(frame, {"weight_bytes": budget * 1024})
        shown = cells(at)
        assert set(shown) == set(chosen["method"]), budget
        for method, allocation in zip(chosen["method"], chosen["allocation"], strict=True):
            assert shown[method][0] == [str(bits.weight) for bits in allocation.values()]
        table = at.dataframe[0].value
        assert table["Method"].tolist() == chosen["method"].tolist()


def test_both_budgets_together_narrow_the_choice(basic, filled):
    at = basic()
    at.toggle(key="lc").set_value(True).run()
    at.slider(key="bc").set_value(0.3).run()
    assert not at.exception
    # only allocations with quantized activations compute so little
    assert list(cells(at)) == ["Random"]
    assert any("fits these budgets" in caption.value for caption in at.caption)


def test_budgets_can_be_switched_off(basic, filled):
    at = basic()
    at.toggle(key="lw").set_value(False).run()
    assert at.slider(key="bw").disabled
    assert set(cells(at)["Uniform bits"][0]) == {"8"}


def test_a_budget_below_the_smallest_says_the_smallest_in_bytes(basic, filled):
    at = basic()
    at.slider(key="bw").set_value(at.slider(key="bw").min).run()
    assert not at.exception
    smallest = int(frame_of(filled)[column_of(COSTS["weight_bytes"])].min())
    (info,) = at.info
    assert f"{smallest:,} B" in info.value
    assert len(at.get("plotly_chart")) == 1


def test_a_link_restores_the_view(basic, filled):
    at = basic(model="resnet8", bw="30", x="Compute", src="measured")
    assert at.slider(key="bw").value == 30.0
    assert at.selectbox(key="x").value == "bit_ops"
    assert chart(at, "front")["layout"]["xaxis"]["title"]["text"].endswith("bit-ops")


@pytest.mark.parametrize(
    "query",
    some(
        [
            {"bw": "-3"},
            {"bw": "many"},
            {"x": "nonsense"},
            {"src": "??"},
            {"model": "none"},
            {"lw": "?"},
        ],
        3,
    ),
)
def test_a_link_that_makes_no_sense_falls_back(basic, filled, query):
    at = basic(**query)
    assert at.slider(key="bw").value > 0
    assert at.selectbox(key="model").value in MODELS


def test_another_model_starts_with_budgets_of_its_own(basic, filled):
    at = basic(bw="30")
    at.selectbox(key="model").set_value("resnet20").run()
    assert not at.exception
    at.selectbox(key="model").set_value("resnet8").run()
    assert not at.exception
    assert at.slider(key="bw").value != 30.0


@pytest.mark.parametrize("name", some(COSTS, 3))
def test_every_cost_can_be_the_horizontal_axis(basic, filled, name):
    at = basic()
    at.selectbox(key="x").set_value(name).run()
    assert not at.exception
    title = chart(at, "front")["layout"]["xaxis"]["title"]["text"]
    assert title.startswith(COSTS[name].title)


def test_the_float_network_is_shown_with_its_count(basic, filled):
    at = basic()
    said = [m.value for m in at.markdown if "Float network 92.0 %" in m.value]
    assert len(said) == 1
    assert "n=10,000) on the test split" in said[0]
    words = [note["text"] for note in chart(at, "front")["layout"]["annotations"]]
    assert "float 93.0 %" in words


def test_a_prepared_point_is_offered_in_every_format(basic, filled):
    at = basic()
    at.selectbox(key="take").set_value("Uniform bits").run()
    labels = [element.proto.label for element in at.get("download_button")]
    assert {export.title for export in EXPORTS.values() if not export.needs_model} <= set(labels)
    assert "Measure again" in [b.label for b in at.button]


def test_measuring_again_queues_just_that_allocation(basic, filled):
    at = basic()
    at.selectbox(key="take").set_value("Uniform bits").run()
    next(b for b in at.button if b.label == "Measure again").click().run()
    assert not at.exception
    newest = all_runs(filled)[0]
    assert newest.spec.search == "given"
    assert newest.spec.params["allocations"] == [sample.uniform(4).to_json()]
    assert newest.spec.weight_bits == (4,)
    assert newest.spec.limits == {}
    assert any("being measured" in info.value for info in at.info)


def test_a_point_without_a_file_can_be_prepared(basic, store):
    held = sample.add_run(store, "exact", [sample.point(sample.uniform(3), 900)])
    finish(store, *held, "done")
    at = basic()
    assert not at.get("download_button")
    next(b for b in at.button if b.label == "Measure and prepare").click().run()
    assert all_runs(store)[0].spec.search == "given"


def test_predictions_never_stand_beside_measurements(basic, filled):
    at = basic()
    at.segmented_control(key="src").set_value("predicted").run()
    assert not at.exception
    figure = chart(at, "front")
    assert figure["layout"]["yaxis"]["title"]["text"] == "Predicted damage, nats"
    assert all("predicted" in t["name"] or "best" in t["name"] for t in figure["data"])
    columns = [column for table in at.dataframe for column in table.value.columns]
    assert "Method" in columns
    assert not any("Accuracy" in column for column in columns)
    assert not [each for each in at.get("download_button") if each.label != "Save rules"]
    assert "Measure and prepare" in [b.label for b in at.button]


def test_predictions_need_a_stored_sensitivity(basic, store):
    held = sample.add_run(store, "uniform", [sample.point(sample.uniform(4), 900)])
    finish(store, *held, "done")
    at = basic()
    at.segmented_control(key="src").set_value("predicted").run()
    assert not at.exception
    assert any("No sensitivity" in info.value for info in at.info)


def test_accuracies_on_different_images_are_never_shown_together(basic, filled):
    more = [sample.point(sample.uniform(5), 990)]
    finish(store_args := filled, *sample.add_run(filled, "exact", more, search_images=2048), "done")
    at = basic()
    assert "Exact front" not in cells(at)
    choice = at.selectbox(key="on")
    other = next(option for option in choice.options if "2,048" in option)
    choice.set_value(other).run()
    at.slider(key="bw").set_value(70.0).run()
    assert not at.exception
    assert list(cells(at)) == ["Exact front"]
    assert store_args is filled


def test_a_budget_no_prediction_meets_says_the_smallest_in_bytes(basic, filled):
    at = basic(src="predicted", bw="10")
    (info,) = at.info
    assert "Nothing predicted fits" in info.value
    assert "19,268 B" in info.value


def sent(at):
    """What the explorer in the browser was given."""
    (element,) = [each for each in at.get("bidi_component") if each.key == "explorer"]
    return json.loads(element.proto.json)


def table_of_picks(at):
    return next(d.value for d in at.dataframe if "Lost against float, points" in d.value)


def heading(at):
    return next(m.value for m in at.markdown if " bits a weight" in m.value)


def test_the_explorer_gets_every_method_and_the_reader_the_details_of_the_best(app, filled):
    at = app(bw="30")
    data = sent(at)
    frame = frame_of(filled)
    assert [m["label"] for m in data["methods"]] == list(dict.fromkeys(frame["method"]))
    assert data["budgets"][0]["value"] == 30.0
    chosen = frames.picks(frame, {"weight_bytes": 30 * 1024})
    assert table_of_picks(at)["Method"].tolist() == chosen["method"].tolist()
    assert details.ranked(chosen)["method"].iloc[0] in heading(at)
    best = details.ranked(chosen)
    lost = best[TEST_LOSS].fillna(best[SEARCH_LOSS])
    # what was tested comes first, then what loses least
    order = list(zip(best[TEST_LOSS].isna(), lost, strict=True))
    assert order == sorted(order)


def test_the_loss_that_is_accepted_gives_the_smallest_that_is_shown_to_lose_no_more(app, filled):
    frame = frame_of(filled)
    at = app(lw="false", ll="true", bl="5")
    assert any("is shown to lose at most 5 points" in info.value for info in at.info)
    exact = [
        replace(
            sample.point(sample.uniform(bits), 900, tested=True),
            test=Scores(10_000, 0.01, 0.98, 0.92 - 0.002 * (8 - bits), 0.3),
        )
        for bits in (5, 6, 7)
    ]
    finish(filled, *sample.add_run(filled, "exact", exact), "done")
    at = app(lw="false", ll="true", bl="2")
    wanted = promised.smallest(frame_of(filled), 2.0, "weight_bytes")
    assert table_of_picks(at)["Method"].tolist() == wanted["method"].tolist() == ["Exact front"]
    assert wanted["allocation"].iloc[0] == sample.uniform(5)
    assert "Exact front" in heading(at)
    assert len(frame) < len(frame_of(filled))


def test_native_controls_accept_a_loss_too(basic, filled):
    exact = [
        replace(
            sample.point(sample.uniform(bits), 900, tested=True),
            test=Scores(10_000, 0.01, 0.98, 0.92 - 0.002 * (8 - bits), 0.3),
        )
        for bits in (5, 6, 7)
    ]
    finish(filled, *sample.add_run(filled, "exact", exact), "done")
    at = basic(lw="false")
    at.toggle(key="ll").set_value(True).run()
    at.slider(key="bl").set_value(2.0).run()
    assert not at.exception
    assert list(cells(at)) == ["Exact front"]
    assert set(cells(at)["Exact front"][0]) == {"5"}
    at.slider(key="bl").set_value(0.0).run()
    assert any("No tested point is shown to lose at most 0" in info.value for info in at.info)
    # what keeps a pick away is said: here a budget
    at = basic(bw="20", ll="true", bl="2")
    assert any("Within these budgets" in info.value for info in at.info)


def test_a_link_with_a_focus_shows_the_details_of_that_method(app, filled):
    at = app(bw="40", focus="Uniform bits")
    assert "Uniform bits" in heading(at)
    assert sent(at)["init"]["focus"] == "Uniform bits"


def test_a_link_to_a_point_shows_it_whatever_the_budget(app, filled):
    row = frame_of(filled).iloc[-1]
    at = app(bw="13", pt=f"{row['run']}:{row['point']}")
    assert "the point you clicked" in heading(at)
    assert f"{row[WEIGHT_BITS]:.2f} bits" in heading(at)


@pytest.mark.parametrize(
    "query",
    some(
        [
            {"pt": "99:1"},
            {"pt": "nonsense"},
            {"bw": "-4"},
            {"bw": "many"},
            {"bc": "1e99", "lc": "true"},
        ],
        3,
    ),
)
def test_a_stale_link_is_said_and_leads_to_the_nearest_view(app, filled, query):
    at = app(**query)
    assert len(at.toast) == 1
    assert "on the search split" in heading(at) or "on the test split" in heading(at)


def test_a_budget_below_all_points_is_said_above_an_explorer_that_still_draws(app, filled):
    at = app(bw=str(sent(app())["budgets"][0]["lo"]))
    assert "Nothing measured fits" in at.info[0].value
    assert sent(at)["methods"]


def test_what_the_browser_starts_from_is_sent_once(app, filled):
    at = app(bw="30")
    before = sent(at)
    at.query_params["bw"] = "50"
    at.run()
    assert sent(at) == before
    assert table_of_picks(at)["Method"].tolist()[0] == "Uniform bits"


def test_a_kept_point_is_a_saved_configuration(app, filled):
    at = app(focus="Uniform bits")
    at.button(key="keep").click().run()
    assert not at.exception
    (kept,) = configs(filled)
    assert "Uniform bits" in kept.name
    assert parse_bits(kept.text).allocation == sample.uniform(4)


def test_predictions_are_solved_in_the_browser_and_settled_here(app, filled):
    data = sent(app(src="predicted", bw="40"))
    assert data["proxy"]
    assert data["settled"]["limits"] == [["weight_bytes", 40 * 1024.0]]
    assert [height["float"] for height in data["ys"]] == [None]


def test_predictions_that_rank_badly_are_hidden(app, filled):
    worse = [
        sample.point(allocation, 990 - round(100 * mean_weight_bits(sample.MODEL, allocation)))
        for allocation in sample.allocations(40, seed=7)
    ]
    finish(filled, *sample.add_run(filled, "exact", worse), "done")
    at = app(src="predicted")
    assert "are hidden" in at.warning[0].value
    assert "explorer" not in [each.key for each in at.get("bidi_component")]


def test_recorded_results_say_so_and_offer_a_search_here(app, filled):
    with filled.write() as connection:
        connection.exec_driver_sql("UPDATE runs SET origin = 'recorded on 2026-11-21 with 1.0'")
    at = app()
    assert any(literal("recorded on 2026-11-21") in caption.value for caption in at.caption)
    next(b for b in at.button if b.label == "Search here, now").click().run()
    assert not at.exception
    queued = [run for run in all_runs(filled) if run.state == "queued"]
    assert {run.spec.search for run in queued} == {"uniform", "portfolio"}
    # on the same images, so that their points are drawn beside the recorded ones
    assert {Setting.of(run.spec).measuring for run in all_runs(filled)} == {
        Setting.of(queued[0].spec).measuring
    }


def test_a_search_here_is_offered_until_one_has_measured_something(app, filled):
    with filled.write() as connection:
        connection.exec_driver_sql("UPDATE runs SET origin = 'recorded on 2026-11-21 with 1.0'")

    def offered(at):
        return "Search here, now" in [button.label for button in at.button]

    finish(filled, *sample.add_run(filled, "cmaes", []), "failed")
    assert offered(app())
    point = sample.point(sample.uniform(4), 900)
    finish(filled, *sample.add_run(filled, "cmaes", [point]), "done")
    assert not offered(app())


def test_the_explorer_keeps_its_place_on_the_page_when_a_search_begins(app, filled):
    # what moves is built anew: it would vanish, and a drag with it, until the page is drawn
    def place(at):
        found = [at for at, node in at.main.children.items() if node.type == "bidi_component"]
        assert len(found) == 1
        return found[0]

    before = place(app("explore"))
    create_run(filled, sample.spec_of("random"), "begun meanwhile")
    at = app("explore")
    assert ["begun meanwhile" in line.proto.text for line in at.get("progress")] == [True]
    assert place(at) == before
