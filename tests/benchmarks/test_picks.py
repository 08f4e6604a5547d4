"""What is told of picks follows from what was measured of them: pure parts, by brute force."""

import base64
import itertools
from dataclasses import astuple
from typing import ClassVar

import numpy as np
import pytest
from scipy import stats

from benchmarks import picks
from benchmarks.allocation import picks_summary, picks_table
from benchmarks.allocation.picked import BUDGETS, CHANCE, METHODS, MODELS, Record, unpacked
from benchmarks.allocation.picks_promises import (
    WITHIN,
    failures,
    first_made,
    on_halves,
    tallies,
    total,
)
from benchmarks.allocation.picks_seeds import EVERY, seeds
from benchmarks.allocation.picks_summary import ranks, rules, spearman, summary
from qcore.paired import Paired
from qcore.seeds import compare_methods, seed_spread

IMAGES = 400
WEIGHTS = 800
"""Bytes of b bits a weight are then 100 b."""


def packed(right):
    return base64.b85encode(np.packbits(right).tobytes()).decode()


def points_of(rng, count=12):
    """Points of a method: cost, divergence and accuracy have nothing to do with one another."""
    return [
        {
            "digest": f"{rng.integers(2**60):x}",
            "bits": {},
            "cost": int(rng.integers(200, 801)),
            "kl": float(rng.random()),
            # few values, so that there are equals
            "accuracy": float(rng.integers(80, 90)) / 100,
        }
        for _ in range(count)
    ]


def search_row(model, seed, method, points):
    name = {"cell": "search", "model": model, "seed": seed, "method": method}
    return {"name": name, "result": {"weights": WEIGHTS, "points": points}}


def test_row(model, seed, digest, right):
    name = {"cell": "test", "model": model, "seed": seed, "digest": digest}
    return {"name": name, "result": {"right": packed(right), "kl": 0.0}}


test_row.__test__ = False


def rows_of(rng, shares, models=MODELS, seeds=(0, 1, 2)):
    """Cells of whole networks; a point names as many images right as its method's share says."""
    rows = []
    for model in models:
        rows.append(test_row(model, 0, "float", rng.random(IMAGES) < 0.95))
        rows.append({"name": {"cell": "float", "model": model}, "result": {"accuracy": 0.94}})
        for seed, method in itertools.product(seeds, METHODS):
            if seed and method not in CHANCE:
                continue
            points = points_of(rng)
            rows.append(search_row(model, seed, method, points))
            rows += [
                test_row(model, seed, point["digest"], rng.random(IMAGES) < shares[method])
                for point in points
            ]
    return rows


def test_a_row_of_images_comes_back_as_it_was():
    right = np.random.default_rng(0).random(10_000) < 0.9
    assert np.array_equal(unpacked(packed(right)), right)


def test_a_pick_is_the_best_by_its_rule_within_the_budget():
    rng = np.random.default_rng(1)
    points = points_of(rng, 40)
    record = Record.of([search_row("resnet8", 0, "random", points)])
    for rule, bits in itertools.product(("accuracy", "kl"), BUDGETS):
        inside = [p for p in points if p["cost"] <= 100 * bits + 1e-6]
        found = record.pick("resnet8", 0, "random", rule, bits)
        if not inside:
            assert found is None
        elif rule == "kl":
            assert found["kl"] == min(p["kl"] for p in inside)
        else:
            best = max(p["accuracy"] for p in inside)
            assert found["accuracy"] == best
            assert found["cost"] == min(p["cost"] for p in inside if p["accuracy"] == best)
    assert record.pick("resnet8", 1, "random", "kl", 8.0) is None


