"""What could not begin is refused before anything is loaded or stored."""

import dataclasses

import pytest

from qcore.errors import InfeasibleBudget, QcoreError
from qcore.models.catalog import bundled_spec
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
        ({"weight_bits": (9,)}, "1 to 8, or 32 for float; got 9"),
        ({"weight_bits": (0, 4)}, "got 0"),
        ({"weight_bits": (3.5,)}, "got 3.5"),
        ({"activation_bits": (16,)}, "got 16"),
        ({"pin_first_last": 9}, "got 9"),
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


def test_what_was_written_before_corrections_were_measured_was_corrected_in_turn():
    document = SPEC.to_json()
    assert RunSpec.from_json(document).correction is None
    del document["correction"]
    assert RunSpec.from_json(document).correction == "sequential"
