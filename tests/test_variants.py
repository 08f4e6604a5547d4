"""Of crossed axes the default run has every value, and `make test-all` every combination."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from tests.variants import crossed


@given(counts=st.lists(st.integers(1, 6), min_size=1, max_size=3))
def test_every_value_is_there_once_and_every_combination_somewhere(counts):
    axes = [[f"{at}.{value}" for value in range(count)] for at, count in enumerate(counts)]
    found = crossed(*axes)
    assert [each.values for each in found] == list(itertools.product(*axes))
    kept = [each.values for each in found if not each.marks]
    assert len(kept) == max(counts)
    for at, axis in enumerate(axes):
        assert {values[at] for values in kept} == set(axis)
