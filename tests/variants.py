"""Which of many variants the default run takes, and which only `make test-all`."""

import itertools
from collections.abc import Iterable

import pytest


def crossed(*axes: Iterable) -> list:
    """Every combination of the axes' values, for one `parametrize` over all of their names.

    The default run has each value of each axis at least once, along the diagonal; the other
    combinations are marked slow.
    """
    values = [list(axis) for axis in axes]
    longest = max(map(len, values))
    kept = {tuple(axis[at % len(axis)] for axis in values) for at in range(longest)}
    return [
        pytest.param(*each, marks=() if each in kept else pytest.mark.slow)
        for each in itertools.product(*values)
    ]
