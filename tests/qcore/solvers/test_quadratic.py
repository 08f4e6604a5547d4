"""The pairwise form and its minimum under limits."""

import dataclasses
import itertools

import numpy as np
import pytest

from qcore.allocation import LayerBits
from qcore.errors import InvalidAllocation, InvalidParams
from qcore.solvers.quadratic import (
    allowed_exchanges,
    best_pairs,
    flatten,
    form_changes,
    form_value,
    pair_matrix,
    project_psd,
)
from qcore.solvers.space import space_of
from tests.helpers import toy_problem, with_budget


def random_psd(size: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(size, 5))
    return vectors @ vectors.T


def brute_force(space, matrix, limits) -> float:
    flat = flatten(space)
    best = np.inf
    for choice in itertools.product(*map(range, space.sizes)):
        rows = flat.first + np.array(choice)
        if (flat.prices[rows].sum(axis=0) <= limits).all():
            best = min(best, form_value(matrix, rows))
    return best


@pytest.mark.parametrize("seed", range(12))
def test_enumeration_equals_brute_force(seed):
    toy = toy_problem(4, (2, 4, 8), (4, 8) if seed % 2 else (32,), seed=seed)
    toy = with_budget(with_budget(toy, 0.4, "weight_bytes"), 0.6, "bit_ops")
    space = space_of(toy.problem)
    flat = flatten(space)
    matrix = random_psd(len(flat.owner), seed)
    found = best_pairs(space, matrix, space.limits, [], np.random.default_rng(0))
    assert (space.price(found) <= space.limits).all()
    value = form_value(matrix, flat.first + found)
    assert value == pytest.approx(brute_force(space, matrix, space.limits))


@pytest.mark.parametrize("seed", range(12))
def test_local_search_is_feasible_and_no_exchange_improves_it(seed):
    toy = with_budget(toy_problem(6, (2, 3, 4), seed=seed), 0.4)
    space = space_of(toy.problem)
    flat = flatten(space)
    matrix = random_psd(len(flat.owner), seed)
    rng = np.random.default_rng(0)
    found = best_pairs(space, matrix, space.limits, [], rng, exhaustive=0)
    assert (space.price(found) <= space.limits).all()
    value = form_value(matrix, flat.first + found)
    assert value >= brute_force(space, matrix, space.limits) - 1e-9
    for one, two in itertools.combinations(range(6), 2):
        for first, second in itertools.product(range(3), repeat=2):
            other = found.copy()
            other[[one, two]] = first, second
            if (space.price(other) <= space.limits).all():
                assert value <= form_value(matrix, flat.first + other) + 1e-9


def test_local_search_finds_most_optima_of_small_problems():
    hits = 0
    for seed in range(20):
        toy = with_budget(toy_problem(5, (2, 3, 4, 8), seed=seed), 0.3)
        space = space_of(toy.problem)
        matrix = pair_matrix(space, toy.problem.sensitivity("gradient"))
        rng = np.random.default_rng(seed)
        exactly = best_pairs(space, matrix, space.limits, [], rng)
        locally = best_pairs(space, matrix, space.limits, [], rng, exhaustive=0)
        hits += np.array_equal(exactly, locally)
    assert hits >= 18


def test_nothing_within_limits_is_none():
    space = space_of(toy_problem(3).problem)
    matrix = random_psd(12, 0)
    below = space.cheapest - 1.0
    assert best_pairs(space, matrix, below, [], np.random.default_rng(0)) is None


