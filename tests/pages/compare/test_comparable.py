from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pages.compare.comparable import FACTS, aim_of, judge, metric_of, run_label
from pages.shared.run_numbers import MOST_RUNS, read_ids, write_ids
from qcore.problem import Point, Scores
from qcore.rules.file import parse_rules
from qcore.rules.rule import Rule
from qcore.run_spec import RunSpec
from qcore.setting import Setting
from tests.pages import sample

BASE = Setting("resnet8", "a" * 64, "fashion-mnist", 1024, 512, "accuracy", "kl", False)
OTHER = {
    "model": "resnet20",
    "judge": "Signal",
    "digest": "b" * 64,
    "data": "imagefolder:/x",
    "search_images": 2048,
    "calibration_images": 1024,
    "metric": "agreement with the float network",
    "objective": "loss",
    "tuning": True,
    "quantizer": "absmax",
    "rounding": "gptq",
    "correction": "parallel",
    "images_seed": 3,
    "activations": (2, 4),
    "rules": (Rule("conv1", lock=(8, 8)),),
}


def test_points_beside_those_of_a_search_that_trained_by_loss_are_judged_by_loss():
    plain, trained = RunSpec("m", "d", "exact"), RunSpec("m", "d", "dq")
    assert aim_of([plain, RunSpec("m", "d", "uniform")]) == "kl"
    assert aim_of([plain, trained]) == "loss"
    assert aim_of([plain, replace(trained, objective="kl")]) == "kl"
    assert aim_of([RunSpec("m", "d", "gone")]) == "kl"


def test_every_fact_of_a_setting_has_a_reason():
    assert set(FACTS) == set(Setting.__dataclass_fields__) == set(OTHER)


@pytest.mark.parametrize("field", [field for field in OTHER if field != "rules"])
def test_each_fact_that_differs_is_refused_with_its_reason_and_runs(field):
    odd = replace(BASE, **{field: OTHER[field]})
    verdict = judge({3: BASE, 5: odd, 9: BASE})
    assert not verdict.comparable
    assert [group.runs for group in verdict.groups] == [(3, 9), (5,)]
    (reason,) = verdict.reasons
    assert reason.startswith(FACTS[field][0])
    assert "runs 3 and 9" in reason
    assert "run 5" in reason
    assert FACTS[field][0].lower() in verdict.groups[1].words


def test_search_budget_bits_seed_and_device_may_differ():
    a = sample.run_of(1, "portfolio", limits={"weight_bytes": 9}, seed=1, device="cpu")
    b = sample.run_of(2, "random", weight_bits=(2, 4), seed=2, device="cuda")
    c = sample.run_of(3, "uniform", objective="loss")
    verdict = judge({run.id: Setting.of(run.spec) for run in (a, b, c)})
    assert verdict.comparable
    assert verdict.groups[0].runs == (1, 2, 3)


def test_equal_rules_are_equal_however_they_were_written_and_others_are_named():
    texts = (
        "rules: [{layers: conv1, lock: 8}, {layers: fc, weights: [8, 4]}]",
        '[{"layers": "conv1", "lock": "8/8"}, {"layers": "fc", "weights": "int4, int8"}]',
        "rules: [{layers: fc, weights: [8, 4]}]",
    )
    ruled = [parse_rules(text) for text in texts]
    runs = [sample.run_of(at, "exact", rules=rules) for at, rules in enumerate((*ruled, ()), 1)]
    verdict = judge({run.id: Setting.of(run.spec) for run in runs})
    assert [group.runs for group in verdict.groups] == [(1, 2), (3,), (4,)]
    (reason,) = verdict.reasons
    assert "runs 1 and 2: conv1: locked at 8 | fc: weights 4 or 8" in reason
    assert "run 3: fc: weights 4 or 8" in reason
    assert "run 4: none" in reason
    # what they measured was measured alike, so that Explore may lay it together
    assert len({Setting.of(run.spec).measuring for run in runs}) == 1


