"""The best measured point of a method within a budget that is typed."""

import pytest

from pages.shared.points_table import points_frame
from pages.workbench.controls import best_of
from qcore.errors import InvalidParams
from tests.pages import sample

POINTS = [
    sample.stored(bits, 1, sample.point(sample.uniform(bits), 700 + 20 * bits))
    for bits in (2, 3, 4, 8)
]
ROWS = points_frame(POINTS, {1: sample.run_of(1, "uniform")}, sample.MODEL)


@pytest.mark.parametrize(
    ("typed", "bits"), [("3.5 bits", 3), ("4 bits", 4), ("40 %", 3), ("4x smaller", 8)]
)
def test_the_best_within_what_was_typed_is_taken(typed, bits):
    assert best_of(ROWS, sample.MODEL, typed)["point"] == bits


def test_what_nothing_fits_is_refused_with_the_smallest():
    with pytest.raises(InvalidParams, match=r"smallest is 19,268 B \(18\.8 KiB\)"):
        best_of(ROWS, sample.MODEL, "1 kB")
