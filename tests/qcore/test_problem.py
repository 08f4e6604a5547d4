import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcore.allocation import BitAllocation, LayerBits
from qcore.costs.budget import Budget, make_options
from qcore.errors import InvalidAllocation
from qcore.problem import Point, Problem, Scores, SensitivityTable, wilson_interval
from qcore.run_spec import RunSpec
from tests.strategies import model

TABLE = SensitivityTable(
    kind="gradient",
    unit="nats",
    weight={"conv": {2: 0.5, 4: 0.25}, "fc": {2: 1.0}},
    activation={"conv": {4: 0.125}},
    error={"conv": 0.01},
    pairs=np.array([[0.1, 1 / 3], [1 / 3, 2.0]]),
    pair_index=(("conv", "weight", 2), ("conv", "activation", 4)),
    n=64,
    seconds=1.5,
)


def earlier(**changes):
    """What a release wrote that had elementwise scores under the name "gradient"."""
    return {**TABLE.to_json(), "version": 1, **changes}


def test_an_earlier_gradient_table_gives_the_diagonal_of_its_pairs():
    found = SensitivityTable.from_json(earlier())
    assert found.kind == "gradient"
    assert found.weight == {"conv": {2: 0.1}}
    assert found.activation == {"conv": {4: 2.0}}
    assert np.array_equal(found.pairs, TABLE.pairs)
    assert SensitivityTable.from_json(found.to_json()).weight == found.weight


def test_an_earlier_gradient_table_without_pairs_is_not_taken_for_one_of_today():
    found = SensitivityTable.from_json(earlier(pairs=None, pair_index=[]))
    assert found.kind == "gradient_elementwise"
    assert found.weight == TABLE.weight


def test_earlier_tables_of_other_kinds_are_what_they_were():
    found = SensitivityTable.from_json(earlier(kind="kl"))
    assert (found.kind, found.weight) == ("kl", TABLE.weight)


