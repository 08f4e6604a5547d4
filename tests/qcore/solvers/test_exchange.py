"""Which exchanges are proposed, and in which order."""

import numpy as np

from qcore.solvers.exchange import handful, ranked_exchanges
from qcore.solvers.quadratic import flatten
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