def test_what_is_half_measured_is_not_told():
    rng = np.random.default_rng(17)
    rows = rows_of(rng, dict.fromkeys(METHODS, 0.9), models=("resnet8", "resnet20"))
    whole = Record.of(rows).complete()
    assert set(whole.searches) == set(Record.of(rows).searches)
    picked = Record.of(rows).pick("resnet8", 1, "nsga2", "kl", 8.0)["digest"]
    less = Record.of([row for row in rows if row["name"].get("digest") != picked]).complete()
    assert {key[:2] for key in whole.searches} - {key[:2] for key in less.searches} == {
        ("resnet8", 1)
    }
    # without the first seed there is nothing to compare the others with
    lost = [row for row in rows if row["name"] != {"cell": "float", "model": "resnet20"}]
    assert {key[0] for key in Record.of(lost).complete().tests} == {"resnet8"}


def test_a_front_has_every_pick_once_by_falling_cost():
    rng = np.random.default_rng(2)
    record = Record.of(rows_of(rng, dict.fromkeys(METHODS, 0.9), models=("resnet8",)))
    members = 0
    for method in METHODS:
        picked = {
            point["digest"]: point
            for bits in BUDGETS
            if (point := record.pick("resnet8", 0, method, "kl", bits))
        }
        ordered = sorted(picked.values(), key=lambda point: -point["cost"])
        reference = record.tests["resnet8", 0, "float"]
        front = record.front("resnet8", method)
        assert len(front) == len(ordered)
        members += len(front)
        for loss, point in zip(front, ordered, strict=True):
            right = record.tests["resnet8", 0, point["digest"]]
            assert np.array_equal(loss == 1, reference & ~right)
            assert np.array_equal(loss == -1, right & ~reference)
    assert members > 2 * len(METHODS)


def test_ranks_are_those_of_the_textbook():
    rng = np.random.default_rng(3)
    for size in (5, 40):
        a, b = rng.integers(0, 6, size), rng.random(size)
        assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)
    assert spearman(np.arange(5), np.exp(np.arange(5))) == pytest.approx(1.0)
    assert np.isnan(spearman(np.ones(5), np.arange(5)))


def test_images_are_tallied_as_often_as_they_are_drawn():
    rng = np.random.default_rng(4)
    front = rng.integers(-1, 2, (3, 50)).astype(np.int8)
    drawn = rng.multinomial(80, np.full(50, 1 / 50), size=7)
    lost, gained = tallies(front, drawn)
    for draw, member in itertools.product(range(7), range(3)):
        images = np.repeat(front[member], drawn[draw])
        assert (lost[draw, member], gained[draw, member]) == (
            (images > 0).sum(),
            (images < 0).sum(),
        )


def losing(points, count=4000, churn=4):
    """One member: it loses `points`, and `churn` images more that it gains elsewhere."""
    row = np.zeros(count, np.int8)
    lost = churn + round(count * max(points, 0.0) / 100)
    gained = churn + round(count * max(-points, 0.0) / 100)
    row[:lost], row[lost : lost + gained] = 1, -1
    return row


def test_what_loses_little_is_promised_and_what_loses_much_is_not():
    rng = np.random.default_rng(5)
    good, bad = losing(-0.5), losing(3.0)
    assert total(on_halves(np.array([good]), 50, rng)).made == 50
    kept = total(on_halves(np.array([good, bad]), 50, rng))
    # the cheaper member is never reached, so what it loses breaks no promise
    assert (kept.asked, kept.made, kept.true, kept.broken) == (50, 50, 50, 0)
    assert astuple(total(on_halves(np.array([bad, good]), 50, rng))) == (50, 0, 0, 0, 0)


def test_a_half_on_which_more_is_lost_breaks_what_the_other_promised():
    """A loss of 0.35 points is promised only by halves that are lucky: the others show it."""
    rng = np.random.default_rng(6)
    found = total(on_halves(np.array([losing(0.35, 2000, churn=2)]), 1000, rng))
    assert 0 < found.made < found.asked
    assert found.true == found.made
    assert found.kept < found.made