def test_wilson_interval_matches_published_figures():
    # Newcombe, Statistics in Medicine 17, 1998, table I, method 3
    published = {(81, 263): (0.2553, 0.3662), (15, 148): (0.0624, 0.1605), (0, 20): (0.0, 0.1611)}
    for (hits, n), expected in published.items():
        assert wilson_interval(hits / n, n) == pytest.approx(expected, abs=5e-5)
    assert wilson_interval(1 / 29, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


@given(hits=st.integers(0, 1000), extra=st.integers(0, 1000))
def test_wilson_interval_holds_the_share_and_mirrors(hits, extra):
    n = hits + extra
    share = hits / n if n else 0.5
    low, high = wilson_interval(share, n)
    assert 0 <= low <= share + 1e-12
    assert share - 1e-12 <= high <= 1
    assert wilson_interval(1 - share, n) == pytest.approx((1 - high, 1 - low))


@given(share=st.floats(0, 1), n=st.integers(1, 10_000))
def test_four_times_the_images_shrink_the_interval(share, n):
    low, high = wilson_interval(share, n)
    narrow_low, narrow_high = wilson_interval(share, 4 * n)
    assert narrow_high - narrow_low < high - low


def test_no_images_say_nothing():
    assert wilson_interval(0.5, 0) == (0.0, 1.0)


def test_the_headline_is_accuracy_or_else_agreement():
    labelled = Scores(n=100, kl=0.1, agreement=0.9, accuracy=0.7, loss=0.8)
    unlabelled = Scores(n=100, kl=0.1, agreement=0.9)
    assert labelled.headline == 0.7
    assert labelled.interval == wilson_interval(0.7, 100)
    assert unlabelled.headline == 0.9
    assert Scores(n=1, kl=0.0, agreement=1.0, accuracy=0.0).headline == 0.0


def test_points_of_other_weights_have_other_keys():
    allocation = BitAllocation({"conv": LayerBits(2)})
    scores = Scores(n=1, kl=0.0, agreement=1.0)
    keys = {Point(allocation, scores, stage=stage).key for stage in ("ptq", "ptq+tuned")}
    assert len(keys) == 2
    assert Point(allocation, scores, seconds=3).key == Point(allocation, scores).key


def test_a_sensitivity_adds_weights_and_activations_and_float_is_free():
    assert TABLE.score("conv", LayerBits(2, 4)) == 0.625
    assert TABLE.score("conv", LayerBits(4, 32)) == 0.25
    assert TABLE.score("fc", LayerBits(32, 32)) == 0.0


@pytest.mark.parametrize(
    ("name", "bits"), [("fc", LayerBits(3)), ("fc", LayerBits(2, 4)), ("head", LayerBits(2))]
)
def test_a_sensitivity_that_is_not_in_the_table_is_named(name, bits):
    with pytest.raises(InvalidAllocation, match=f"gradient.*{name!r}"):
        TABLE.score(name, bits)


def test_a_table_survives_json_to_the_last_bit():
    back = SensitivityTable.from_json(json.loads(json.dumps(TABLE.to_json())))
    assert back.pairs is not None
    assert np.array_equal(back.pairs, TABLE.pairs)
    assert back.to_json() == TABLE.to_json()
    assert back.score("conv", LayerBits(2, 4)) == 0.625
    assert back.pair_index == TABLE.pair_index


def test_a_table_without_pairs_survives_json():
    plain = SensitivityTable("kl", "nats", {"conv": {2: math.pi}})
    assert SensitivityTable.from_json(json.loads(json.dumps(plain.to_json()))) == plain


def test_a_table_says_which_of_its_widths_were_worked_out():
    table = SensitivityTable("kl", "nats", {"conv": {2: 0.5, 4: 0.1, 8: 0.0}}, derived=(8,))
    written = json.loads(json.dumps(table.to_json()))
    assert SensitivityTable.from_json(written).derived == (8,)
    del written["derived"]
    # version 2 worked wide weights out and did not say so, version 1 measured all
    assert SensitivityTable.from_json({**written, "version": 2}).derived == (8,)
    assert SensitivityTable.from_json({**written, "version": 1}).derived == ()


def test_a_run_spec_survives_json():
    spec = RunSpec(
        model="resnet8",
        data="imagefolder:/a b",
        search="exact",
        params={"points": 3},
        limits={"weight_bytes": 1000.5},
        weight_bits=(2, 8),
        activation_bits=(4, 8),
        pin_first_last=8,
        seed=7,
        tuning=True,
    )
    back = RunSpec.from_json(json.loads(json.dumps(spec.to_json())))
    assert back == spec
    assert back.weight_bits == (2, 8)


def make_problem(**changes: object) -> Problem:
    options = make_options(model().layers, (2, 4))
    return Problem(model(), options, **changes)  # type: ignore[arg-type]


def test_a_problem_checks_names_and_options():
    problem = make_problem()
    problem.check(BitAllocation({"conv": LayerBits(2), "fc": LayerBits(4)}))
    with pytest.raises(InvalidAllocation, match=r"'fc' has bits 3/32; allowed here: 2/32, 4/32"):
        problem.check(BitAllocation({"conv": LayerBits(2), "fc": LayerBits(3)}))
    with pytest.raises(InvalidAllocation, match="missing layers: fc"):
        problem.check(BitAllocation({"conv": LayerBits(2)}))


def test_a_problem_admits_what_its_budget_does():
    problem = make_problem(budget=Budget({"weight_bytes": 300}))
    assert problem.admits(BitAllocation.uniform(model().layers, 2))
    assert not problem.admits(BitAllocation.uniform(model().layers, 4))


def test_searches_minimise_the_objective_and_fall_back_to_kl_without_labels():
    allocation = BitAllocation.uniform(model().layers, 2)
    labelled = Point(allocation, Scores(n=9, kl=0.2, agreement=0.9, accuracy=0.8, loss=0.7))
    unlabelled = Point(allocation, Scores(n=9, kl=0.2, agreement=0.9))
    assert make_problem().value(labelled) == 0.2
    assert make_problem(objective="loss").value(labelled) == 0.7
    assert make_problem(objective="loss").value(unlabelled) == 0.2
