import json
import shutil
from dataclasses import replace

import pytest
from sqlalchemy import text

from qcore.allocation import BitAllocation
from qcore.problem import Point, Scores
from store import all_runs, delete_run, open_store, points_of, save_config
from store.runs.queue import finish
from tests.pages import compare_sample, sample


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A filled database, made once: its file."""
    path = tmp_path_factory.mktemp("compare") / "bitdial.db"
    store = open_store(path)
    compare_sample.fill(store)
    store.engine.dispose()
    return path


@pytest.fixture
def compared(place, template):
    place.mkdir(parents=True, exist_ok=True)
    shutil.copy(template, place / "bitdial.db")
    return open_store()


def headings(at):
    return [element.value for element in at.subheader]


def everything(at):
    """All words on the page."""
    kinds = (at.title, at.subheader, at.markdown, at.caption, at.info, at.error, at.warning)
    return "\n".join(element.value for kind in kinds for element in kind)


def figure(at, key):
    found = [e for e in at.get("plotly_chart") if e.proto.id.endswith(f"-{key}")]
    (chart,) = found
    return json.loads(chart.proto.spec)


def table(at, column):
    return next(e.value for e in at.dataframe if column in e.value)


def at_runs(at):
    return at.multiselect(key="compare-runs").value


def link(at):
    """The URL's parameters as text."""
    found = dict(at.query_params)
    return {k: v if isinstance(v, str) else v[0] for k, v in found.items()}


def test_nothing_measured_says_what_to_do(app, store):
    at = app("compare")
    assert headings(at) == ["Nothing to compare yet"]
    assert not at.error


def test_a_running_search_without_points_is_waited_for(app, store):
    sample.add_run(store, "uniform", [])
    assert "as soon as" in everything(app("compare"))


def test_the_latest_comparable_runs_are_proposed_and_the_link_says_so(app, compared):
    at = app("compare")
    assert at_runs(at) == [1, 2, 3, 4]
    assert link(at)["runs"] == "1,2,3,4"
    assert link(at)["x"] == "weight_bytes"
    assert len(headings(at)) == 6
    # seeds are one method, with median and range
    rows = table(at, "Hypervolume").set_index("Method")
    assert rows.loc["Portfolio", "Seeds"] == 2
    assert rows.loc["Portfolio", "Runs"] == "2 3"
    assert rows.loc["Portfolio", "Evaluations"] == "16"
    assert "[" in rows.loc["Portfolio", "Hypervolume"]
    assert "[" not in rows.loc["Random", "Hypervolume"]
    assert "reference point 75.3 KiB at 83 %" in everything(at)
    assert "n=1,000" in everything(at)


def test_the_figure_and_the_table_can_be_taken_away(app, compared):
    labels = [button.proto.label for button in app("compare").get("download_button")]
    assert labels == ["Figure as HTML", "Table as CSV"]


def test_runs_of_another_network_are_named_where_there_are_none_of_the_chosen_one(app, compared):
    words = "Nothing was measured of mobilenet yet: these are runs of resnet8"
    assert words in everything(app("compare", model="mobilenet"))
    assert "Nothing was measured of" not in everything(app("compare"))


def test_the_latest_of_every_method_is_proposed_before_further_seeds(app, compared):
    for seed in range(2, 14):
        compare_sample.add(compared, "portfolio", 860, 2, seed=seed, activation_bits=(4, 8))
    chosen = at_runs(app("compare"))
    assert {1, 4} < set(chosen)
    assert len(chosen) == 12
    assert chosen == sorted(chosen)


def test_a_link_chooses_runs_axis_and_points(app, compared):
    at = app("compare", runs="2,4", x="bit_ops", ref="2:5", pt="4:38")
    assert at_runs(at) == [2, 4]
    fronts = figure(at, "compare-fronts")
    assert "bit-ops" in fronts["layout"]["xaxis"]["title"]["text"]
    names = [trace["name"] for trace in fronts["data"]]
    assert "Portfolio" in names
    # the ladder is there although the link did not ask for it
    assert "Uniform bits (reference)" in names
    assert at.selectbox(key="compare-ref").value == "2:5"
    assert at.selectbox(key="compare-pt").value == "4:38"


def test_a_stale_link_says_so_and_shows_what_is_left(app, compared):
    at = app(
        "compare", runs="2,77,-1,![y](http://z)", x="gold", pt="9:9", ref="![x](http://y)"
    )  # fmt: skip
    said = [toast.value for toast in at.toast]
    for words in ("no run 77", r"\-1", "gold", r"9\:9", r"\!\[x\]"):
        assert any(words in toast for toast in said)
    assert at_runs(at) == [2]
    assert link(at)["runs"] == "2"
    assert link(at)["x"] == "weight_bytes"
    assert len(headings(at)) == 6


def test_a_link_of_nothing_but_strangers_falls_back(app, compared):
    at = app("compare", runs="77,78")
    assert any("runs 77 and 78" in toast.value for toast in at.toast)
    assert at_runs(at) == [1, 2, 3, 4]


