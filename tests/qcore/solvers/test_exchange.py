"""Which exchanges are proposed, and in which order."""

import numpy as np
import pytest

from qcore.solvers.exchange import (
    BELIEVED,
    handful,
    learn,
    predicted_changes,
    ranked_exchanges,
)
from qcore.solvers.quadratic import flatten, form_value
from qcore.solvers.space import space_of
from tests.helpers import toy_problem, with_budget


def all_within_two(space, flat, rows):
    found = set()
    everything = np.indices(space.sizes).reshape(len(rows), -1).T
    for choice in everything:
        differs = int((flat.first + choice != rows).sum())
        if 1 <= differs <= 2 and (space.price(choice) <= space.limits).all():
            found.add(tuple((flat.first + choice).tolist()))
    return found


def test_every_feasible_exchange_comes_exactly_once():
    space = space_of(with_budget(toy_problem(4, (2, 4, 8)), 0.4).problem)
    flat = flatten(space)
    rows = flat.first + np.array([1, 0, 0, 1])
    form = {"kl": np.eye(len(flat.owner))}
    found = [tuple(r.tolist()) for r in ranked_exchanges(flat, form, {"kl": 1}, rows, space.limits)]
    assert len(set(found)) == len(found)
    assert set(found) == all_within_two(space, flat, rows)


def test_largest_predicted_gain_comes_first_and_trust_decides_between_forms():
    toy = toy_problem(3)
    space = space_of(toy.problem)
    flat = flatten(space)
    scores = np.concatenate(space.scores(toy.problem.sensitivity("kl")))
    forms = {"good": np.diag(scores), "opposite": np.diag(scores.max() - scores)}
    rows = flat.first + 1
    limits = space.dearest

    def gains(trust):
        order = list(ranked_exchanges(flat, forms, trust, rows, limits))
        return [float(scores[rows].sum() - scores[after].sum()) for after in order]

    trusting = gains({"good": 1.0, "opposite": 1e-9})
    assert trusting == sorted(trusting, reverse=True)
    assert gains({"good": 1e-9, "opposite": 1.0})[0] < 0 < trusting[0]


def test_a_handful_holds_different_changes():
    rows = np.array([0, 3, 6])
    candidates = [np.array(c) for c in ([1, 3, 7], [1, 3, 6], [0, 4, 6], [0, 3, 7], [0, 3, 8])]
    taken = [c.tolist() for c in handful(iter(candidates), rows, 3)]
    assert taken == [[1, 3, 7], [0, 4, 6], [0, 3, 8]]
    assert len(handful(iter(candidates), rows, 1)) == 1


def interacting(layers, seed):
    """Flat options, a true damage with interactions, and a wrong additive form of it."""
    rng = np.random.default_rng(seed)
    flat = flatten(space_of(toy_problem(layers, (2, 4, 8)).problem))
    size = len(flat.owner)
    factor = rng.normal(size=(size, 6)) / flat.prices.astype(float) ** 0.5
    true = factor @ factor.T
    wrong = np.diag(np.diagonal(true) * rng.lognormal(0, 1, size))
    return flat, true, wrong


def test_predictions_of_an_exchange_go_towards_its_measurement_and_no_other_layer_changes():
    flat, true, wrong = interacting(5, 0)
    rows = flat.first + 1
    learned = np.zeros(len(flat.owner))
    forms, trust = {"wrong": wrong}, {"wrong": 1.0}
    before = predicted_changes(flat, forms, trust, rows)
    for after in (rows + np.array([1, 0, 0, 0, 0]), rows + np.array([0, -1, 0, 1, 0])):
        predicted = predicted_changes(flat, forms, trust, rows, learned)
        change = form_value(true, after) / form_value(true, rows) - 1
        learn(learned, predicted, rows, after, change)
        new = after[after != rows]
        now = predicted_changes(flat, forms, trust, rows, learned)
        halfway = (1 - BELIEVED) * predicted[new[0], new[-1]] + BELIEVED * change
        assert now[new[0], new[-1]] == pytest.approx(halfway)
    untouched = np.ix_(flat.owner == 4, flat.owner == 2)
    assert (now[untouched] == before[untouched]).all()
    # seen from where the exchange led to, the way back is its opposite
    back = predicted_changes(flat, {"none": np.zeros_like(wrong)}, {"none": 1.0}, after, learned)
    zero = np.zeros_like(wrong)
    there = predicted_changes(flat, {"none": zero}, {"none": 1.0}, rows, learned)
    assert back[rows[1], rows[3]] == pytest.approx(-there[after[1], after[3]])


def test_measurements_lead_to_lower_damage_than_the_same_wrong_predictions_alone():
    def lowest(seed, correcting):
        flat, true, wrong = interacting(8, seed)
        rows, limits = flat.first + 1, flat.prices[flat.first + 1].sum(axis=0)
        learned, seen = np.zeros(len(flat.owner)), {tuple(rows)}
        value = form_value(true, rows)
        for _ in range(24):
            told = predicted_changes(flat, {"w": wrong}, {"w": 1.0}, rows, learned)
            ranked = ranked_exchanges(flat, {"w": wrong}, {"w": 1.0}, rows, limits, learned)
            after = next(each for each in ranked if tuple(each) not in seen)
            seen.add(tuple(after))
            found = form_value(true, after)
            if correcting:
                learn(learned, told, rows, after, found / value - 1)
            rows, value = (after, found) if found < value else (rows, value)
        return value

    gains = [np.log(lowest(seed, False) / lowest(seed, True)) for seed in range(30)]
    assert np.mean(gains) > 2 * np.std(gains) / 30**0.5
