"""The budget explorer's figure as an SVG file, read by what reads any XML."""

import re
from xml.etree import ElementTree

import pytest

from benchmarks.dashboard import bare
from tests.e2e.test_explorer import HOSTILE

pytestmark = [
    pytest.mark.e2e,
    # Playwright's event loop is closed by its own driver
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

SVG = "{http://www.w3.org/2000/svg}"


def test_the_front_is_taken_away_as_lines_and_words(page):
    """An SVG that any reader takes: no script, no picture, names as text, every mark's place."""
    bare.load(page)
    model = bare.network([*HOSTILE, "bell\x07", "fc"])
    _, data = bare.measured(model, ["portfolio", "greedy"], 40)
    page.evaluate("show", data)
    page.locator(".card strong").first.wait_for()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save as SVG").click()
    assert waiting.value.suggested_filename == "bitdial-explorer.svg"
    root = ElementTree.fromstring(waiting.value.path().read_text(encoding="utf-8"))
    names = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert names == {"svg", "g", "rect", "path", "text", "clipPath"}
    words = {element.text for element in root.iter(f"{SVG}text")}
    tags = page.evaluate("() => explorer.layers.map(layer => layer.tag)")
    assert set(tags) <= words
    assert any(word.startswith("bell") for word in words)
    # as high as its parts with their margins; each part lies below the one before
    heights = page.evaluate(
        "() => [explorer.heat, explorer.names, explorer.front].map(c => c.clientHeight)"
    )
    shifts = [
        float(re.search(r"translate\(16 ([\d.]+)\)", part.get("transform")).group(1))
        for part in root.findall(f"{SVG}g")
    ]
    assert shifts[:3] == [16, 32 + heights[0], 48 + sum(heights[:2])]
    assert float(root.get("height")) >= shifts[2] + heights[2]
    for element in root.iter():
        for key in ("fill", "stroke"):
            assert re.fullmatch(r"none|#[0-9a-f]{6}", element.get(key, "none"))
    assert page.evaluate("() => window.hacked") is None
