import json
import shutil
from dataclasses import replace

import pytest
from sqlalchemy import text

from qcore.allocation import BitAllocation
from qcore.problem import Point, Scores
from store import all_runs, delete_run, open_store, points_of, save_config, save_model
from store.runs.queue import finish
from tests.pages import compare_sample, sample
from tests.pages.conftest import visit


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


@pytest.fixture(scope="module")
def first_visit(template, tmp_path_factory):
    """The page as it opens, drawn once for tests that only read it."""
    place = tmp_path_factory.mktemp("visit") / "data"
    place.mkdir()
    shutil.copy(template, place / "bitdial.db")
    with pytest.MonkeyPatch.context() as patch:
        return visit(patch, place, "compare")


HYPERVOLUME = "Hypervolume at 12 evaluations"
"""Run 3 has the fewest."""


def headings(at):
    return [element.value for element in at.header]


def everything(at):
    """All words on the page."""
    kinds = (at.title, at.header, at.markdown, at.caption, at.info, at.error, at.warning)
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


def test_the_latest_comparable_runs_are_proposed_and_the_link_says_so(first_visit):
    at = first_visit
    assert at_runs(at) == [1, 2, 3, 4]
    assert link(at)["runs"] == "1,2,3,4"
    assert link(at)["x"] == "weight_bytes"
    assert len(headings(at)) == 7
    # seeds are one method, with median and range
    rows = table(at, "Evaluations").set_index("Method")
    assert rows.loc["Portfolio", "Seeds"] == 2
    assert rows.loc["Portfolio", "Runs"] == "2 3"
    assert rows.loc["Portfolio", "Evaluations"] == "16"
    assert "seeds:" in rows.loc["Portfolio", HYPERVOLUME]
    assert "seeds:" not in rows.loc["Random", HYPERVOLUME]
    assert "weights up to 75.3 KiB" in everything(at)
    assert "n=1,000" in everything(at)


def test_the_figure_and_the_table_can_be_taken_away(first_visit):
    labels = [button.proto.label for button in first_visit.get("download_button")]
    assert {"Figure as HTML", "SVG", "PDF", "PNG"} < set(labels)
    assert {"Table as CSV", "Table as LaTeX", "Table with test scores as CSV"} < set(labels)


def test_runs_of_another_network_are_named_where_there_are_none_of_the_chosen_one(
    app, compared, first_visit
):
    words = "Nothing was measured of mobilenet yet: these are runs of resnet8"
    assert words in everything(app("compare", model="mobilenet"))
    assert "Nothing was measured of" not in everything(first_visit)


def test_every_method_is_proposed_with_all_its_seeds(app, compared):
    for seed in range(2, 14):
        compare_sample.add(compared, "portfolio", 860, 2, seed=seed, activation_bits=(4, 8))
    at = app("compare")
    assert at_runs(at) == list(range(1, 17))
    assert at.multiselect(key="compare-methods").value == ["Uniform bits", "Random", "Portfolio"]


def test_choosing_a_method_brings_all_its_seeds_and_dropping_it_takes_them(app, compared):
    at = app("compare", runs="4")
    box = at.multiselect(key="compare-methods")
    assert box.value == ["Random"]
    assert [option.rpartition(", ")[2] for option in box.options] == ["1 seed", "1 seed", "2 seeds"]
    box.set_value(["Random", "Portfolio"]).run()
    assert sorted(at_runs(at)) == [2, 3, 4]
    assert set(link(at)["runs"].split(",")) == {"2", "3", "4"}
    # a seed alone can be left out, and stays out while its method stays
    at.multiselect(key="compare-runs").set_value([4, 2]).run()
    assert at.multiselect(key="compare-methods").value == ["Random", "Portfolio"]
    at.multiselect(key="compare-methods").set_value(["Portfolio"]).run()
    assert at_runs(at) == [2]
    assert not at.exception


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
    assert len(headings(at)) == 7


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
    assert len(headings(at)) == 7


def test_the_proposal_never_mixes_what_cannot_be_compared(app, compared):
    compare_sample.add(compared, "greedy", 800, 6, search_images=2048)
    compare_sample.add(compared, "mirror", 800, 1, activation_bits=(32,))
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