def test_float_activations_are_never_ranked_with_quantized_ones():
    a = sample.run_of(1, "portfolio", activation_bits=(32,))
    b = sample.run_of(2, "portfolio", activation_bits=(4, 2))
    c = sample.run_of(3, "uniform", activation_bits=(2, 4))
    verdict = judge({run.id: Setting.of(run.spec) for run in (a, b, c)})
    assert [group.runs for group in verdict.groups] == [(2, 3), (1,)]
    assert [group.words for group in verdict.groups] == [
        "bits of activations 2, 4",
        "bits of activations float",
    ]


def test_what_is_not_known_yet_forbids_nothing_but_joins_nothing_either():
    early = replace(BASE, digest="")
    assert judge({1: early, 2: BASE}).comparable
    assert judge({1: early, 2: early}).comparable
    retrained = replace(BASE, digest="b" * 64)
    verdict = judge({1: BASE, 2: retrained, 3: early})
    assert [group.runs for group in verdict.groups] == [(1, 3), (2,)]
    assert not judge({1: early, 2: replace(BASE, data="mnist")}).comparable


def test_what_is_not_known_is_no_reason():
    ladder = replace(BASE, objective="", search_images=2048)
    (reason,) = judge({1: BASE, 2: ladder}).reasons
    assert reason == "Search images (run 1: 1,024; run 2: 2,048): the splits hold different images."


def test_another_network_is_named_once():
    verdict = judge({1: BASE, 2: replace(BASE, model="resnet20", digest="b" * 64)})
    assert len(verdict.reasons) == 1


def test_images_without_labels_are_told_from_those_with():
    allocation = sample.uniform(4)
    labelled = sample.stored(1, 1, sample.point(allocation, 900))
    bare = sample.stored(1, 1, Point(allocation, Scores(10, 0.0, 1.0)))
    assert metric_of([labelled]) == "accuracy"
    assert metric_of([bare]).startswith("agreement")


@given(st.lists(st.integers(0, 10**9), max_size=80))
def test_a_list_of_runs_survives_the_link(numbers):
    wanted = list(dict.fromkeys(numbers))[:MOST_RUNS]
    assert read_ids(write_ids(numbers)) == (wanted, [])


@given(st.text(max_size=60))
def test_any_text_in_a_link_is_read_as_numbers_or_named_as_strange(text):
    numbers, strange = read_ids(text)
    assert all(number >= 0 for number in numbers)
    assert bool(strange) == any(
        not (part.strip().isascii() and part.strip().isdigit()) or len(part.strip()) > 18
        for part in text.split(",")
        if part.strip()
    )


def test_a_name_cannot_turn_the_list_of_runs_round_or_flood_it():
    run = replace(sample.run_of(1, "portfolio"), name="\u202e" + "x" * 200)
    assert len(run_label(run)) < 120
    assert "\u202e" not in run_label(run)


def test_a_run_is_offered_by_what_its_name_adds_and_nothing_twice():
    run = sample.run_of(7, "cmaes", seed=2)
    run = replace(run, name="cmaes, 4 bits, seed 2", evaluations=240)
    model = run.spec.model
    assert run_label(run, model) == "7: CMA-ES, 4 bits, seed 2, 240 points"
    assert run_label(run, "another") == f"7: CMA-ES on {model}, 4 bits, seed 2, 240 points"
    plain = replace(run, name=f"CMA-ES on {model}")
    assert run_label(plain, model) == "7: CMA-ES, seed 2, 240 points"


def test_a_front_under_rules_may_be_held_against_the_free_one_as_a_method_of_its_own():
    rules = (Rule("conv1", lock=(8, 8)),)
    free, ruled = sample.run_of(1, "exact"), sample.run_of(2, "exact", rules=rules)
    verdict = judge({run.id: Setting.of(run.spec) for run in (free, ruled)})
    assert verdict.comparable
    labels = [run_label(run, "resnet8") for run in (free, ruled)]
    assert "under rules" not in labels[0]
    assert "Exact front, under rules" in labels[1]
