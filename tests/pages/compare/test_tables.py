from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pages.compare import caption, figures
from pages.compare import tables as compare_tables
from pages.compare.bootstrap import paired_bootstrap
from pages.compare.comparable import setting_of
from pages.compare.methods import EFFORT, ladder_rows, methods_of, run_rows
from pages.shared import frames
from pages.shared.columns import OBJECTIVE, SEARCH_SCORE, TEST_SCORE, column_of
from pages.shared.hypervolume import box_of, normalised
from qcore.costs import COSTS
from qcore.errors import InvalidParams
from qcore.problem import Scores, wilson_interval
from tests.pages import sample

COST = COSTS["weight_bytes"]
COLUMN = column_of(COST)


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
        tables[run.id] = run_rows(stored, run, sample.MODEL)
    return methods_of(runs, tables)


@pytest.fixture(scope="module")
def box():
    return box_of(sample.MODEL, COST, 70.0)


BUDGETS = [45_000.0, 60_000.0]


def test_the_summary_agrees_with_the_rows(found, box):
    table = compare_tables.summary(found, box, BUDGETS)
    assert table["Method"].tolist() == ["Uniform bits", "Random", "Portfolio"]
    assert table["Seeds"].tolist() == [1, 1, 2]
    assert table["Evaluations"].tolist() == [4, 15, 15]
    for row, method in zip(table.to_dict("records"), found, strict=True):
        areas = [
            normalised(t.rows[COLUMN].tolist(), t.rows[SEARCH_SCORE].tolist(), box)
            for t in method.trials
        ]
        assert row["Hypervolume"] == pytest.approx(np.median(areas))
        assert row["Hypervolume, lowest seed"] == pytest.approx(min(areas))
        for budget in BUDGETS:
            best = [t.rows[t.rows[COLUMN] <= budget][SEARCH_SCORE].max() for t in method.trials]
            head = compare_tables.budget_head(COST, budget)
            assert row[head] == pytest.approx(np.median(best))
            assert row[f"{head}, highest seed"] == pytest.approx(max(best))
            low, high = wilson_interval(np.median(best) / 100, 1000)
            assert row[f"{head}, 95 % low"] == pytest.approx(100 * low)
            assert row[f"{head}, 95 % high"] == pytest.approx(100 * high)


def test_a_budget_that_some_seed_cannot_meet_has_no_accuracy(found, box):
    table = compare_tables.summary(found, box, [100.0])
    head = compare_tables.budget_head(COST, 100.0)
    assert table[head].isna().all()
    assert set(compare_tables.shown(table, box, [100.0])[head]) == {"nothing fits"}


def test_what_is_shown_has_an_interval_for_every_accuracy(found, box):
    shown = compare_tables.shown(compare_tables.summary(found, box, BUDGETS), box, BUDGETS)
    for budget in BUDGETS:
        for cell in shown[compare_tables.budget_head(COST, budget)]:
            assert " to " in cell
    assert "[" in shown["Hypervolume"].iloc[2]
    assert set(shown["Minutes"]) == {"not ended"}


def answers(points):
    rng = np.random.default_rng(0)
    kept = {point: rng.random(500) < 0.5 + point / 1500 for point in range(100, 500)}
    return {point: kept[point] for point in points}


def test_the_paired_table_holds_every_method_against_the_baseline(found):
    table = compare_tables.paired_table(found, "Uniform bits", COST, BUDGETS, answers)
    assert table["Method"].tolist() == ["Random", "Random", "Portfolio", "Portfolio"]
    a = compare_tables.tested_picks(found[0], COST, BUDGETS[1])
    b = compare_tables.tested_picks(found[2], COST, BUDGETS[1])
    assert (len(a), len(b)) == (1, 2)
    read = answers([*a, *b])
    expected = paired_bootstrap([read[p] for p in a], [read[p] for p in b])
    last = table.iloc[-1]
    assert last["Difference, points"] == pytest.approx(expected.points, abs=0.01)
    assert last["95 % interval, points"] == f"{expected.low:+.2f} to {expected.high:+.2f}"
    assert last["Test images"] == 500
    assert last["In words"] == "Portfolio is more accurate"


def test_points_are_chosen_on_the_search_split_among_those_that_were_tested(found):
    for method in found:
        for trial, point in zip(
            method.trials, compare_tables.tested_picks(method, COST, 60_000.0), strict=True
        ):
            rows = trial.rows[trial.rows[TEST_SCORE].notna() & (trial.rows[COLUMN] <= 60_000)]
            assert point == rows.loc[rows[OBJECTIVE].idxmin(), "point"]


def test_what_cannot_be_paired_says_why(found):
    table = compare_tables.paired_table(found, "Random", COST, [100.0, 60_000.0], lambda p: {})
    words = table["In words"].tolist()
    assert "not every run has a tested point here" in words[0]
    assert "measure again" in words[1]
    assert table["Difference, points"].isna().all()


@pytest.mark.parametrize("cost", ["weight_bytes", "bit_ops", "activation_bytes_sum"])
def test_budgets_survive_the_box_and_admit_the_ladder(cost):
    budgets = compare_tables.default_budgets(sample.MODEL, COSTS[cost], 8)
    words, _ = compare_tables.write_budgets(COSTS[cost], budgets)
    again = compare_tables.read_budgets(words, COSTS[cost], max(budgets))
    assert again == pytest.approx(budgets, rel=1e-3)
    uniform = frames.allocation_facts(sample.uniform(2, 8), sample.MODEL)
    if cost != "activation_bytes_sum":
        assert uniform[column_of(COSTS[cost])] <= again[0]


@pytest.mark.parametrize("text", ["", "ten", "0", "-3", "nan", "inf", "1,2,3,4,5,6,7,8,9", "1;2"])
def test_budgets_that_are_none_are_refused_in_words(text):
    with pytest.raises(InvalidParams, match="KiB"):
        compare_tables.read_budgets(text, COST, 40_000)


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
    setting = replace(setting_of(sample.run_of(2, "portfolio"), "a" * 64, "accuracy"))
    table = compare_tables.summary(found, box, BUDGETS)
    words = caption.caption(setting, table, box, float_scores=Scores(1000, 0, 1, 0.93), cut_at=15.0)
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
        "cut at",
    ):
        assert wanted in words
    assert "\n" not in words


def drawn(figure, name):
    return [trace for trace in figure.data if trace.name == name]


def test_every_run_has_a_step_line_and_methods_share_a_look(found):
    ladder = ladder_rows(found)
    figure = figures.fronts_figure(found, ladder, COST, "Accuracy", float_score=93.0)
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
    assert any("float 93.0 %" in note.text for note in figure.layout.annotations)
    for line, trial in zip(lines, found[2].trials, strict=True):
        assert {row[0] for row in line.customdata} <= set(trial.rows["point"])
    # every point is there once, so that a click is about what is seen
    (faint,) = drawn(figure, "Portfolio: all evaluated")
    numbers = [row[0] for trace in (faint, *lines) for row in trace.customdata]
    assert sorted(numbers) == sorted(p for t in found[2].trials for p in t.rows["point"])


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


def test_a_budget_that_some_seeds_meet_says_how_many(found, box):
    costs = sorted(float(trial.rows[COLUMN].min()) for trial in found[2].trials)
    budget = sum(costs) / 2
    table = compare_tables.summary(found, box, [budget])
    cells = compare_tables.shown(table, box, [budget]).set_index("Method")
    assert cells.loc["Portfolio", compare_tables.budget_head(COST, budget)] == "1 of 2 seeds fit"
