"""Correlations between layers, and whether two matrices agree by more than chance."""

import numpy as np
import pytest

from qcore.errors import InvalidParams
from qcore.problem import SensitivityTable
from qcore.solvers.dependencies import (
    correlations,
    dependencies,
    interactions,
    kept_dependencies,
    rank_agreement,
    sign_agreement,
)
from qcore.solvers.genes import genes_of
from qcore.solvers.space import space_of
from tests.helpers import toy_problem


def symmetric(seed, count=9):
    made = np.random.default_rng(seed).normal(size=(count, count))
    return made @ made.T


def test_correlations_are_those_of_numpy():
    rows = np.random.default_rng(0).normal(size=(5, 40))
    assert np.allclose(correlations(np.cov(rows)), np.corrcoef(rows))


def test_a_width_that_never_moves_goes_with_nothing():
    found = correlations(np.diag([1.0, 0.0]))
    assert found.tolist() == [[1, 0], [0, 1]]
    with pytest.raises(InvalidParams, match="NaN"):
        correlations(np.array([[np.nan]]))


def test_what_is_kept_is_of_weights_in_layer_order_or_said_to_be_left_out():
    toy = toy_problem(4, (2, 3, 4), (4, 8))
    genes = genes_of(space_of(toy.problem))
    covariance = symmetric(1, len(genes.genes))
    kept = dependencies(genes, covariance)
    assert (kept["part"], kept["layers"]) == ("weight", list(toy.problem.model.names))
    weights = [at for at, gene in enumerate(genes.genes) if gene.tensors[0][1] == "weight"]
    wanted = correlations(covariance)[np.ix_(weights, weights)]
    assert np.allclose(kept["matrix"], wanted, atol=6e-4)
    assert "at most" in dependencies(genes, covariance, most=3)["left_out"]
    assert "not finite" in dependencies(genes, covariance * np.nan)["left_out"]
    inputs = genes_of(space_of(toy_problem(4, (4,), (4, 8)).problem))
    assert dependencies(inputs, symmetric(1, 4))["part"] == "activation"


def test_figures_of_other_releases_are_passed_over():
    good = {"layers": ["a", "b"], "matrix": [[1, 0.5], [0.5, 1]], "part": "weight"}
    bad = [
        {}, {"dependencies": 3}, {"dependencies": {"left_out": "many"}},
        {"dependencies": {**good, "matrix": [[1, "x"], [2, 3]]}},
        {"dependencies": {**good, "layers": ["a"]}},
        {"dependencies": {**good, "matrix": [[1], [2, 3]]}},
        {"dependencies": {**good, "matrix": [[1, np.inf], [2, 3]]}},
    ]  # fmt: skip
    assert [each["layers"] for each in kept_dependencies([*bad, {"dependencies": good}])] == [
        ["a", "b"]
    ]


def test_a_matrix_agrees_with_itself_and_hardly_with_another():
    found = symmetric(0)
    same = rank_agreement(found, found)
    assert same.value == pytest.approx(1)
    assert same.shown
    assert same.pairs == 36
    # unrelated pairs pass for related ones about one time in forty
    shown = [rank_agreement(symmetric(2 * n), symmetric(2 * n + 1), times=199).shown
             for n in range(1, 31)]  # fmt: skip
    assert sum(shown) <= 5
    with pytest.raises(InvalidParams, match="three or more"):
        rank_agreement(np.eye(2), np.eye(2))


def test_ranks_of_equal_values_are_shared():
    steps = np.round(symmetric(3), 0)
    assert rank_agreement(steps, 3 * steps + 1).value == pytest.approx(1)
    assert rank_agreement(steps, -steps).value == pytest.approx(-1)
    assert rank_agreement(np.ones((4, 4)), symmetric(0, 4)).value == 0


def test_signs_agree_where_adding_damages_part_bits():
    found = symmetric(0)
    assert sign_agreement(found, -found).value == 1
    assert sign_agreement(found, found).value == 0


def test_interactions_are_the_cosines_of_the_narrowest_rows():
    rows = np.random.default_rng(0).normal(size=(4, 30))
    index = (("a", "weight", 2), ("a", "weight", 4), ("b", "weight", 2), ("b", "activation", 2))
    table = SensitivityTable("gradient", "nats", {}, pairs=rows @ rows.T, pair_index=index)
    found = interactions(table, ["b", "a"], "weight")
    cosine = rows[0] @ rows[2] / np.linalg.norm(rows[0]) / np.linalg.norm(rows[2])
    assert found == pytest.approx(np.array([[1, cosine], [cosine, 1]]))
    assert interactions(table, ["a", "c"], "weight") is None
    assert interactions(SensitivityTable("kl", "nats", {}), ["a"], "weight") is None
