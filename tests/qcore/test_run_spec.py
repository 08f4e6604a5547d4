"""What could not begin is refused before anything is loaded or stored."""

import dataclasses
import json

import pytest

from qcore.allocation import FLOAT16
from qcore.errors import InfeasibleBudget, InvalidParams, QcoreError
from qcore.models.catalog import bundled_spec
from qcore.rules.rule import Rule
from qcore.run_spec import RunSpec, check_run

SPEC = RunSpec("resnet8", "fashion-mnist", "exact")
MODEL = bundled_spec("resnet8")


@pytest.mark.parametrize("model", [MODEL, None], ids=["layers known", "layers unknown"])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"limits": {"nonsense": 3.0}}, "Unknown cost 'nonsense'"),
        ({"limits": {"weight_bytes": -1.0}}, "got -1"),
        ({"limits": {"weight_bytes": "40 kB"}}, "a number above 0; got '40 kB'"),
        ({"limits": {"weight_bytes": True}}, "got True"),
        ({"limits": {"weight_bytes": float("nan")}}, "got nan"),
        ({"limits": {"weight_bytes": float("inf")}}, "got inf"),
        ({"weight_bits": ()}, "at least one weight"),
        ({"weight_bits": (24,)}, "1 to 16, fp16, bf16, or 32 for float, or such as 4g64; got 24"),
        ({"weight_bits": (4, 9), "search": "dq"}, "which have 1 to 8 bits; got 9 bits"),
        ({"pin_first_last": FLOAT16, "search": "mirror"}, "which have 1 to 8 bits; got fp16"),
        ({"weight_bits": (0, 4)}, "got 0"),
        ({"weight_bits": (3.5,)}, "got 3.5"),
        ({"activation_bits": (24,)}, "got 24"),
        ({"pin_first_last": 24}, "got 24"),
        ({"data": "nonsense"}, "Unknown data set"),
        ({"params": {"nonsense": 1}}, "no parameter 'nonsense'"),
        ({"params": {"points": 0}}, "between"),
        ({"search": "nonsense"}, "Unknown search"),
        ({"calibration_images": 0}, "1 to 100,000 calibration images; got 0"),
        ({"search_images": -4}, "search images; got -4"),
        ({"reported": 0}, "1 to 1,000 points; got 0"),
        ({"seed": -5}, "from 0 up; got -5"),
        ({"correction": "backwards"}, "'backwards'; known: off, parallel, sequential, normed"),
    ],
)
def test_a_run_that_could_not_begin_is_refused_in_words(changes, words, model):
    with pytest.raises(QcoreError, match=words):
        check_run(dataclasses.replace(SPEC, **changes), model)


def test_a_budget_below_the_smallest_allocation_names_the_smallest():
    small = dataclasses.replace(SPEC, limits={"weight_bytes": 1})
    check_run(small, None)  # nobody knows yet
    with pytest.raises(InfeasibleBudget, match=r"smallest possible is 19,268 B"):
        check_run(small, MODEL)
    check_run(dataclasses.replace(SPEC, limits={"weight_bytes": 19_268}), MODEL)


def test_a_parameter_that_is_no_number_is_refused():
    dq = dataclasses.replace(SPEC, search="dq", params={"penalty": float("nan")})
    with pytest.raises(QcoreError, match="nan"):
        check_run(dq, MODEL)


RULES = (Rule("conv1", lock=(8, 8)), Rule("layer2.0.{conv1,shortcut.0}", tie="both"))


def test_rules_come_back_and_are_absent_where_there_are_none():
    ruled = dataclasses.replace(SPEC, rules=RULES)
    assert RunSpec.from_json(json.loads(json.dumps(ruled.to_json()))) == ruled
    assert "rules" not in SPEC.to_json()


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ((Rule("conv9", lock=(8, 8)),), "matches no layer"),
        ((Rule("conv1", lock=(8, 8)), Rule("conv1", most=(4, None))), "no bits for its weights"),
    ],
)
def test_rules_that_cannot_hold_on_a_network_are_refused(rules, words):
    ruled = dataclasses.replace(SPEC, rules=rules)
    check_run(ruled, None)  # nobody knows yet
    with pytest.raises(InvalidParams, match=words):
        check_run(ruled, MODEL)


def test_a_budget_that_only_ties_make_impossible_is_refused_with_what_they_leave():
    rules = (Rule("fc", lock=(8, None)), Rule("fc, layer3.0.conv2", tie="weights"))
    free = dataclasses.replace(SPEC, limits={"weight_bytes": 20_000})
    check_run(free, MODEL)
    with pytest.raises(InfeasibleBudget, match="smallest possible"):
        check_run(dataclasses.replace(free, rules=rules), MODEL)


def test_what_was_written_before_corrections_were_measured_was_corrected_in_turn():
    document = SPEC.to_json()
    assert RunSpec.from_json(document).correction is None
    del document["correction"]
    assert RunSpec.from_json(document).correction == "sequential"
