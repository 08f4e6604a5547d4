"""One rule says whether a float network is hardly better than guessing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcore.float_check import FAR, far_off
from qcore.problem import Scores


def scores(right: int, n: int) -> Scores:
    return Scores(n, 0.0, 1.0, right / n, 1.0)


@given(
    classes=st.integers(2, 1000),
    n=st.integers(1, 20_000),
    shares=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_a_network_that_names_more_right_is_never_called_worse(classes, n, shares):
    few, many = sorted(round(share * n) for share in shares)
    if far_off(scores(many, n), classes):
        assert far_off(scores(few, n), classes)


@given(classes=st.integers(2, 1000), n=st.integers(1, 20_000))
def test_guessing_is_always_told_and_a_sure_network_never(classes, n):
    assert far_off(scores(n // classes, n), classes)
    told = far_off(scores(n, n), classes)
    low, _ = scores(n, n).interval
    assert bool(told) == (low <= 1 / classes + FAR * (1 - 1 / classes))


@pytest.mark.parametrize(
    ("right", "n", "classes", "told"),
    [
        (200, 2_000, 10, True),  # a normalisation that is wrong
        (1_560, 10_000, 10, True),
        (860, 1_000, 10, False),
        (730, 1_000, 2, False),
        (590, 1_000, 2, True),
        (60, 1_024, 1000, True),
        (700, 1_024, 1000, False),
    ],
)
def test_what_is_far_off(right, n, classes, told):
    assert bool(far_off(scores(right, n), classes)) == told


def test_without_labels_nothing_is_known():
    assert far_off(Scores(100, 0.0, 1.0), 10) == ""
    assert far_off(None, 10) == ""


def test_the_sentence_says_both_figures_and_what_to_check():
    words = far_off(scores(205, 2_000), 10)
    assert "10.2 % of 2,000 images right" in words
    assert "guessing comes to 10.0 %" in words
    assert "normalisation" in words
