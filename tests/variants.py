"""Which of many variants the default run takes, and which only `make test-all`."""

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import settings

FEW = 20
"""Examples of a property in the default run, where it asks for no more; see conftest.py."""


def examples(most: int) -> int:
    """On how many examples a property is tried that needs many: all of them by `make test-all`.

    The default run tries a quarter, and no fewer than of any other property.

    Args:
        most: At least FEW.
    """
    few = settings.default is not None and settings.default.max_examples <= FEW
    return max(FEW, most // 4) if few else most


def crossed(*axes: Iterable) -> list:
    """Every combination of the axes' values, for one `parametrize` over all of their names.

    The default run has each value of each axis at least once, along the diagonal; the other
    combinations are marked slow.
    """
    values = [list(axis) for axis in axes]
    longest = max(map(len, values))
    kept = {tuple(at % len(axis) for axis in values) for at in range(longest)}
    places = itertools.product(*(range(len(axis)) for axis in values))
    return [
        pytest.param(*each, marks=() if place in kept else pytest.mark.slow)
        for each, place in zip(itertools.product(*values), places, strict=True)
    ]


def some(values: Iterable, most: int) -> list:
    """Values for one `parametrize`, of which the default run has only `most`.

    They are spread over the whole list, from the first to the last; the others are marked slow.
    """
    listed = list(values)
    steps = max(1, most - 1)
    kept = {at * (len(listed) - 1) // steps for at in range(most)}
    return [
        each if at in kept else pytest.param(each, marks=pytest.mark.slow)
        for at, each in enumerate(listed)
    ]