def test_as_many_promises_are_made_as_were_asked_for_or_all_that_can_be():
    rng = np.random.default_rng(7)
    fronts = [np.array([losing(3.0)]), np.array([losing(-0.5)])]
    assert first_made(fronts, 20, rng).made == 20
    assert astuple(first_made(fronts[:1], 5, rng)) == (5, 0, 0, 0, 0)


def test_failures_are_counted_against_the_truth():
    """Every draw worked out alone, with the bound of one comparison."""
    fronts = {"a": np.array([losing(0.3, 2000, 20), losing(0.9, 2000, 20), losing(0.6, 2000, 5)])}
    draws, images = 60, 1000
    rows = failures(fronts, images, draws, np.random.default_rng(8))
    assert [(row["kind"], round(row["limit"], 3)) for row in rows] == [
        ("asked", WITHIN), ("hardest", 0.275), ("hardest", 0.575), ("hardest", 0.875),
    ]  # fmt: skip
    chosen = np.random.default_rng(8).multinomial(images, np.full(2000, 1 / 2000), size=draws)
    for row in rows:
        failed = 0
        for weights in chosen:
            reached = []
            for member, truth in zip(fronts["a"], (0.3, 0.9, 0.6), strict=True):
                drawn = np.repeat(member, weights)
                pair = Paired(images, int((drawn > 0).sum()), int((drawn < 0).sum()))
                if pair.upper > row["limit"]:
                    break
                reached.append(truth)
            failed += any(truth > row["limit"] for truth in reached)
        assert row["share"] == pytest.approx(failed / draws)


def test_promises_fail_in_five_of_a_hundred_draws_at_most():
    rng = np.random.default_rng(9)
    fronts = {
        str(at): np.array([losing(loss, 1000, 8) for loss in 2 * np.sort(rng.random(6))])
        for at in range(3)
    }
    shares = [row["share"] for row in failures(fronts, 1000, 1000, rng)]
    assert max(shares) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 1000)
    assert max(shares) > 0.01


def test_what_a_rule_saves_is_the_mean_of_what_it_saves_at_each_budget():
    rng = np.random.default_rng(10)
    shares = dict(zip(METHODS, np.linspace(0.7, 0.9, len(METHODS)), strict=True))
    record = Record.of(rows_of(rng, shares))
    found = {(row["model"], row["method"]): row for row in rules(record)}
    assert set(found) == {*itertools.product(MODELS, (*METHODS, EVERY)), (EVERY, EVERY)}
    every = []
    for model, method in itertools.product(MODELS, METHODS):
        row = found[model, method]
        saved, differ = [], 0
        for bits in BUDGETS:
            old, new = (record.right(model, 0, method, rule, bits) for rule in ("accuracy", "kl"))
            if old is not None:
                saved.append(100 * (new.mean() - old.mean()))
                picked = (record.pick(model, 0, method, rule, bits) for rule in ("accuracy", "kl"))
                differ += len({point["digest"] for point in picked}) == 2
        every.append(np.mean(saved))
        assert row["saved"] == pytest.approx(np.mean(saved))
        assert row["test"][0] - row["test"][1] == pytest.approx(row["saved"])
        assert (row["budgets"], row["differ"]) == (len(saved), differ)
        assert row["interval"][0] <= row["saved"] <= row["interval"][1]
    assert found[EVERY, EVERY]["saved"] == pytest.approx(np.mean(every))
    # more images answer for the mean of all than for any one
    width = {name: np.ptp(row["interval"]) for name, row in found.items()}
    assert width[EVERY, EVERY] < min(
        width[model, method] for model, method in found if method != EVERY
    )


