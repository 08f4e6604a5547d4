"""The table of roundings compares the same images at the same bits."""

import numpy as np
import pytest

from benchmarks.allocation import roundings_table as table


def cells():
    images = np.ones(1000, bool)
    lost = {"float": 50, "nearest": 150, "gptq": 90}
    found = []
    for rounding, wrong in lost.items():
        right = images.copy()
        right[:wrong] = False
        bits = "32" if rounding == "float" else "2"
        name = {"model": "m", "rounding": rounding, "bits": bits}
        result = {"right": right, "kl": 0.1, "mean_bits": 2.0, "correction": "sequential",
                  "prepare_cpu_seconds": 1.0}  # fmt: skip
        found.append({"name": name, "result": result})
    return found


def test_points_are_lost_against_float_and_gained_against_the_nearest_codes():
    nearest, gptq = table.summary(cells(), lambda result: result["right"])
    assert nearest["below_float"][0] == pytest.approx(10.0)
    assert gptq["below_float"][0] == pytest.approx(4.0)
    points, low, high = gptq["below_nearest"]
    assert points == pytest.approx(-6.0)
    assert low < -6 < high < 0


def test_what_was_not_measured_is_a_dash_and_the_table_is_written_between_its_marks():
    rows = table.summary(cells()[1:], lambda result: result["right"])
    assert rows[1]["below_float"] is None
    told = table.markdown(table.summary(cells(), lambda result: result["right"])[1:])
    assert "| m | 2 | 4.00 (+6.00, +" in told
    text = table.with_table(f"a\n{table.START}old{table.END}\nb\n", rows)
    assert table.with_table(text, rows) == text
    assert "old" not in text
    assert table.DOCUMENT.read_text().count(table.START) == 1