def test_a_run_deleted_in_another_tab_is_left_out(app, compared):
    at = app("compare", runs="2,4")
    delete_run(compared, 4)
    at.run()
    assert not at.exception
    assert at_runs(at) == [2]
    assert any("no run 4" in toast.value for toast in at.toast)


def test_what_cannot_be_compared_is_refused_and_a_group_is_offered(app, compared):
    compare_sample.add(compared, "greedy", 800, 6, search_images=2048)
    at = app("compare", runs="2,3,5")
    (error,) = at.error
    assert "cannot be compared" in error.value
    assert "Search images" in error.value
    assert "run 5: 2,048" in error.value.replace("\\", "")
    assert not at.get("plotly_chart")
    first, second = (b for b in at.button if b.label.startswith("Only"))
    assert (first.label, second.label) == ("Only 2 runs: runs 2 and 3", "Only 1 run: run 5")
    first.click().run()
    assert not at.error
    assert at_runs(at) == [2, 3]
    assert link(at)["runs"] == "2,3"
    assert len(headings(at)) == 6


def test_the_proposal_never_mixes_what_cannot_be_compared(app, compared):
    compare_sample.add(compared, "greedy", 800, 6, search_images=2048)
    at = app("compare")
    assert not at.error
    assert at_runs(at) == [1, 2, 3, 4]


def test_weights_that_were_trained_again_are_told_from_the_old_ones(app, store):
    compare_sample.add(store, "portfolio", 800, 6)
    newer = replace(sample.MODEL, digest="f" * 64)
    original, sample.MODEL = sample.MODEL, newer
    try:
        compare_sample.add(store, "random", 800, 6)
    finally:
        sample.MODEL = original
    at = app("compare", runs="1,2")
    assert "Weights of the network" in at.error[0].value


def test_equal_evaluations_cut_every_run_at_the_smallest_count(app, compared):
    at = app("compare", runs="2,3,4", floor="60")
    before = table(at, "Hypervolume").set_index("Method")
    at.toggle(key="eq").set_value(True).run()
    assert not at.exception
    after = table(at, "Hypervolume").set_index("Method")
    assert set(after.loc[["Portfolio", "Random"], "Evaluations"]) == {"12"}
    assert float(after.loc["Random", "Hypervolume"]) < float(before.loc["Random", "Hypervolume"])
    assert after.loc["Uniform bits", "Evaluations"] == "4"
    assert "cut at 12 evaluations" in everything(at)
    # the floor moves the reference point, and with it every figure
    at.number_input(key="floor").set_value(50.0).run()
    assert "at 50 %" in everything(at)
    moved = table(at, "Hypervolume").set_index("Method")
    assert moved.loc["Random", "Hypervolume"] != after.loc["Random", "Hypervolume"]


def test_differences_come_with_interval_words_and_images(app, compared):
    at = app("compare")
    rows = table(at, "Difference, points")
    held = rows[rows["Method"] == "Portfolio"].dropna(subset="Difference, points")
    assert len(held)
    assert set(held["Test images"]) == {2000}
    assert (held["Difference, points"] > 5).all()
    assert held["In words"].eq("Portfolio is more accurate").all()
    at.selectbox(key="compare-baseline").set_value("Portfolio").run()
    rows = table(at, "Difference, points").dropna(subset="Difference, points")
    assert (rows["Difference, points"] < -5).all()


def test_a_method_alone_is_not_held_against_anything(app, store):
    compare_sample.add(store, "portfolio", 800, 6)
    at = app("compare")
    assert any("nothing to differ from" in info.value for info in at.info)
    assert "No uniform bits were measured" in everything(at)


def test_budgets_can_be_set_and_nonsense_is_refused_in_words(app, compared):
    at = app("compare", grid="50, 60")
    assert {"At most 50.0 KiB, %", "At most 60.0 KiB, %"} <= set(table(at, "Hypervolume"))
    at.text_input(key="grid").set_value("many").run()
    assert "no number" in at.error[0].value
    assert not at.exception
    assert len(headings(at)) == 6


def test_two_points_differ_in_costs_measured_accuracy_and_predicted_damage(app, compared):
    at = app("compare", runs="2,4", ref="2:5", pt="2:10")
    rows = table(at, "Change").set_index("What")
    assert "KiB" in rows.loc["Weights", "From"]
    measured = rows.loc["Accuracy, search split, measured"]
    assert measured["Change"] == "+0.50 points"
    assert "n=1,000" in measured["From"]
    # both were reported, so their answers are compared image by image
    assert "points (" in rows.loc["Accuracy, test split, measured", "Change"]
    (predicted,) = [name for name in rows.index if name.startswith("Damage predicted by kl")]
    assert "more is worse" in rows.loc[predicted, "Change"]
    assert not [name for name in rows.index if "predicted" in name and "measured" in name]
    at.selectbox(key="compare-pt").set_value("2:5").run()
    assert link(at)["pt"] == "2:5"
    assert any("same bits in every layer" in info.value for info in at.info)