def test_hypervolumes_are_held_against_one_another_at_equal_evaluations(app, compared):
    at = app("compare", runs="2,3,4")
    equal = table(at, "Evaluations").set_index("Method")
    assert HYPERVOLUME in equal
    assert "at 12 evaluations" in everything(at)
    at.toggle(key="eq").set_value(False).run()
    assert not at.exception
    whole = table(at, "Evaluations").set_index("Method")
    assert "Hypervolume" in whole
    assert float(whole.loc["Random", "Hypervolume"]) > float(equal.loc["Random", HYPERVOLUME])
    # the uniform ladder searches nothing and is never cut; the work is told as it was
    assert whole.loc["Uniform bits", "Hypervolume"] == equal.loc["Uniform bits", HYPERVOLUME]
    assert whole["Evaluations"].equals(equal["Evaluations"])


def test_runs_with_float_activations_are_refused_beside_quantized_ones(app, compared):
    drawn = [sample.point(a, 800) for a in sample.allocations(4)]
    finish(compared, *sample.add_run(compared, "exact", drawn), "done")
    at = app("compare", runs="2,3,5")
    (error,) = at.error
    assert "Bits of activations" in error.value
    assert "run 5: float" in error.value.replace("\\", "")


def test_a_note_stays_where_a_trained_method_is_held_against_the_reference_alone(
    app, compared, first_visit
):
    drawn = [sample.point(a, 800, stage="final") for a in sample.allocations(6, activations=(4, 8))]
    finish(compared, *sample.add_run(compared, "spnets", drawn, activation_bits=(4, 8)), "done")
    at = app("compare", runs="1,5")
    assert "have trained weights and others do not" in everything(at)
    rows = table(at, "Evaluations").set_index("Method")
    assert rows["Weights"].to_dict() == {"Uniform bits": "as they were", "SP-Nets": "trained"}
    assert "have trained weights" not in everything(first_visit)


def test_budgets_are_the_ladders_own_costs_and_each_row_says_what_it_uses(first_visit):
    rows = table(first_visit, "Weights used")
    uniform = rows[rows["Method"] == "Uniform bits"]
    assert (
        uniform["Budget"].str.removeprefix("at most ").tolist() == uniform["Weights used"].tolist()
    )
    assert rows["Split"].dropna().isin(["test", "search"]).all()
    assert "Activations, mean bits" in rows


def test_differences_come_with_interval_words_and_images(app, compared):
    at = app("compare")
    rows = table(at, "Difference, points")
    held = rows[rows["Method"] == "Portfolio"].dropna(subset="Difference, points")
    assert len(held)
    assert set(held["Test images"]) == {2000}
    assert (held["Difference, points"] > 5).all()
    # two seeds of one method are too few to say how far seeds move a pick
    assert held["In words"].eq("cannot be told apart").all()
    assert held["Seeds"].eq("2 and 1").all()
    assert held["Seed to seed, points"].str.fullmatch(r"\d+\.\d\d").all()
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
    assert {"at most 50.0 KiB", "at most 60.0 KiB"} == set(table(at, "Weights used")["Budget"])
    at.text_input(key="grid").set_value("many").run()
    assert "Write budgets in KiB" in at.error[0].value
    assert "many" in at.error[0].value
    assert not at.exception
    assert len(headings(at)) == 7


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
    pinned = compare_sample.add(
        compared, "greedy", 800, 5, activation_bits=(4, 8), pin_first_last=8
    )
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
    rows = table(app("compare"), "Evaluations")
    assert rows["Method"].tolist() == ["Portfolio", "Portfolio, tuned"]


def test_images_without_labels_are_called_agreement(app, store):
    bare = [
        Point(allocation, Scores(1000, 0.1, 0.8 + at / 100))
        for at, allocation in enumerate(sample.allocations(5))
    ]
    finish(store, *sample.add_run(store, "random", bare), "done")
    at = app("compare")
    title = figure(at, "compare-fronts")["layout"]["yaxis"]["title"]["text"]
    assert title == "Divergence from the float network, nats"
    at.segmented_control(key="compare-shows").set_value("Agreement with the float network").run()
    title = figure(at, "compare-fronts")["layout"]["yaxis"]["title"]["text"]
    assert title == "Agreement with the float network on the search split, %"


