"""Numbers that nobody else's drawing changes."""

import pickle
import warnings

import numpy as np

from qcore.solvers.random_normal import NormalSource, fenced


def test_same_seed_same_numbers_whatever_the_global_generator_does():
    first, second = NormalSource(3), NormalSource(3)
    a = first(2, 5)
    np.random.seed(1)
    np.random.rand(17)
    b = second(2, 5)
    assert a.shape == (2, 5)
    assert (a == b).all()
    assert (NormalSource(4)(2, 5) != a).any()


def test_a_pickled_source_goes_on_where_it_was():
    source = NormalSource(0)
    source(100)
    copy = pickle.loads(pickle.dumps(source))
    assert (copy(7) == source(7)).all()


def test_numbers_are_standard_normal():
    numbers = NormalSource(0)(100_000)
    assert abs(numbers.mean()) < 0.02
    assert abs(numbers.std() - 1) < 0.02


def test_the_fence_keeps_warnings_and_draws_inside():
    before = np.random.get_state()[1].tolist()
    position = np.random.get_state()[2]
    with fenced():
        np.random.rand(1000)
        warnings.warn("not for others", stacklevel=1)
    assert np.random.get_state()[1].tolist() == before
    assert np.random.get_state()[2] == position
