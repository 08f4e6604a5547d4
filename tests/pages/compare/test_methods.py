from dataclasses import replace

import numpy as np
import pytest

from pages.compare import methods
from pages.compare.methods import EFFORT, ELAPSED
from pages.shared.columns import OBJECTIVE, column_of
from pages.shared.hypervolume import box_of
from qcore.costs import COSTS
from qcore.problem import Scores
from tests.pages import sample

SPAN = {"started": "2026-01-01T00:00:00+00:00", "finished": "2026-01-01T00:01:40+00:00"}


def points(count, run=1, first=1, correct=800, **changes):
    return [
        sample.stored(
            first + at, run, replace(sample.point(a, correct + at), seconds=2.0, **changes)
        )
        for at, a in enumerate(sample.allocations(count, seed=run))
    ]


def rows(stored, run):
    return methods.run_rows(stored, run, sample.MODEL)


def test_work_counts_images_and_a_part_of_the_split_is_a_part_of_an_evaluation():
    run = sample.run_of(1, "portfolio")
    stored = points(4)
    part = replace(stored[1].point, search=Scores(250, 0.1, 0.8, 0.8), images=(0, 250))
    stored[1] = replace(stored[1], point=part)
    table = rows(stored, run)
    # a score on a window is paid for but is no point
    assert table["point"].tolist() == [1, 3, 4]
    assert table[EFFORT].tolist() == [1, 2.25, 3.25]
    assert table[ELAPSED].tolist() == [2, 6, 8]


def test_a_tuned_point_is_known_when_the_one_it_was_tuned_from_was():
    run = sample.run_of(1, "portfolio", tuning=True)
    stored = points(3)
    stored.append(sample.stored(9, 1, replace(stored[0].point, stage="ptq+tuned", seconds=50)))
    table = rows(stored, run)
    tuned = table[table["stage"] == "ptq+tuned"]
    assert tuned[EFFORT].tolist() == [1]
    assert table[EFFORT].max() == 3
    labels = [method.label for method in methods.methods_of([run], {1: table})]
    assert labels == ["Portfolio", "Portfolio, tuned"]


def test_training_time_comes_before_the_first_point():
    run = replace(sample.run_of(1, "dq"), **SPAN)
    table = rows(points(3, stage="round-1/weights"), run)
    assert table[ELAPSED].tolist() == [96, 98, 100]
    searched = rows(points(3), replace(sample.run_of(1, "portfolio"), **SPAN))
    assert searched[ELAPSED].tolist() == [2, 4, 6]


def family():
    """Two seeds of one method, the same search with other settings twice, and a ladder."""
    runs = [
        sample.run_of(1, "portfolio", seed=0),
        sample.run_of(2, "portfolio", seed=1, reported=3),
        sample.run_of(3, "portfolio", params={"points": 5}),
        sample.run_of(4, "portfolio", limits={"weight_bytes": 40_000}),
        sample.run_of(5, "uniform"),
    ]
    sizes = {1: 6, 2: 4, 3: 8, 4: 5, 5: 3}
    tables = {run.id: rows(points(sizes[run.id], run.id), run) for run in runs}
    return runs, tables


def test_runs_that_differ_in_the_seed_alone_are_one_method():
    found = methods.methods_of(*family())
    assert [[trial.run.id for trial in m.trials] for m in found] == [[5], [1, 2], [3], [4]]
    assert [m.reference for m in found] == [True, False, False, False]
    labels = [m.label for m in found]
    assert len(set(labels)) == len(labels)
    assert "points = 5" in labels[2]
    assert "≤ 39.1 KiB" in labels[3]
    looks = {tuple(m.look.values()) for m in found}
    assert len(looks) == len(found)


def test_methods_that_read_alike_are_told_apart_by_run():
    params = [{"allocations": [{"conv1": [bits, 32]}]} for bits in (2, 3)]
    runs = [
        sample.run_of(1, "given", params=params[0]),
        sample.run_of(2, "given", params=params[1]),
    ]
    tables = {run.id: rows(points(2, run.id), run) for run in runs}
    labels = [m.label for m in methods.methods_of(runs, tables)]
    assert len(set(labels)) == 2


def test_runs_are_offered_by_method_with_all_seeds_and_the_pages_network_first():
    runs, _ = family()
    other = sample.run_of(6, "portfolio")
    other = replace(other, spec=replace(other.spec, model="resnet20"))
    found = methods.grouped([other, *reversed(runs)], "resnet8")
    assert list(found.values()) == [(5,), (1, 2), (3,), (4,), (6,)]
    assert list(found)[-1] == "Portfolio on resnet20"
    assert len(set(found)) == len(found)


def test_ladders_alone_are_what_is_compared():
    runs, tables = family()
    (only,) = methods.methods_of(runs[-1:], tables)
    assert not only.reference


def test_the_cut_is_at_the_shortest_run_and_spares_the_ladder():
    found = methods.methods_of(*family())
    most = methods.smallest_effort(found)
    assert most == 4
    kept = methods.cut(found, most)
    assert [[len(t.rows) for t in m.trials] for m in kept] == [[3], [4, 4], [4], [4]]
    for method in kept[1:]:
        for trial in method.trials:
            assert trial.effort == 4
            assert trial.rows[EFFORT].max() <= 4
    assert methods.cut(found, 0.5) == found[:1]


def test_hypervolumes_are_equal_at_the_shortest_front_that_was_not_trained():
    found = methods.methods_of(*family())
    box = box_of(sample.MODEL, COSTS["weight_bytes"])
    # the run with a limit is the shortest but one, and made no front
    assert [m.no_hypervolume(box) for m in found] == ["", "", "", "made for one budget"]
    assert methods.equal_effort([found[3]], box) == 0
    assert methods.equal_effort(found[2:], box) == 8
    assert methods.equal_effort(found, box) == 4
    trained = sample.run_of(9, "spnets")
    table = rows(points(2, 9, stage="switches"), trained)
    (short,) = methods.methods_of([trained], {9: table})
    assert short.trained
    assert methods.equal_effort([*found, short], box) == 4
    assert methods.equal_effort([short], box) == 2


def test_a_search_by_loss_has_no_hypervolume_while_the_float_loss_is_unknown():
    found = methods.methods_of(*family())
    box = box_of(sample.MODEL, COSTS["weight_bytes"], aim="loss", zero=None)
    assert {m.no_hypervolume(box) for m in found} == {"the float network's loss is not known"}


def test_the_pick_is_the_best_within_the_limit_by_brute_force():
    table = rows(points(30), sample.run_of(1, "random"))
    column = column_of(COSTS["weight_bytes"])
    for limit in np.linspace(table[column].min() - 1, table[column].max(), 9):
        best = methods.pick(table, COSTS["weight_bytes"], float(limit))
        fitting = table[table[column] <= limit]
        if fitting.empty:
            assert best is None
        else:
            assert best[OBJECTIVE] == fitting[OBJECTIVE].min()
            assert best[column] <= limit


def test_a_run_that_has_not_ended_has_no_length():
    assert methods.run_seconds(sample.run_of(1, "random", state="running")) is None
    assert methods.run_seconds(replace(sample.run_of(1, "random"), **SPAN)) == pytest.approx(100)
