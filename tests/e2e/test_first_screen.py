"""What is seen of Explore without scrolling: dials, front and bits side by side, and files."""

import re

import pytest

from tests.e2e.test_explorer import open_explorer

pytestmark = [
    pytest.mark.e2e,
    # Playwright's event loop is closed by its own driver
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

WIDE = [(1440, 900), (1920, 1080)]


def test_dials_front_bits_and_the_picks_files_are_seen_at_once(server, page):
    page.set_viewport_size({"width": WIDE[0][0], "height": WIDE[0][1]})
    open_explorer(page, f"{server.url}/?focus=Uniform%20bits")
    page.get_by_role("button", name="Dismiss").click()
    seen_at_once(page, WIDE[0])
    for size in WIDE[1:]:
        before = page.locator("canvas.front").bounding_box()["width"]
        page.set_viewport_size({"width": size[0], "height": size[1]})
        page.wait_for_function(WIDER, arg=before)
        seen_at_once(page, size)


WIDER = """before => [...document.querySelectorAll('*')].map(e => e.shadowRoot).filter(Boolean)
    .some(root => root.querySelector('canvas.front')?.clientWidth > before)"""


def seen_at_once(page, size):
    files = [page.get_by_role("button", name=name).first for name in ("Configuration", "ONNX")]
    parts = [page.locator(css) for css in (".controls", "canvas.front", ".rows")]
    for part in (*parts, *files):
        part.wait_for()
    front, rows = (part.bounding_box() for part in parts[1:])
    # side by side, so that both are seen while either is dragged
    assert front["x"] + front["width"] <= rows["x"]
    assert abs(front["y"] - rows["y"]) < 60
    for part in (*parts, *files):
        box = part.bounding_box()
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= size[1], part
        assert box["x"] + box["width"] <= size[0]


def test_a_phone_has_one_column_with_the_front_first(server, page):
    page.set_viewport_size({"width": 390, "height": 844})
    open_explorer(page, server.url)
    front, rows = (page.locator(css).bounding_box() for css in ("canvas.front", ".rows"))
    assert front["y"] + front["height"] <= rows["y"]
    assert max(front["x"] + front["width"], rows["x"] + rows["width"]) <= 390
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 390


def test_all_is_reached_by_the_keyboard_alone_and_a_gap_opens_a_search_of_it(server, page):
    open_explorer(page, server.url)
    inside = "document.activeElement?.shadowRoot?.activeElement ?? document.activeElement"
    seen = set()
    for _ in range(80):
        page.keyboard.press("Tab")
        seen.add(page.evaluate(f"({inside})?.className?.toString() ?? ''"))
        seen.add(page.evaluate(f"({inside})?.ariaLabel ?? ''"))
        if {"front", "rows"} <= seen and "Accuracy that may be lost against the float" in str(seen):
            break
    assert {"front", "rows", "card"} & seen >= {"front", "rows"}
    assert any("Weights at most" in each for each in seen)
    a_gap_of_the_front_opens_a_search_of_it(page)


def a_gap_of_the_front_opens_a_search_of_it(page):
    gap = page.get_by_role("button", name="Search there")
    gap.click()
    page.get_by_text("New search").wait_for()
    page.wait_for_url(re.compile("/searches"))
    limit = page.get_by_role("textbox", name=re.compile("Weights at most"))
    limit.wait_for()
    # one seed, as the pick's run had
    assert page.get_by_role("textbox", name="Seeds").input_value() == "0"


def test_a_loss_that_is_no_longer_asked_for_leaves_the_address_and_the_pick(server, page):
    open_explorer(page, f"{server.url}/?lw=false")
    pick = page.get_by_text(" bits a weight").first
    before = pick.text_content()
    box = page.get_by_role("checkbox", name="Lose at most").first
    box.check()
    page.wait_for_url(re.compile("ll=true"))
    page.get_by_text("is shown to lose at most").wait_for()
    box.uncheck()
    page.wait_for_url(lambda url: "ll=" not in url)
    page.get_by_text("is shown to lose at most").wait_for(state="hidden")
    pick.wait_for()
    assert pick.text_content() == before
