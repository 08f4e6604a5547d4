"""One form becomes many runs, each of which a command line repeats exactly."""

import dataclasses
import shlex

import pytest

from pages.searches import launch_batch, run_table
from qcore.allocation import BFLOAT16, FLOAT16
from qcore.errors import InvalidParams
from store import all_runs, open_store
from store.__main__ import main
from tests.pages import sample


@pytest.mark.parametrize(
    ("words", "seeds"),
    [("0", (0,)), ("0, 1,2", (0, 1, 2)), ("3-5", (3, 4, 5)), ("1, 1; 0-2", (1, 0, 2))],
)
def test_seeds_are_read(words, seeds):
    assert launch_batch.seeds_of(words) == seeds


@pytest.mark.parametrize("words", ["", "a", "-1", "1,,2", "5-3", "0-100", "1.5", "²"])
def test_what_is_no_seed_is_refused(words):
    with pytest.raises(InvalidParams):
        launch_batch.seeds_of(words)


def test_budgets_are_spread_strictly_within_every_range_and_rise_together():
    reaches = {"weight_bytes": (1000.0, 8000.0), "bit_ops": (10.0, 1000.0)}
    budgets = launch_batch.spread(reaches)
    for cost, (low, high) in reaches.items():
        values = [budget[cost] for budget in budgets]
        assert values == sorted(values)
        assert low < values[0]
        assert values[-1] < high


def test_too_many_runs_are_refused_before_any_is_queued():
    spec = sample.spec_of("cmaes")
    with pytest.raises(InvalidParams, match="these are 101"):
        launch_batch.batch(spec, [], [{}], range(101))


def test_a_method_that_leaves_nothing_to_chance_runs_once_whatever_the_seeds():
    spec = sample.spec_of("exact")
    asked = launch_batch.batch(spec, ["cmaes"], [{}], (5, 6, 7))
    found = [(one.search, one.seed, name.endswith(f"seed {one.seed}")) for one, name in asked]
    assert found == [
        ("exact", 5, False),
        ("cmaes", 5, True),
        ("cmaes", 6, True),
        ("cmaes", 7, True),
    ]


def test_the_estimate_is_what_the_like_took_here():
    done = dataclasses.replace(sample.run_of(1, "exact"), finished="2026-01-01T00:02:00.000+00:00")
    recorded = dataclasses.replace(
        done, origin="recorded", finished="2026-01-02T00:00:00.000+00:00"
    )
    specs = [sample.spec_of("exact", seed=seed) for seed in range(4)]
    assert "4 runs with 4 seeds, about 4 min" in launch_batch.estimate(specs, [done, recorded], 2)
    assert "no time is known" in launch_batch.estimate(specs, [recorded], 2)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"params": {"points": 5, "sensitivity": "kl"}, "limits": {"weight_bytes": 40000.0}},
        {"weight_bits": (1, 8), "activation_bits": (4, 8), "pin_first_last": 8, "seed": 3},
        {"weight_bits": (2, 3, 4, 5, 6, 8)},
        {"weight_bits": (4, FLOAT16), "activation_bits": (8, BFLOAT16, 32)},
        {"calibration_images": 64, "search_images": 65, "objective": "loss", "reported": 2},
        {"seed": 3, "images_seed": 3},
        {"seed": 3, "images_seed": 5},
        {"images_seed": 5, "anyway": True},
        {"tuning": True, "device": "cpu", "data": "imagefolder:a b/'c", "quantizer": "absmax"},
        {"correction": "normed", "rounding": "gptq"},
    ],
)
def test_the_command_line_asks_for_exactly_the_same(changes, tmp_path):
    (tmp_path / "a b" / "'c").mkdir(parents=True)
    if "data" in changes:
        kind, _, place = changes["data"].partition(":")
        changes = {**changes, "data": f"{kind}:{tmp_path / place}"}
    spec = dataclasses.replace(sample.spec_of("exact"), **changes)
    words = shlex.split(launch_batch.command_line(spec))
    assert words[:3] == ["python", "-m", "store"]
    database = str(tmp_path / "bitdial.db")
    assert main(["--database", database, *words[3:], "--detach"]) == 0
    (found,) = all_runs(open_store(database))
    assert found.spec == spec


def test_speed_and_time_left_follow_from_the_progress():
    running = sample.run_of(1, "cmaes", "running")
    moment = launch_batch.datetime.fromisoformat("2026-01-01T00:00:30.000+00:00")
    assert run_table.speed(running, moment) == pytest.approx(0.1)
    assert run_table.left(running, moment) == "about 10 s"
    assert run_table.left(dataclasses.replace(running, total=0), moment) == ""
    recorded = dataclasses.replace(running, origin="recorded")
    assert run_table.speed(recorded, moment) is None


def test_names_that_nobody_chose_differ_from_those_of_runs_under_way():
    asked = [(sample.spec_of("uniform"), "uniform 1"), (sample.spec_of("random"), "new")]
    known = [sample.run_of(1, "uniform", "paused"), sample.run_of(2, "uniform")]
    assert [name for _, name in launch_batch.apart(asked, known)] == ["uniform 1 (2)", "new"]
    ended = [sample.run_of(1, "uniform")]
    assert [name for _, name in launch_batch.apart(asked, ended)] == ["uniform 1", "new"]