def test_the_interval_of_what_is_saved_covers_the_truth():
    """One method whose picks by divergence are 5 points better, 100 times."""
    rng, covered = np.random.default_rng(11), 0
    points = [
        {"digest": "old", "bits": {}, "cost": 200, "kl": 1.0, "accuracy": 0.9},
        {"digest": "new", "bits": {}, "cost": 200, "kl": 0.5, "accuracy": 0.8},
    ]
    for _ in range(100):
        answers = {"float": 0.95, "old": 0.85, "new": 0.9}
        rows = [test_row("resnet8", 0, n, rng.random(IMAGES) < s) for n, s in answers.items()]
        record = Record.of([search_row("resnet8", 0, "random", points), *rows])
        low, high = rules(record)[0]["interval"]
        covered += low <= 5 <= high
    assert covered >= 89


def test_points_far_from_the_float_network_are_not_ranked():
    rng = np.random.default_rng(12)
    points, rows, right = points_of(rng, 30), [], np.ones(IMAGES, bool)
    for place, point in enumerate(points):
        named = right.copy()
        # 400 images: a quarter of a point each, so the first six lose less than 1.5 points
        named[:place] = False
        point["kl"] = 0.01 * place
        rows.append(test_row("resnet8", 0, point["digest"], named))
    rows += [test_row("resnet8", 0, "float", right), search_row("resnet8", 0, "random", points)]
    (row,) = ranks(Record.of(rows))
    assert row["points"] == 6
    assert row["kl"] == pytest.approx(1.0)
    assert row["accuracy"] < 1


def test_seeds_that_answer_alike_are_not_told_apart_and_others_are():
    rng = np.random.default_rng(13)
    point = {"digest": "a", "bits": {}, "cost": 200, "kl": 0.1, "accuracy": 0.9}
    same = rng.random(IMAGES) < 0.9
    worse = rng.random(IMAGES) < 0.5
    rows = [
        row
        for method, right in (("random", same), ("nsga2", worse))
        for seed in range(3)
        for row in (
            search_row("resnet8", seed, method, [{**point, "digest": method}]),
            test_row("resnet8", seed, method, right if seed == 2 else same),
        )
    ]
    found = seeds(Record.of(rows))["resnet8"]
    # each method has three pairs of seeds at each budget; of nsga2's two hold the worse run
    assert found["comparisons"] == 2 * 3 * len(BUDGETS)
    assert found["alone"] == found["by budget"] == found["by network"] == 2 * len(BUDGETS)
    assert found["alone by method"] == {"random": 0, "cmaes": 0, "nsga2": 2 * len(BUDGETS)}
    assert found["coins"] <= 0.05 * found["comparisons"]
    assert found["as KL says"] == 0


def test_two_seeds_are_judged_by_the_spread_of_other_methods_alone():
    """Each method's third seed is worse, by much or by little; whose spread is taken tells."""
    rng = np.random.default_rng(18)
    drawn = rng.random(IMAGES)
    worst = {"random": 0.85, "cmaes": 0.85, "nsga2": 0.45}
    rows = []
    for method, seed in itertools.product(CHANCE, range(3)):
        point = {"digest": method, "bits": {}, "cost": 200, "kl": 0.1, "accuracy": 0.9}
        rows.append(search_row("resnet8", seed, method, [point]))
        share = worst[method] if seed == 2 else 0.9
        rows.append(test_row("resnet8", seed, method, drawn < share))
    record = Record.of(rows)
    found = seeds(record)["resnet8"]
    assert found["with a spread"] == found["comparisons"] == 9 * len(BUDGETS)
    expected = 0
    for method in CHANCE:
        answers = {
            other: [record.right("resnet8", seed, other, "kl", 8.0) for seed in range(3)]
            for other in CHANCE
        }
        spread = seed_spread([each for other, each in answers.items() if other != method])
        for a, b in itertools.combinations(answers[method], 2):
            expected += compare_methods([a], [b], spread).p_value <= 0.05
    # nsga2's pairs with its worst seed are beyond what random and cmaes do
    assert expected == 2
    assert found["as methods"] == expected * len(BUDGETS)
    assert found["differing"] == 3 * len(BUDGETS)
    # of one method alone nothing can be said
    alone = Record.of([row for row in rows if row["name"].get("method", "nsga2") == "nsga2"])
    assert seeds(alone)["resnet8"]["with a spread"] == 0


