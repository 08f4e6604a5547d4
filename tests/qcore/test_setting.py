"""What must be equal for figures to be held against one another: one value for all who ask."""

from dataclasses import replace

import pytest

from qcore.run_spec import RunSpec, method_label
from qcore.setting import Setting

SPEC = RunSpec("resnet8", "fashion-mnist", "portfolio", activation_bits=(8, 4, 8))

MEASURING = {
    "model": "resnet20",
    "data": "cifar10",
    "search_images": 2048,
    "calibration_images": 512,
    "quantizer": "absmax",
    "rounding": "gptq",
    "images_seed": 3,
    "correction": "parallel",
}
SEARCHING = {"objective": "loss", "tuning": True, "activation_bits": (32,)}
FREE = {
    "search": "nsga2",
    "params": {"evaluations": 3},
    "limits": {"weight_bytes": 1.0},
    "weight_bits": (2, 8),
    "pin_first_last": 8,
    "seed": 4,
    "reported": 3,
    "device": "cpu",
    "anyway": True,
}


@pytest.mark.parametrize("field", MEASURING)
def test_what_points_are_measured_with_parts_runs_everywhere(field):
    other = Setting.of(replace(SPEC, **{field: MEASURING[field]}))
    assert other != Setting.of(SPEC)
    assert other.measuring != Setting.of(SPEC).measuring
    if field != "model":
        assert other.words != Setting.of(SPEC).words


@pytest.mark.parametrize("field", SEARCHING)
def test_what_a_search_is_after_parts_runs_in_a_comparison_alone(field):
    other = Setting.of(replace(SPEC, **{field: SEARCHING[field]}))
    assert other != Setting.of(SPEC)
    assert other.measuring == Setting.of(SPEC).measuring
    assert other.words == Setting.of(SPEC).words


def test_nothing_else_parts_runs():
    assert {*MEASURING, *SEARCHING, *FREE} == set(SPEC.to_json()) - {"version"}
    assert Setting.of(replace(SPEC, **FREE)) == Setting.of(SPEC)


def test_the_objective_of_what_minimises_nothing_is_no_difference():
    for search in ("uniform", "given", "gone"):
        told = Setting.of(replace(SPEC, search=search, objective="loss")).objective
        assert told == ("loss" if search == "gone" else "")


def test_a_search_that_trains_goes_by_the_loss_and_is_comparable_with_others():
    trained = replace(SPEC, search="dq", objective="")
    assert trained.objective == "loss"
    assert replace(trained, search="exact", objective="").objective == "kl"
    assert Setting.of(trained).objective == ""
    assert Setting.of(replace(trained, objective="kl")).objective == "kl"
    assert method_label("dq", aim="loss") == "DQ (learned bits)"
    assert method_label("dq", aim="kl") == "DQ (learned bits), by divergence"
    assert method_label("gone") == "gone"


def test_what_was_stored_without_an_objective_went_by_divergence():
    written = replace(SPEC, search="dq").to_json()
    del written["objective"]
    assert RunSpec.from_json(written).objective == "kl"


def test_bits_of_activations_are_told_once_and_rising():
    assert Setting.of(SPEC).activations == (4, 8)


def test_its_words_name_the_images_and_another_quantizer():
    assert Setting.of(SPEC).words == "fashion-mnist, 1,024 search and 1,024 calibration images"
    other = Setting.of(replace(SPEC, quantizer="absmax", images_seed=2))
    assert other.words == (
        "fashion-mnist, images of seed 2, 1,024 search and 1,024 calibration images, "
        "quantizer absmax"
    )
    assert other.images == replace(SPEC, images_seed=2).images


def test_a_method_is_named_by_its_search_its_aim_and_tuning():
    assert method_label("portfolio") == "Portfolio"
    assert method_label("portfolio", "ptq+tuned", "loss") == "Portfolio, by loss, tuned"
    assert method_label("gone", "final") == "gone"