def test_points_of_other_layers_are_left_out_with_a_word(app, compared):
    strange = BitAllocation({"no.such.layer": sample.uniform(4)["conv1"]})
    points = [sample.point(strange, 900)]
    held = sample.add_run(compared, "random", points, activation_bits=(4, 8))
    finish(compared, *held, "done")
    at = app("compare", runs="2,5")
    assert "run 5 left out" in at.warning[0].value
    assert len(headings(at)) == 7


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
    sample.add_run(compared, "exact", drawn, activation_bits=(4, 8))
    at = app("compare")
    assert 5 in at_runs(at)
    rows = table(at, "Evaluations").set_index("Method")
    assert rows.loc["Exact front", "Minutes"] == "not ended"
    assert "have not ended" in everything(at)
    assert all_runs(compared)[0].state == "running"


def test_a_cost_of_activations_can_be_the_axis(app, compared):
    at = app("compare", runs="1,4", x="activation_bytes_max")
    title = figure(at, "compare-fronts")["layout"]["xaxis"]["title"]["text"]
    assert title.startswith("Activations, largest")


@pytest.fixture
def with_another(compared, monkeypatch):
    """Runs 5 and 6: another network on the same images, tested on as many."""
    other = replace(sample.MODEL, name="mynet", digest="d" * 64)
    floats = Point(sample.uniform(32, 32), sample.FLOAT, Scores(2000, 0.0, 1.0, 0.94, 0.2))
    save_model(compared, other, "fashion-mnist", floats)
    plain = sample.spec_of
    monkeypatch.setattr(
        sample,
        "spec_of",
        lambda *given, **changes: replace(plain(*given, **changes), model="mynet"),
    )
    monkeypatch.setattr(sample, "MODEL", other)
    compare_sample.add(compared, "portfolio", 900, 10, activation_bits=(4, 8))
    compare_sample.add(compared, "random", 900, 10, activation_bits=(32,))
    return compared


def test_another_network_on_the_same_test_images_shares_a_picture(app, with_another):
    at = app("compare", runs="2,4")
    box = at.multiselect(key="nets")
    assert box.options == ["mynet"]
    box.set_value(["mynet"]).run()
    assert not at.exception
    names = {trace["name"] for trace in figure(at, "compare-networks")["data"]}
    assert {"resnet8", "mynet"} <= names
    # run 1 is the ladder; run 6 has float activations: no more comparable here than in the tables
    drawn = figure(at, "compare-networks")["data"]
    told = [row[1] for trace in drawn for row in trace["customdata"]]
    assert {words.split("run ")[1].split("<")[0] for words in told} == {"1", "2", "4", "5"}
    verdict = next(info.value for info in at.info if "McNemar" in info.value)
    assert "2,000 test images" in verdict


def test_a_stale_link_to_another_network_shows_what_there_is(app, with_another):
    at = app("compare", runs="2,4", nets="gone")
    assert at.multiselect(key="nets").value == []
    linked = app("compare", runs="2,4", nets="mynet")
    assert linked.multiselect(key="nets").value == ["mynet"]
    assert figure(linked, "compare-networks")


def test_networks_are_not_offered_where_there_are_no_others(first_visit):
    assert "Several networks" not in headings(first_visit)


def test_the_difference_of_a_trained_and_an_untrained_point_says_so(app, compared):
    drawn = [sample.point(a, 800, stage="final") for a in sample.allocations(3, activations=(4, 8))]
    finish(compared, *sample.add_run(compared, "spnets", drawn, activation_bits=(4, 8)), "done")
    rows = table(app("compare", runs="2,4", ref="2:5", pt="2:10"), "Change").set_index("What")
    assert ", p " in rows.loc["Accuracy, test split, measured", "Change"]
    number = max(p.id for p in points_of(compared, [5]))
    words = "One of them has trained weights"
    assert words in everything(app("compare", runs="2,5", ref="2:5", pt=f"5:{number}"))
    assert words not in everything(app("compare", runs="2,5", ref="2:5", pt="2:10"))