def test_the_seed_with_the_lower_divergence_was_right_where_it_loses_less():
    rng = np.random.default_rng(16)
    rows = []
    # of three seeds the first two are told from the third; divergence is right about one of them
    for seed, (kl, share) in enumerate([(0.1, 0.9), (0.3, 0.9), (0.2, 0.5)]):
        point = {"digest": "a", "bits": {}, "cost": 200, "kl": kl, "accuracy": 0.9}
        rows.append(search_row("resnet8", seed, "cmaes", [point]))
        rows.append(test_row("resnet8", seed, "a", rng.permutation(IMAGES) < share * IMAGES))
    found = seeds(Record.of(rows))["resnet8"]
    assert found["alone"] == 2 * len(BUDGETS)
    assert found["as KL says"] == len(BUDGETS)


def test_chance_alone_tells_apart_at_most_five_of_a_hundred():
    rng = np.random.default_rng(14)
    found = seeds(Record.of(rows_of(rng, dict.fromkeys(METHODS, 0.9))))[EVERY]
    assert found["comparisons"] >= 200
    assert found["coins"] <= 0.05 * found["comparisons"]
    assert found["by network"] <= found["by budget"] <= found["alone"]
    assert found["as methods"] <= 0.05 * found["with a spread"]
    assert found["different"] <= 0.05 * found["differing"]


def test_the_tables_have_a_cell_for_all_that_was_measured_and_a_dash_for_what_was_not(monkeypatch):
    for name in ("DRAWS", "SPLITS", "PROMISES"):
        monkeypatch.setattr(picks_summary, name, 20)
    rng = np.random.default_rng(15)
    rows = rows_of(rng, dict.fromkeys(METHODS, 0.93), models=("resnet20",))
    lines = picks_table.markdown(summary(Record.of(rows))).splitlines()
    cells = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    named = {row[0]: row[1:] for row in cells}
    for method in METHODS:
        assert named[method][0] == named[method][2] == "-"
        assert " / " in named[method][1]
    assert named["promises kept on the other half"][::2] == ["-", "-"]


class Bench:
    """Stands in for a network: says what was asked of it."""

    asked: ClassVar[list[str]] = []

    def __init__(self, model, seed):
        self.rng = np.random.default_rng(seed)

    def search(self, method):
        self.asked.append(method)
        return {"weights": WEIGHTS, "points": points_of(self.rng)}

    def test(self, point):
        self.asked.append("float" if point is None else point["digest"])
        return {"right": packed(self.rng.random(IMAGES) < 0.9), "kl": 0.1}

    def float_network(self):
        return {"accuracy": 0.9}


def test_what_was_measured_is_not_measured_again(tmp_path, monkeypatch):
    monkeypatch.setattr(picks, "Bench", Bench)
    monkeypatch.setattr(Bench, "asked", [])
    path = tmp_path / "resnet8.jsonl"
    for seed in (0, 1):
        picks.measure(path, "resnet8", seed)
    asked = list(Bench.asked)
    assert asked.count("random") == 2
    assert asked.count("uniform") == asked.count("float") == 1
    # a stop in the middle of a line: that cell alone is computed again
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-1], lines[-1][:20]]) + "\n")
    picks.measure(path, "resnet8", 0)
    picks.measure(path, "resnet8", 1)
    assert len(Bench.asked) == len(asked) + 1
    record = Record.of(picks.finished(path))
    for method, bits in itertools.product(METHODS, BUDGETS):
        for rule in ("accuracy", "kl"):
            chosen = record.pick("resnet8", 0, method, rule, bits)
            tested = record.right("resnet8", 0, method, rule, bits)
            assert (chosen is None) == (tested is None)
