"""Numbers of samples are laid out to be drawn, and never changed by it."""

import numpy as np
import pytest

from qcore.pictures.layout import MOST_PLANES, curves, form_of, laid_out, planes

SHAPES = {
    (): ("curves", (1, 1)),
    (1,): ("curves", (1, 1)),
    (12,): ("curves", (1, 12)),
    (5000,): ("curves", (1, 1024)),
    (2, 20): ("curves", (2, 20)),
    (20, 2): ("curves", (2, 20)),
    (1, 49, 10): ("planes", (1, 49, 10)),
    (3, 8, 9): ("planes", (3, 8, 9)),
    (8, 9, 3): ("planes", (3, 8, 9)),
    (1, 1, 300, 400): ("planes", (1, 128, 128)),
    (40, 30, 20): ("planes", (MOST_PLANES, 30, 20)),
    (2, 3, 10, 11): ("planes", (6, 10, 11)),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_has_a_form(shape):
    form, laid = SHAPES[shape]
    values = np.arange(4 * int(np.prod(shape, dtype=int)), dtype=np.float32).reshape(4, *shape)
    assert form_of(shape) == form
    found = laid_out(values, form)
    assert found.shape == (4, *laid)
    # what is shown are numbers of the same sample, each at most once, the first and last with them
    for row in range(4):
        shown = found[row].reshape(-1)
        assert len(np.unique(shown)) == shown.size
        assert np.isin(shown, values[row]).all()
        assert shown.min() == values[row].min()


def test_a_rows_places_keep_their_order():
    row = np.arange(6.0).reshape(2, 3)
    assert planes(row).tolist() == [[[[0, 1, 2]]], [[[3, 4, 5]]]]
    assert curves(row).tolist() == [[[0, 1, 2]], [[3, 4, 5]]]
    turned = np.arange(6.0).reshape(1, 3, 2)
    assert curves(turned).tolist() == [[[0, 2, 4], [1, 3, 5]]]
    picture = np.arange(90.0).reshape(1, 6, 5, 3)
    assert np.array_equal(planes(picture)[0, 2], picture[0, :, :, 2])
