from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pages.compare import caption, figures
from pages.compare import tables as compare_tables
from pages.compare.methods import EFFORT, ladder_rows, methods_of, pick, run_rows
from pages.shared.columns import (
    ACTIVATION_BITS,
    OBJECTIVE,
    SEARCH_LOSS,
    TEST_LOSS,
    TEST_SCORE,
    column_of,
)
from pages.shared.hypervolume import Box, box_of, normalised
from pages.shared.judged import CLASSIFIER
from qcore.costs import COSTS
from qcore.problem import Scores
from qcore.setting import Setting
from tests.pages import sample

COST = COSTS["weight_bytes"]
COLUMN = column_of(COST)


FLOATS = sample.FLOAT, Scores(10_000, 0.0, 1.0, 0.92, 0.2)


@pytest.fixture(scope="module")
def found():
    """Uniform bits, two seeds of portfolio, random; every third point reported."""
    runs = [
        sample.run_of(1, "uniform"),
        sample.run_of(2, "portfolio", seed=0),
        sample.run_of(3, "portfolio", seed=1),
        sample.run_of(4, "random"),
    ]
    tables = {}
    for run in runs:
        if run.spec.search == "uniform":
            drawn = [sample.uniform(bits) for bits in (2, 3, 4, 8)]
        else:
            drawn = sample.allocations(15, seed=run.id)
        stored = [
            sample.stored(100 * run.id + at, run.id, point)
            for at, a in enumerate(drawn)
            for point in [sample.point(a, 700 + 9 * at + run.id, at % 3 == 0)]
        ]
        tables[run.id] = run_rows(stored, run, sample.MODEL, floats=FLOATS)
    return methods_of(runs, tables)


@pytest.fixture(scope="module")
def box():
    return box_of(sample.MODEL, COST)


BUDGETS = [45_000.0, 60_000.0]


def test_the_summary_agrees_with_the_rows(found, box):
    table = compare_tables.summary(found, box, BUDGETS)
    assert table["Method"].tolist() == ["Uniform bits", "Random", "Portfolio"]
    assert table["Seeds"].tolist() == [1, 1, 2]
    assert table["Evaluations"].tolist() == [4, 15, 15]
    assert not table["Trained"].any()
    for row, method in zip(table.to_dict("records"), found, strict=True):
        areas = [
            normalised(t.rows[COLUMN].tolist(), t.rows[OBJECTIVE].tolist(), box)
            for t in method.trials
        ]
        assert row["Hypervolume"] == pytest.approx(np.median(areas))
        assert row["Hypervolume, lowest seed"] == pytest.approx(min(areas))
        for budget in BUDGETS:
            best = []
            for trial in method.trials:
                fitting = trial.rows[trial.rows[COLUMN] <= budget]
                best.append(fitting.loc[fitting[OBJECTIVE].idxmin()])
            tested = all(not np.isnan(point[TEST_SCORE]) for point in best)
            losses = [point[TEST_LOSS if tested else SEARCH_LOSS] for point in best]
            head = compare_tables.budget_head(COST, budget)
            assert row[f"{head}, split"] == ("test split" if tested else "search split")
            assert row[head] == pytest.approx(np.mean(losses))
            assert row[f"{head}, highest seed"] == pytest.approx(max(losses))
            assert row[f"{head}, 95 % low"] <= row[head] <= row[f"{head}, 95 % high"]
            assert row[f"{head}, cheapest"] == min(point[COLUMN] for point in best) <= budget
            widths = [point[ACTIVATION_BITS] for point in best]
            assert row[f"{head}, activations, mean bits"] == pytest.approx(np.mean(widths))


def test_a_loss_on_the_test_split_never_stands_beside_one_on_the_search_split(found, box):
    table = compare_tables.summary(found, box, BUDGETS)
    for budget in BUDGETS:
        head = compare_tables.budget_head(COST, budget)
        for row, method in zip(table.to_dict("records"), found, strict=True):
            picks = [pick(trial.rows, COST, budget) for trial in method.trials]
            if any(np.isnan(point[TEST_SCORE]) for point in picks):
                assert row[f"{head}, split"] == "search split"


def test_a_budget_that_some_seed_cannot_meet_has_no_loss(found, box):
    table = compare_tables.summary(found, box, [100.0])
    assert table[compare_tables.budget_head(COST, 100.0)].isna().all()
    assert set(compare_tables.within(table, COST, [100.0])[compare_tables.LOSS]) == {"nothing fits"}