def test_changes_equal_recomputed_differences():
    toy = with_budget(toy_problem(4, (2, 4, 8), (4, 8)), 0.4)
    space = space_of(toy.problem)
    flat = flatten(space)
    matrix = random_psd(len(flat.owner), 1)
    rows = flat.first + np.array([0, 3, 1, 2])
    changes = form_changes(flat, matrix, rows)
    allowed = allowed_exchanges(flat, rows, space.limits)
    for p, r in itertools.product(range(len(flat.owner)), repeat=2):
        if p != r and flat.owner[p] == flat.owner[r]:
            assert not allowed[p, r]
            continue
        after = rows.copy()
        after[flat.owner[[p, r]]] = p, r
        wanted = form_value(matrix, after) - form_value(matrix, rows)
        assert changes[p, r] == pytest.approx(wanted, abs=1e-9)
        fits = (flat.prices[after].sum(axis=0) <= space.limits).all()
        assert allowed[p, r] == fits


def test_form_is_the_squared_length_of_the_summed_changes():
    toy = toy_problem(4, (2, 8), (4, 32), interaction=1.0)
    space = space_of(toy.problem)
    flat = flatten(space)
    matrix = pair_matrix(space, toy.problem.sensitivity("gradient"))
    for choice in itertools.product(range(4), repeat=4):
        rows = flat.first + np.array(choice)
        damage = toy.damage(space.allocation(choice))
        assert form_value(matrix, rows) == pytest.approx(damage, rel=1e-9, abs=1e-12)


def test_shrinking_keeps_what_one_layer_does_and_a_share_of_what_two_do():
    toy = toy_problem(4, (2, 8), (4, 32), interaction=1.0)
    space = space_of(toy.problem)
    flat = flatten(space)
    table = toy.problem.sensitivity("gradient")
    full, half, none = (pair_matrix(space, table, kept) for kept in (1.0, 0.5, 0.0))
    assert half == pytest.approx((full + none) / 2)
    assert np.linalg.eigvalsh(half).min() > -1e-9
    for choice in itertools.product(range(4), repeat=4):
        rows = flat.first + np.array(choice)
        alone = sum(full[row, row] for row in rows)
        assert form_value(none, rows) == pytest.approx(alone, rel=1e-9, abs=1e-12)


def test_float_bits_contribute_nothing():
    toy = toy_problem(2, (32,))
    matrix = pair_matrix(space_of(toy.problem), toy.problem.sensitivity("gradient"))
    assert (matrix == 0).all()


def test_projection_removes_negative_directions_and_keeps_psd_forms():
    psd = random_psd(6, 3)
    assert project_psd(psd) == pytest.approx(psd)
    indefinite = psd - 2 * np.eye(6)
    assert np.linalg.eigvalsh(indefinite).min() < -1
    assert np.linalg.eigvalsh(project_psd(indefinite)).min() > -1e-9


def test_a_negative_form_is_not_exploited():
    toy = toy_problem(3, (2, 8))
    table = toy.problem.sensitivity("gradient")
    broken = dataclasses.replace(table, pairs=np.asarray(table.pairs) - 10.0)
    matrix = pair_matrix(space_of(toy.problem), broken)
    assert np.linalg.eigvalsh(matrix).min() > -1e-9


def test_missing_and_broken_pairs_are_named():
    toy = toy_problem(2, (2, 4))
    space = space_of(toy.problem)
    table = toy.problem.sensitivity("gradient")
    with pytest.raises(InvalidParams, match="holds no pairs"):
        pair_matrix(space, toy.problem.sensitivity("kl"))
    short = dataclasses.replace(table, pairs=table.pairs[:1, :1], pair_index=table.pair_index[:1])
    with pytest.raises(InvalidAllocation, match="weight of layer 'layer0' at 2 bits"):
        pair_matrix(space, short)
    with pytest.raises(InvalidParams, match="NaN"):
        pair_matrix(space, dataclasses.replace(table, pairs=np.full_like(table.pairs, np.nan)))


def test_rows_of_a_flat_space_follow_the_layers():
    toy = toy_problem(3, (2, 4, 8), pin_first_last=8)
    flat = flatten(space_of(toy.problem))
    assert flat.owner.tolist() == [0, 1, 1, 1, 2]
    assert flat.first.tolist() == [0, 1, 4]
    assert toy.problem.options["layer0"] == (LayerBits(8, 32),)
