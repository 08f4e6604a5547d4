"""The Workbench in a real browser: bits are typed into the table, costs follow, steps go back.

The table is drawn on a canvas: cells are reached by their place, as with a mouse; what they say is
read from the table that the grid keeps for screen readers.
"""

from dataclasses import replace

import pytest
from playwright.sync_api import expect

from pages.shared import text
from qcore.allocation import BitAllocation
from qcore.costs import COSTS
from tests.pages import sample

pytestmark = [
    pytest.mark.e2e,
    # Playwright's event loop is closed by its own driver
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

SECONDS = 1000.0
WEIGHT, ACTIVATION = 2, 3
"""Columns of the table, from 0."""
MIDDLE = {WEIGHT: 240, ACTIVATION: 355}
"""Where these columns are, in pixels from the table's left edge."""
HEAD, ROW = 35, 35
"""Height of the table's head and of a row, in pixels."""


def weights_text(changed):
    """The size the page shows for 8 bits everywhere but in the layers of `changed`."""
    bits = dict(sample.uniform(8))
    for place, width in changed.items():
        name = sample.MODEL.names[place]
        bits[name] = replace(bits[name], weight=width)
    return text.cost_text(
        COSTS["weight_bytes"], COSTS["weight_bytes"].total(sample.MODEL, BitAllocation(bits))
    )


@pytest.fixture
def bench(server, page):
    """The page of 8 bits in every layer, and its table."""
    page.goto(f"{server.url}/workbench?model=resnet8&bits=8.f")
    page.get_by_text("Table of all layers").click()
    table = page.get_by_test_id("stDataFrame").filter(has=page.get_by_text("Weight bits")).last
    table.get_by_test_id("glide-cell-2-0").wait_for(state="attached", timeout=60 * SECONDS)
    shows_weights(page, {})
    return table


def shows_weights(page, changed):
    """Wait until the page's size of the weights is that of these bits."""
    wanted = page.locator(".fact.bytes output").filter(has_text=weights_text(changed))
    wanted.wait_for(timeout=60 * SECONDS)


def enter(page, table, column, row, bits):
    """Double-click a cell, type a width, choose it of those that are offered."""
    place = {"x": MIDDLE[column], "y": HEAD + ROW * (row + 0.5)}
    table.locator(".dvn-scroller").dblclick(position=place)
    box = page.locator("#portal input")
    box.wait_for(timeout=60 * SECONDS)
    box.press_sequentially(bits)
    page.locator("#portal").get_by_role("option", name=bits, exact=True).click()
    box.wait_for(state="detached")


def cell(table, column, row):
    return table.get_by_test_id(f"glide-cell-{column}-{row}").text_content()


def test_bits_are_typed_costs_follow_at_once_and_undo_restores(bench, page):
    assert cell(bench, WEIGHT, 1) == "8"
    enter(page, bench, WEIGHT, 1, "2")
    shows_weights(page, {1: 2})
    enter(page, bench, WEIGHT, 3, "4")
    shows_weights(page, {1: 2, 3: 4})
    # what was typed is part of the link
    assert "bits=" in page.url
    page.get_by_role("button", name="Undo").click()
    shows_weights(page, {1: 2})
    page.get_by_role("button", name="Undo").click()
    shows_weights(page, {})
    # the table is painted a frame later than the page
    expect(bench.get_by_test_id(f"glide-cell-{WEIGHT}-1")).to_have_text("8")
    page.get_by_role("button", name="Redo").click()
    shows_weights(page, {1: 2})


def test_widths_there_are_not_cannot_be_entered_and_wider_ones_can(bench, page):
    place = {"x": MIDDLE[WEIGHT], "y": HEAD + ROW * 4.5}
    bench.locator(".dvn-scroller").dblclick(position=place)
    box = page.locator("#portal input")
    box.wait_for(timeout=60 * SECONDS)
    box.press_sequentially("9")
    options = page.locator("#portal").get_by_role("option")
    options.first.wait_for(timeout=60 * SECONDS)
    box.press_sequentially("9")
    options.first.wait_for(state="detached", timeout=60 * SECONDS)
    page.keyboard.press("Escape")
    shows_weights(page, {})
    assert cell(bench, WEIGHT, 4) == "8"
    enter(page, bench, WEIGHT, 4, "16")
    shows_weights(page, {4: 16})


def test_floats_of_16_bits_are_typed_and_told_by_their_names(bench, page):
    enter(page, bench, WEIGHT, 4, "fp16")
    shows_weights(page, {4: 16})
    assert cell(bench, WEIGHT, 4) == "fp16"
    assert cell(bench, ACTIVATION, 4) == "float"
    # the code of a width is none that could be typed
    place = {"x": MIDDLE[WEIGHT], "y": HEAD + ROW * 5.5}
    bench.locator(".dvn-scroller").dblclick(position=place)
    box = page.locator("#portal input")
    box.wait_for(timeout=60 * SECONDS)
    box.press_sequentially("1")
    options = page.locator("#portal").get_by_role("option")
    options.first.wait_for(timeout=60 * SECONDS)
    box.press_sequentially("7")
    options.first.wait_for(state="detached", timeout=60 * SECONDS)