def test_every_loss_is_shown_with_its_interval_its_split_and_what_it_really_uses(found, box):
    table = compare_tables.summary(found, box, BUDGETS)
    shown = compare_tables.within(table, COST, BUDGETS)
    assert len(shown) == len(found) * len(BUDGETS)
    for cell in shown[compare_tables.LOSS]:
        assert " to " in cell
    assert set(shown["Split"]) <= {"test", "search"}
    assert shown["Weights used"].str.endswith("KiB").all()
    assert set(shown["Activations, mean bits"]) == {"float"}
    assert set(shown["Weights"]) == {"as they were"}
    seeds = shown.set_index("Method")[compare_tables.SEEDS]
    assert seeds["Portfolio"].str.contains(" to ").all()
    assert not seeds["Random"].any()


def test_a_loss_that_cannot_be_known_says_so(found, box):
    bare = [
        replace(
            method,
            trials=tuple(
                replace(t, rows=t.rows.assign(**{TEST_LOSS: np.nan, SEARCH_LOSS: np.nan}))
                for t in method.trials
            ),
        )
        for method in found
    ]
    shown = compare_tables.within(compare_tables.summary(bare, box, BUDGETS), COST, BUDGETS)
    assert shown[compare_tables.LOSS].str.contains("float network was not measured").all()
    assert shown["Accuracy, %"].notna().all()


def test_hypervolume_at_equal_evaluations_is_that_of_the_first_points(found, box):
    table = compare_tables.summary(found, box, BUDGETS, equal_at=6)
    for row, method in zip(table.to_dict("records"), found, strict=True):
        most = len(method.trials[0].rows) if method.reference else 6
        areas = [
            normalised(t.rows[COLUMN].tolist()[:most], t.rows[OBJECTIVE].tolist()[:most], box)
            for t in method.trials
        ]
        assert row["Hypervolume"] == pytest.approx(np.median(areas))
    assert "Hypervolume at 6 evaluations" in compare_tables.shown(table, 6)


def test_what_made_no_front_has_no_hypervolume_and_says_why(found, box):
    (trial,) = found[1].trials
    single = replace(found[1], trials=(replace(trial, rows=trial.rows[:1]),))
    limited = sample.run_of(9, "cmaes", limits={"weight_bytes": 40_000})
    one_budget = replace(found[1], trials=(replace(trial, run=limited),))
    table = compare_tables.summary([found[0], single, one_budget], box, BUDGETS)
    assert table["Hypervolume"].isna().tolist() == [False, True, True]
    assert compare_tables.shown(table)["Hypervolume"].tolist()[1:] == [
        "none: one point",
        "none: made for one budget",
    ]
    unknown = Box(COST, box.most, "loss", None)
    assert compare_tables.summary(found, unknown, BUDGETS)["Hypervolume"].isna().all()


def test_the_file_holds_the_table_and_no_formula(found, box, tmp_path):
    table = compare_tables.summary(found, box, BUDGETS)
    table.loc[0, "Method"] = "=cmd()"
    assert compare_tables.file_name("../a\u202e b", COST.name) == "compare_..ab_weight_bytes.csv"
    path = tmp_path / "table.csv"
    path.write_bytes(compare_tables.csv_of(table))
    read = pd.read_csv(path)
    assert read["Method"].tolist()[0] == "'=cmd()"
    assert read["Hypervolume"].tolist() == pytest.approx(table["Hypervolume"].tolist())


def test_the_caption_says_everything_a_reader_must_know(found, box):
    setting = replace(Setting.of(sample.run_of(2, "portfolio").spec, "a" * 64))
    table = compare_tables.summary(found, box, BUDGETS)
    floats = Scores(1000, 0, 1, 0.93)
    words = caption.caption(setting, table, box, float_scores=floats, equal_at=15.0)
    for wanted in (
        "resnet8",
        "fashion-mnist",
        "n=1,000",
        "1,024",
        "95 % Wilson",
        box.words(),
        "median of 2 seeds",
        "15 evaluations",
        "Uniform bits",
        "taken at",
        "Bits of activations: float",
    ):
        assert wanted in words
    assert "\n" not in words


def drawn(figure, name):
    return [trace for trace in figure.data if trace.name == name]


