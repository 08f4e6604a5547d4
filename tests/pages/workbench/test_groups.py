"""Weights with a scale per group in the Workbench: cells, links, the picture's data, mistakes."""

import pytest

from pages.plots.style import bit_colour, digit_colour, shown_colours
from pages.workbench.draft import (
    CHANGE,
    WEIGHT,
    allocation_of,
    bits_of_link,
    edited,
    editor_frame,
    link_text,
)
from pages.workbench.payload import bars_payload, filled, not_predicted, read_edit
from qcore.allocation import GROUPED_WIDTHS, BitAllocation, LayerBits, parse_width
from qcore.costs import COSTS
from tests.pages import sample
from tests.pages.workbench.test_draft import draft_of

MODEL = sample.MODEL
EIGHT = draft_of(BitAllocation.uniform(MODEL.layers, 8, 8))
G64 = parse_width("4g64")


def test_a_cell_takes_a_width_with_groups_and_shows_it_again():
    after = edited(EIGHT, {"edited_rows": {1: {WEIGHT: "4g64"}}})
    found = allocation_of(after, MODEL)
    assert found[MODEL.names[1]] == LayerBits(G64, 8)
    assert editor_frame(after, after, MODEL)[WEIGHT].iloc[1] == "4g64"
    assert editor_frame(after, after, MODEL)[CHANGE].iloc[1] == "8/8 to 4g64/8"


def test_inputs_have_no_groups_and_the_row_says_so():
    after = edited(EIGHT, {"edited_rows": {1: {"Activation bits": "4g64"}}})
    assert allocation_of(after, MODEL) is None
    assert "activation bits 4g64" in editor_frame(after, after, MODEL)[CHANGE].iloc[1]


@pytest.mark.parametrize("width", GROUPED_WIDTHS)
def test_a_link_holds_every_width_with_groups(width):
    bits = BitAllocation({**EIGHT.start.allocation, MODEL.names[2]: LayerBits(width, 4)})
    changed = edited(draft_of(bits), {"edited_rows": {0: {WEIGHT: "3"}}})
    assert bits_of_link(link_text(changed), MODEL) == allocation_of(changed, MODEL)


def test_the_picture_prices_draws_and_takes_back_widths_with_groups():
    bits = BitAllocation({**EIGHT.start.allocation, MODEL.names[0]: LayerBits(G64, 8)})
    data = bars_payload(MODEL, EIGHT, bits, not_predicted("no"), 0)
    at = data["widths"].index(G64)
    price = COSTS["weight_bytes"].layer_cost(MODEL.layers[0], LayerBits(G64))
    assert data["costs"]["weight"]["prices"][0][at] == price
    assert (data["names"][str(G64)], data["sizes"][str(G64)]) == ("4g64", 4)
    assert data["colours"][G64] == [bit_colour(4), digit_colour(4)]
    assert G64 not in data["inputs"]
    told = {"model": MODEL.digest, "number": 1, "locked": [False] * len(MODEL.layers)}
    told["weight"] = [bits[name].weight for name in MODEL.names]
    told["activation"] = [8] * len(MODEL.layers)
    assert read_edit(told, MODEL)[1][0] == (G64, 8, False)
    told["activation"] = [G64] * len(MODEL.layers)
    assert read_edit(told, MODEL) is None


def test_nothing_is_read_off_between_a_width_and_one_with_groups():
    scores = {2: 1.0, 4: 0.25, 8: 0.01, G64: 0.2}
    assert set(filled(scores)) == {2, 3, 4, 5, 6, 7, 8, G64}
    assert list(filled(scores)) == [2, 3, 4, G64, 5, 6, 7, 8]


def test_a_legend_lists_them_behind_their_bits():
    assert list(shown_colours([G64]))[3:5] == [4, G64]