def test_what_two_runs_quantize_differently_stands_above_their_difference(app, compared):
    at = app("compare", runs="2,4", ref="2:5", pt="4:40")
    assert "both are quantized alike" in everything(at)
    pinned = compare_sample.add(compared, "greedy", 800, 5, activation_bits=(8,), pin_first_last=8)
    last = f"{pinned}:{max(p.id for p in points_of(compared, [pinned]))}"
    at = app("compare", runs=f"2,{pinned}", ref="2:5", pt=last)
    assert at.selectbox(key="compare-pt").value == last
    (found,) = [e.value for e in at.table if "Quantization card" in e.value]
    rows = found.set_index("Quantization card")
    assert rows.loc["First and last layer"].tolist() == [
        "as all others",
        "fixed at 8 bits, their inputs too",
    ]
    assert len(rows) == 1
    kinds = [type(at.table[0]), type(at.dataframe[0])]
    shown = [list(e.value.columns) for e in at.main if type(e) in kinds]
    assert shown.index(["Quantization card", "From", "To"]) < shown.index(
        ["What", "From", "To", "Change"]
    )


def test_what_a_saved_file_does_not_say_is_named(app, compared):
    point = compare_sample.tested(sample.uniform(3, 8), 800, 1, 0.8)
    kept = save_config(compared, "mine", sample.config_of(point))
    at = app("compare", runs="2", ref="2:5", pt=f"config:{kept}")
    assert "Only one of the two says: " in everything(at)


def test_saved_configurations_are_on_offer_and_damaged_ones_are_not(app, compared):
    point = compare_sample.tested(sample.uniform(3, 8), 800, 1, 0.8)
    kept = save_config(compared, "mine", sample.config_of(point))
    save_config(compared, "broken", "{")
    at = app("compare", runs="2", pt=f"config:{kept}")
    box = at.selectbox(key="compare-pt")
    assert box.value == f"config:{kept}"
    assert len([words for words in box.options if words.startswith("Saved configuration")]) == 1


def test_tuned_points_are_a_method_of_their_own(app, store):
    allocation = sample.uniform(4)
    points = [sample.point(allocation, 800), sample.point(allocation, 850, stage="ptq+tuned")]
    finish(store, *sample.add_run(store, "portfolio", points, tuning=True), "done")
    rows = table(app("compare"), "Hypervolume")
    assert rows["Method"].tolist() == ["Portfolio", "Portfolio, tuned"]


def test_images_without_labels_are_called_agreement(app, store):
    bare = [
        Point(allocation, Scores(1000, 0.1, 0.8 + at / 100))
        for at, allocation in enumerate(sample.allocations(5))
    ]
    finish(store, *sample.add_run(store, "random", bare), "done")
    at = app("compare")
    title = figure(at, "compare-fronts")["layout"]["yaxis"]["title"]["text"]
    assert title == "Agreement with the float network on the search split, %"


def test_points_of_other_layers_are_left_out_with_a_word(app, compared):
    strange = BitAllocation({"no.such.layer": sample.uniform(4)["conv1"]})
    finish(compared, *sample.add_run(compared, "random", [sample.point(strange, 900)]), "done")
    at = app("compare", runs="2,5")
    assert "run 5 left out" in at.warning[0].value
    assert len(headings(at)) == 6


HOSTILE = (
    "<script>alert(1)</script>",
    "\u202e" + "reversed" * 24,
    "![x](http://elsewhere.example/x.png)" + "é" * 100,
    "🎛️" * 60,
)


def test_hostile_names_are_shown_and_never_obeyed(app, compared):
    with compared.write() as connection:
        for number, name in enumerate(HOSTILE, start=1):
            values = {"name": name, "id": number}
            connection.execute(text("UPDATE runs SET name = :name WHERE id = :id"), values)
    at = app("compare")
    assert "elsewhere.example" not in everything(at)
    options = at.multiselect(key="compare-runs").options
    assert all(len(option) < 140 for option in options)
    assert not any("\u202e" in option for option in options)
    for chart in at.get("plotly_chart"):
        assert "<script" not in chart.proto.spec


def test_a_live_run_is_drawn_as_far_as_it_is(app, compared):
    drawn = [sample.point(a, 800) for a in sample.allocations(4, activations=(4, 8))]
    sample.add_run(compared, "exact", drawn)
    at = app("compare")
    assert 5 in at_runs(at)
    rows = table(at, "Hypervolume").set_index("Method")
    assert rows.loc["Exact front", "Minutes"] == "not ended"
    assert "have not ended" in everything(at)
    assert all_runs(compared)[0].state == "running"


def test_a_cost_of_activations_can_be_the_axis(app, compared):
    at = app("compare", runs="1,4", x="activation_bytes_max")
    title = figure(at, "compare-fronts")["layout"]["xaxis"]["title"]["text"]
    assert title.startswith("Activations, largest")
