"""What the default run leaves to `make test-all`, and that nothing is left out of both."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.variants import FEW, crossed, examples, some


@given(counts=st.lists(st.integers(1, 6), min_size=1, max_size=3))
def test_every_value_is_there_once_and_every_combination_somewhere(counts):
    axes = [[f"{at}.{value}" for value in range(count)] for at, count in enumerate(counts)]
    found = crossed(*axes)
    assert [each.values for each in found] == list(itertools.product(*axes))
    kept = [each.values for each in found if not each.marks]
    assert len(kept) == max(counts)
    for at, axis in enumerate(axes):
        assert {values[at] for values in kept} == set(axis)


@given(values=st.lists(st.integers(), min_size=1, unique=True), most=st.integers(1, 12))
def test_as_many_values_as_asked_for_are_kept_and_all_are_somewhere(values, most):
    found = some(values, most)
    assert [each.values[0] if hasattr(each, "marks") else each for each in found] == values
    kept = [each for each in found if not hasattr(each, "marks")]
    assert len(kept) == min(most, len(values))
    assert kept[0] == values[0]
    assert most == 1 or kept[-1] == values[-1]


@pytest.mark.parametrize(("by_default", "tried"), [(FEW, 75), (FEW + 1, 300)])
def test_a_property_is_tried_on_all_its_examples_where_others_are_tried_on_more(by_default, tried):
    before = settings.get_current_profile_name()
    settings.register_profile("many or few", max_examples=by_default)
    settings.load_profile("many or few")
    try:
        assert examples(300) == tried
        assert examples(FEW) == FEW
    finally:
        settings.load_profile(before)