def test_every_run_has_a_step_line_and_methods_share_a_look(found):
    ladder = ladder_rows(found)
    rows = [trial.rows for method in found for trial in method.trials]
    height = figures.heights(CLASSIFIER, "kl", rows)["Accuracy"]
    figure = figures.fronts_figure(found, ladder, COST, height, float_value=93.0)
    lines = drawn(figure, "Portfolio")
    assert len(lines) == 2
    assert [line.showlegend for line in lines] == [True, False]
    assert {line.line.shape for line in lines} == {"hv"}
    assert len({line.line.color for line in lines}) == 1
    (reference,) = drawn(figure, "Uniform bits (reference)")
    assert list(reference.text) == ["2", "3", "4", "8"]
    assert not drawn(figure, "Uniform bits")
    assert figure.layout.xaxis.title.text == "Weights, KiB"
    assert figure.layout.yaxis.title.text == "Accuracy on the search split, %"
    assert any("float 93 %" in note.text for note in figure.layout.annotations)
    for line, trial in zip(lines, found[2].trials, strict=True):
        assert {row[0] for row in line.customdata} <= set(trial.rows["point"])
    # every point is there once, so that a click is about what is seen
    (faint,) = drawn(figure, "Portfolio: all evaluated")
    numbers = [row[0] for trace in (faint, *lines) for row in trace.customdata]
    assert sorted(numbers) == sorted(p for t in found[2].trials for p in t.rows["point"])


def test_the_vertical_axis_shows_what_was_minimised_first_and_moves_no_point_sideways(found):
    rows = [trial.rows for method in found for trial in method.trials]
    offered = figures.heights(CLASSIFIER, "kl", rows)
    assert list(offered) == ["Divergence", "Accuracy lost", "Accuracy"]
    drawings = [figures.fronts_figure(found, None, COST, each) for each in offered.values()]
    lines = [drawn(figure, "Random")[0] for figure in drawings]
    assert len({tuple(line.x) for line in lines}) == 1
    assert list(lines[0].y) == sorted(lines[0].y, reverse=True)
    assert [figure.layout.yaxis.type for figure in drawings] == ["log", None, None]
    # intervals are drawn where there are any
    assert [line.error_y.array is not None for line in lines] == [False, True, True]
    unknown = [table.assign(**{SEARCH_LOSS: np.nan}) for table in rows]
    assert list(figures.heights(CLASSIFIER, "loss", unknown)) == ["Loss on labels", "Accuracy"]


def test_hypervolume_is_drawn_with_a_band_over_seeds_and_a_level_ladder(found, box):
    figure = figures.hypervolume_figure(found, box, EFFORT)
    (line,) = drawn(figure, "Portfolio")
    final = compare_tables.summary(found, box, BUDGETS).set_index("Method")["Hypervolume"]
    assert line.y[-1] == pytest.approx(final["Portfolio"])
    assert len(drawn(figure, "Portfolio: seeds")) == 1
    assert not drawn(figure, "Random: seeds")
    assert not drawn(figure, "Uniform bits")
    assert figure.layout.shapes[0].y0 == pytest.approx(final["Uniform bits"])
    assert figure.layout.xaxis.title.text == "Evaluations of the search split"


def test_a_figure_grows_with_its_legend_so_that_the_plot_does_not_shrink(found, box):
    short = figures.hypervolume_figure(found, box, EFFORT)
    many = [replace(method, label=f"{method.label} {'x' * 60}") for method in found]
    long = figures.hypervolume_figure(many, box, EFFORT)
    methods = sum(not method.reference for method in found)
    assert long.layout.height - short.layout.height == figures.ROW_PX * (methods - 1)
    assert figures.legend_rows([]) == 1
    assert figures.legend_rows(["a" * 20, "b" * 20, "c" * 20]) == 2


def test_a_line_of_one_place_has_a_marker(found, box):
    trial = found[1].trials[0]
    # two points that became known at once: one place on the axis
    rows = trial.rows[:2].assign(**{EFFORT: 1.0})
    alone = replace(found[1], trials=(replace(trial, rows=rows),))
    (line,) = drawn(figures.hypervolume_figure([alone], box, EFFORT), "Random")
    assert line.mode == "lines+markers"
    (line,) = drawn(figures.hypervolume_figure(found, box, EFFORT), "Random")
    assert line.mode == "lines"


def test_what_made_no_front_is_not_drawn_as_if_it_had(found, box):
    limited = sample.run_of(9, "cmaes", limits={"weight_bytes": 40_000})
    method = replace(found[1], trials=(replace(found[1].trials[0], run=limited),))
    figure = figures.hypervolume_figure([found[0], method], box, EFFORT, equal_at=5.0)
    assert not drawn(figure, "Random")
    assert 5.0 in {shape.x0 for shape in figure.layout.shapes}


def test_a_budget_that_some_seeds_meet_says_how_many(found, box):
    costs = sorted(float(trial.rows[COLUMN].min()) for trial in found[2].trials)
    budget = sum(costs) / 2
    table = compare_tables.summary(found, box, [budget])
    cells = compare_tables.within(table, COST, [budget]).set_index("Method")
    assert cells.loc["Portfolio", compare_tables.LOSS] == "1 of 2 seeds fit"
