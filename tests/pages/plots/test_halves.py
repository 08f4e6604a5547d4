"""Floats of 16 bits in pictures: as high as 16 bits, under their own names and colours."""

import numpy as np
import pandas as pd
import pytest

from pages.downloads import report_figures
from pages.plots.area import area_figure
from pages.plots.difference import WEIGHT_DELTA, diff_figure, diff_frame
from pages.plots.heatmap import bit_heatmap
from pages.plots.sensitivity import curves_figure, price_frame, sensitivity_frame
from pages.plots.style import BIT_COLOURS, USUAL_WIDTHS, digit_colour, shown_colours
from pages.shared.frames import bits_frame, layers_frame
from pages.shared.points_table import ACTIVATION_BITS, WEIGHT_BITS, allocation_facts, facts_of_all
from qcore.allocation import (
    BFLOAT16,
    BIT_WIDTHS,
    FLOAT16,
    FLOAT_BITS,
    BitAllocation,
    LayerBits,
    stored_bits,
    width_text,
)
from qcore.problem import SensitivityTable
from tests.pages import sample

MODEL = sample.MODEL
NAMES = MODEL.names
MIXED = BitAllocation(
    {
        **BitAllocation.uniform(MODEL.layers, 8, 8),
        NAMES[0]: LayerBits(FLOAT16, FLOAT16),
        NAMES[1]: LayerBits(BFLOAT16, 16),
        NAMES[2]: LayerBits(12, BFLOAT16),
    }
)


def test_every_width_has_a_colour_of_its_own_and_legends_list_what_is_used():
    assert list(BIT_COLOURS) == list(BIT_WIDTHS)
    assert len(set(BIT_COLOURS.values())) == len(BIT_WIDTHS)
    assert tuple(shown_colours(())) == USUAL_WIDTHS
    assert list(shown_colours([FLOAT16, 8])) == [*range(1, 9), FLOAT16, FLOAT_BITS]
    assert {digit_colour(width) for width in BIT_WIDTHS if width > 8} == {"#000000"}


@pytest.mark.parametrize("cost", ["weight_bytes", "bit_ops", "activation_bytes_sum"])
def test_blocks_are_as_high_as_the_bits_that_are_stored(cost):
    figure = area_figure(MODEL, MIXED, cost)
    heights = {
        "weight_bytes": lambda b: stored_bits(b.weight),
        "bit_ops": lambda b: stored_bits(b.weight) * stored_bits(b.activation),
        "activation_bytes_sum": lambda b: stored_bits(b.activation),
    }[cost]
    drawn = sorted(height for bar in figure.data for height in bar.y)
    assert drawn == sorted(heights(bits) for bits in MIXED.values())
    assert {"fp16", "8 bits"} <= {bar.name for bar in figure.data}


def test_mean_bits_count_sixteen_for_both_floats_of_sixteen():
    half = BitAllocation.uniform(MODEL.layers, FLOAT16, BFLOAT16)
    for facts in (allocation_facts(half, MODEL), facts_of_all([half, MIXED], MODEL)):
        assert np.ravel(facts[WEIGHT_BITS])[0] == 16
        assert np.ravel(facts[ACTIVATION_BITS])[0] == 16
    assert layers_frame(MIXED, MODEL)["Weight bits"].tolist()[:3] == ["fp16", "bf16", "12"]


def test_the_heatmap_and_the_report_write_names_and_no_codes():
    frame = bits_frame(pd.DataFrame({"method": ["this"], "allocation": [MIXED]}), MODEL)
    figure = bit_heatmap(frame)
    texts = {text for trace in figure.data for text in np.ravel(trace.text).tolist()}
    assert {"fp16", "bf16", "12"} <= texts
    assert not texts & {str(FLOAT16), str(BFLOAT16)}
    ticks = figure.layout.coloraxis.colorbar.ticktext
    assert list(ticks) == [*map(str, range(1, 9)), "12", "16", "bf16", "fp16", "float"]
    told = report_figures.bits_picture(MODEL, [("this", MIXED)])
    told += report_figures.area_picture(MODEL, MIXED)
    assert "fp16" in told
    assert f">{FLOAT16}<" not in told


def test_a_change_between_widths_that_take_as_much_is_a_change_of_no_bits():
    before = MIXED.replace(NAMES[0], LayerBits(16, FLOAT16))
    frame = diff_frame(MODEL, before, MIXED)
    row = frame.iloc[0]
    assert row["changed"]
    assert row["Weight bits"] == f"16 \u2192 {width_text(FLOAT16)}"
    assert row[WEIGHT_DELTA] == 0
    assert "\u00b10" in {text for trace in diff_figure(frame).data[1:] for text in trace.text}


def test_the_next_fewer_bits_of_fp16_are_those_that_save_something():
    scores = {8: 0.4, 16: 0.02, BFLOAT16: 0.03, FLOAT16: 0.01}
    table = SensitivityTable("kl", "nats", dict.fromkeys(NAMES, scores))
    even = BitAllocation.uniform(MODEL.layers, FLOAT16)
    frame = price_frame(table, MODEL, even)
    assert set(frame["fewer"]) == {8}
    floats = price_frame(table, MODEL, BitAllocation.uniform(MODEL.layers, FLOAT_BITS))
    # of the three that take 16 bits, the one that damages least
    assert set(floats["fewer"]) == {FLOAT16}
    figure = curves_figure(sensitivity_frame(table, MODEL, "weight"), "nats")
    assert sorted(figure.data[0].x) == [8, 16, 16, 16]
    assert set(figure.data[0].customdata) == {"8 bits", "16 bits", "bf16", "fp16"}
