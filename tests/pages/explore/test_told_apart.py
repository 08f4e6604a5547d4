"""What the browser is told of pairs of points, and which stretches of a front are gaps."""

import base64

import numpy as np
import pandas as pd

from pages.explore.payload import told_apart
from pages.explore.payload.gaps import gaps


def test_pairs_count_the_images_that_tell_two_points_apart():
    rng = np.random.default_rng(0)
    answers = {number: rng.random(300) < 0.8 for number in (4, 7, 9)}
    answers[11] = rng.random(100) < 0.5
    rows = pd.DataFrame({"config_point": [9, 4, -1, 7, 9, 11], "selectable": True})
    numbers = told_apart.paired_points(rows, answers)
    # 11 was tested on other images
    assert numbers == [9, 4, 7]
    sent = told_apart.pairs(numbers, answers)
    only = np.frombuffer(base64.b64decode(sent["only"]["u4"]), "<u4").reshape(3, 3)
    for i, a in enumerate(numbers):
        for j, b in enumerate(numbers):
            assert only[i, j] == (answers[a] & ~answers[b]).sum()
    assert told_apart.pairs([], {})["count"] == 0


def test_gaps_are_the_wide_stretches_without_a_member():
    costs = [100.0, 108.0, 250.0, 105.0, 260.0, 0.0]
    assert gaps(costs) == [(108.0, 250.0)]
    assert gaps([]) == gaps([5.0]) == []
