"""A private source of normal numbers for pycma, and a fence around what it does on the side."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


class NormalSource:
    """Standard normal numbers from a generator of its own; can be pickled with its state.

    pycma draws from numpy's global generator unless it is given one, and a search whose numbers
    depend on what other threads draw cannot be repeated.
    """

    def __init__(self, seed: int) -> None:
        """Start from a seed, 0..2^32 - 1."""
        self._rng = np.random.default_rng(seed)

    def __call__(self, *shape: int) -> np.ndarray:
        """Draw numbers of this shape, as `numpy.random.randn` does."""
        return self._rng.standard_normal(shape)


@contextmanager
def fenced() -> Iterator[None]:
    """Keep pycma's warnings and its draws from numpy's global generator to itself.

    pycma 4.5 warns on import where matplotlib is missing, and whenever it is told of repaired
    copies, which is what repair is. And some of its assertions draw a global random number to
    decide how much to assert; no result depends on them, but another's numbers would.
    """
    state = np.random.get_state()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        np.random.set_state(state)
