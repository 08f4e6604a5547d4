"""The budget explorer in a real browser: dragging, keys, touch, links, and names."""

import re
import statistics

import pandas as pd
import pytest

from benchmarks.dashboard import bare
from pages.shared import frames
from pages.shared.columns import SEARCH_LOSS, TEST_LOSS, column_of
from pages.shared.text import significant
from qcore.costs import COSTS
from tests.e2e.conftest import FORGET

pytestmark = [
    pytest.mark.e2e,
    # Playwright's event loop is closed by its own driver
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

SECONDS = 1000.0
MOST_MS = 3 * 4.0
"""Three times the limit that `benchmarks.dashboard.ui` holds a redraw to: others run beside."""

CARDS_CHANGED = (
    "before => [...document.querySelectorAll('*')].map(e => e.shadowRoot).filter(Boolean)"
    ".some(r => r.querySelectorAll('.card').length"
    " && [...r.querySelectorAll('.card')].map(c => c.textContent).join() !== before)"
)

PLACE_OF_A_POINT = """canvas => {
    const { x: left, y: top, width } = canvas.getBoundingClientRect();
    const tip = canvas.getRootNode().querySelector('.tip');
    for (let x = 70; x < width - 20; x += 9) {
        for (let y = 20; y < 330; y += 9) {
            const place = { clientX: left + x, clientY: top + y, bubbles: true };
            canvas.dispatchEvent(new PointerEvent('pointermove', place));
            if (tip.textContent.includes('n=1,000')) return [x, y];
        }
    }
}"""

HOSTILE = (
    '<img src=x onerror="window.hacked=1">',
    "</script><script>window.hacked=1</script>",
    "\u202eevil\u202c layer",
    "n" * 500,
    "🦀🧮",
    "${window.hacked=1}",
)


def idle(page):
    """Wait until the server is idle."""
    from playwright.sync_api import expect

    app = page.get_by_test_id("stApp")
    expect(app).to_have_attribute("data-test-script-state", "notRunning", timeout=60 * SECONDS)


def open_explorer(page, url):
    """Open Explore and wait until it has drawn, and until the server is idle."""
    page.goto(url)
    page.locator(".card strong").first.wait_for(timeout=60 * SECONDS)
    idle(page)


def cards(page):
    return page.locator(".card").all_text_contents()


def weights(page):
    return page.get_by_role("slider", name="Weights at most, KiB")


def test_dragging_sends_nothing_and_letting_go_sends_one_message(server, page):
    from playwright.sync_api import expect

    sent = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda _: sent.append(1)))
    open_explorer(page, f"{server.url}/?bw=30")
    front, summary = page.locator("canvas.front"), page.get_by_test_id("summary")

    # the budget line in the front
    front.scroll_into_view_if_needed()
    box = front.bounding_box()
    y = box["y"] + 120
    for x in range(60, int(box["width"]), 6):
        page.mouse.move(box["x"] + x, y)
        if front.evaluate("canvas => canvas.style.cursor") == "ew-resize":
            break
    before, told, count = cards(page), summary.text_content(), len(sent)
    page.mouse.down()
    for step in range(1, 31):
        page.mouse.move(box["x"] + x - step * (x - 60) / 100, y)
    page.wait_for_function(CARDS_CHANGED, arg=",".join(before))
    # two bits everywhere still fit, so that there is something to take away
    assert 19 < float(weights(page).input_value()) < 25
    assert len(sent) == count
    assert "bw=30" in page.url
    assert summary.text_content() == told
    page.mouse.up()
    page.wait_for_url(re.compile(r"bw=(?!30)"), timeout=60 * SECONDS)
    expect(summary).not_to_have_text(told, timeout=60 * SECONDS)
    page.get_by_text("Take it away").wait_for()
    idle(page)
    assert len(sent) == count + 1
    # letting go is no click on a point
    assert "pt=" not in page.url

    # the slider
    before, count, url = cards(page), len(sent), page.url
    box = weights(page).bounding_box()
    y, start = box["y"] + box["height"] / 2, box["x"] + 0.35 * box["width"]
    page.mouse.move(start, y)
    page.mouse.down()
    for step in range(30):
        page.mouse.move(start + step * box["width"] / 60, y)
    page.wait_for_function(CARDS_CHANGED, arg=",".join(before))
    assert len(sent) == count
    assert page.url == url
    page.mouse.up()
    page.wait_for_url(lambda now: now != url, timeout=60 * SECONDS)
    page.get_by_text("Take it away").wait_for()
    idle(page)
    assert len(sent) == count + 1


def test_keys_move_the_budget_and_a_link_restores_it_elsewhere(server, page):
    from playwright.sync_api import expect

    open_explorer(page, f"{server.url}/?bw=30")
    slider = weights(page)
    slider.focus()
    slider.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuetext", "30.1 KiB")
    slider.press("PageUp")
    # at once, not with the next frame: the next key must find it there
    assert float(slider.input_value()) > 35
    slider.press("Home")
    expect(page.get_by_role("status").first).to_contain_text("Nothing measured fits")
    slider.press("End")
    slider.press("[")
    slider.press("f")
    # one message after the last key, not one for each
    page.wait_for_url(re.compile("focus="), timeout=60 * SECONDS)
    value, pressed = slider.input_value(), page.locator('.card[aria-pressed="true"] b')
    shown, name = cards(page), pressed.text_content()
    assert f"bw={float(value):.1f}" in page.url
    expect(page.get_by_test_id("stApp")).to_have_attribute(
        "data-test-script-state", "notRunning", timeout=60 * SECONDS
    )
    expect(slider).to_be_focused()
    # a session that knows nothing but the link
    link = page.url
    page.evaluate(FORGET)
    page.goto("about:blank")
    open_explorer(page, link)
    expect(weights(page)).to_have_value(value)
    expect(page.locator('.card[aria-pressed="true"] b')).to_have_text(name)
    assert cards(page) == shown


@pytest.mark.parametrize("width", [1400, 420])
def test_budgets_stay_in_sight_while_the_front_is_looked_at(server, page, width):
    page.set_viewport_size({"width": width, "height": 900})
    open_explorer(page, f"{server.url}/?bw=30")
    front, slider = page.locator("canvas.front"), weights(page)
    away = front.bounding_box()["y"] - 190
    page.get_by_test_id("stMain").evaluate("(main, by) => { main.scrollTop += by }", away)
    page.wait_for_function(
        "main => main.scrollTop > 60", arg=page.get_by_test_id("stMain").element_handle()
    )
    seen = front.bounding_box()
    assert 0 < seen["y"] < 400
    box = slider.bounding_box()
    # nothing lies over it: a drag there moves it, and the front with it
    before = front.evaluate("canvas => canvas.toDataURL()")
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 0.5 * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.2 * box["width"], y, steps=4)
    page.mouse.up()
    page.wait_for_url(re.compile(r"bw=(?!30)"), timeout=60 * SECONDS)
    assert front.evaluate("canvas => canvas.toDataURL()") != before


def test_a_clicked_point_is_explained_and_hints_stay_dismissed(server, page):
    from playwright.sync_api import expect

    open_explorer(page, f"{server.url}/?bw=30")
    page.get_by_role("button", name="Dismiss").click()
    # wherever it is drawn: the front's own table of places, read from outside
    front = page.locator("canvas.front")
    front.scroll_into_view_if_needed()
    box, (x, y) = front.bounding_box(), front.evaluate(PLACE_OF_A_POINT)
    page.mouse.move(box["x"] + x, box["y"] + y)
    expect(page.locator(".tip")).to_contain_text("n=1,000")
    page.mouse.click(box["x"] + x, box["y"] + y)
    page.wait_for_url(re.compile("pt=[0-9]+%3A[0-9]+"), timeout=60 * SECONDS)
    page.get_by_text("the point you clicked").wait_for()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save as PNG").click()
    assert waiting.value.path().read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    page.reload()
    page.locator(".card strong").first.wait_for(timeout=60 * SECONDS)
    page.get_by_text("the point you clicked").wait_for()
    expect(page.get_by_role("button", name="Dismiss")).to_have_count(0)


def test_a_finger_moves_a_budget_and_predictions_are_exact_on_release(server, browser):
    context = browser.new_context(viewport={"width": 420, "height": 900}, has_touch=True)
    page = context.new_page()
    try:
        open_explorer(page, f"{server.url}/?src=predicted")
        slider = weights(page)
        slider.scroll_into_view_if_needed()
        box = slider.bounding_box()
        page.touchscreen.tap(box["x"] + 0.3 * box["width"], box["y"] + box["height"] / 2)
        page.wait_for_url(re.compile("bw="), timeout=60 * SECONDS)
        page.get_by_text(re.compile("predicted, exact")).wait_for(timeout=60 * SECONDS)
        assert "%" not in page.locator(".card strong").first.text_content()
    finally:
        context.close()


def test_a_redraw_is_quick(page):
    bare.load(page)
    model = bare.network([f"layer{at // 10}.{at}" for at in range(60)])
    _, data = bare.measured(model, ["portfolio", "random", "cmaes", "greedy"], 2000)
    page.evaluate("show", data)
    times = page.evaluate(
        """async () => {
            const { b } = explorer.sliders.weight_bytes, times = [];
            for (let at = 0; at < 60; at++) {
                explorer.view.values[b.id] = b.lo + (b.hi - b.lo) * at / 60;
                const from = performance.now();
                explorer.draw();
                times.push(performance.now() - from);
                if (at % 10 === 0) await new Promise(requestAnimationFrame);
            }
            return times;
        }"""
    )
    # the least disturbed of five batches: other processes take the cores meanwhile
    batches = [times[at : at + 12] for at in range(0, 60, 12)]
    assert min(map(statistics.median, batches)) <= MOST_MS


def test_cells_too_narrow_for_words_have_the_colours_of_their_bits(page):
    """Drawn as one picture a row, as a thousand layers would take long one by one."""
    bare.load(page)
    model = bare.network([f"layer{at}" for at in range(70)])
    _, data = bare.measured(model, ["portfolio", "greedy"], 20)
    page.evaluate("show", data)
    page.evaluate("for (const id in explorer.view.on) explorer.view.on[id] = false")
    page.evaluate("explorer.draw()")
    wrong, seen = page.evaluate("""() => {
        const { heat, drawing: { heatMap: { wide, tall } }, order, methods, data } = explorer;
        const of = (canvas) => canvas.getContext("2d");
        const one = of(document.createElement("canvas"));
        const rgb = (colour) => {
            Object.assign(one, { fillStyle: colour }).fillRect(0, 0, 1, 1);
            return [...one.getImageData(0, 0, 1, 1).data].join();
        };
        const [wrong, seen] = [[], new Set()];
        const ratio = heat.width / heat.clientWidth;
        order.forEach((at, slot) => {
            const { w, a } = explorer.shown(at);
            // away from the frame around the row in focus
            for (let layer = 2; layer < w.length - 2; layer++) {
                for (const [bits, down] of [[w, 12], [a, 36]]) {
                    const place = [(layer + 0.5) * wide, slot * tall + down].map((v) => v * ratio);
                    const drawn = [...of(heat).getImageData(...place, 1, 1).data].join();
                    if (drawn !== rgb(data.cmap[bits[layer]])) wrong.push([layer, bits[layer]]);
                    seen.add(drawn);
                }
            }
        });
        return [wrong, seen.size];
    }""")
    assert seen > 3
    assert wrong == []


def test_hostile_names_are_shown_as_they_are(page):
    bare.load(page)
    model = bare.network([*HOSTILE, "fc"])
    _, data = bare.measured(model, ["portfolio", "<b onclick=alert(1)>x</b>"], 40)
    page.evaluate("show", data)
    page.locator(".card strong").first.wait_for()
    box = page.locator("canvas.heat").bounding_box()
    step = box["width"] / 7
    for at, name in enumerate(HOSTILE):
        page.mouse.move(box["x"] + 2 + (at + 0.4) * step, box["y"] + 14)
        tip = page.locator(".tip").text_content()
        visible = re.sub("[\u202a-\u202e]", " ", name)
        assert visible[:100] in tip
        assert len(tip) < 500
    assert page.evaluate("window.hacked") is None
    inside = (
        "document.querySelector('#host').shadowRoot.querySelectorAll('img, script, b b').length"
    )
    assert page.evaluate(inside) == 0
    assert "<b onclick=alert(1)>x</b>" in page.locator(".card b").all_text_contents()


def test_a_screen_reader_is_told_every_pick_when_the_budget_rests(page):
    from playwright.sync_api import expect

    bare.load(page)
    model = bare.network([f"layer{at}.conv" for at in range(6)])
    frame, data = bare.measured(model, ["portfolio", "random"], 300)
    page.evaluate("show", data)
    slider, summary = page.get_by_role("slider").first, page.get_by_test_id("summary")
    before = summary.text_content()
    slider.press("[")
    expect(summary).not_to_have_text(before)
    span = data["budgets"][0]
    picks = frames.picks(frame, {"weight_bytes": float(slider.input_value()) * span["factor"]})
    column = column_of(COSTS["weight_bytes"])
    assert len(picks) >= 1
    assert summary.text_content().count("nothing fits") == 2 - len(picks)
    for row in picks.to_dict("records"):
        cost = significant(row[column] / span["factor"])
        lost = row[TEST_LOSS] if pd.notna(row[TEST_LOSS]) else row[SEARCH_LOSS]
        words = f"{re.escape(row['method'])}: {lost:.2f} ±[0-9.]+, {cost} {span['unit']}"
        expect(summary).to_contain_text(re.compile(words))
    assert summary.get_attribute("aria-live") == "polite"


def test_new_points_keep_what_the_reader_has_set(page):
    bare.load(page)
    model = bare.network(["a", "b"])
    _, data = bare.measured(model, ["portfolio", "random"], 20)
    page.evaluate("show", data)
    page.evaluate("explorer.set('weight_bytes', 3)")
    second = page.locator(".card b").nth(1).text_content()
    page.locator(".card").nth(1).click()
    value, told = page.evaluate("() => [explorer.view.values.weight_bytes, told]")
    assert [name for name, _ in told] == ["commit"]
    assert told[0][1]["focus"] == second
    _, more = bare.measured(model, ["portfolio", "random"], 60, seed=2)
    page.evaluate("show", more)
    after = "() => [explorer.view.values.weight_bytes, explorer.view.focus, told.length]"
    assert page.evaluate(after) == [value, second, 1]
    # nothing is blank until the next frame: whoever reads or types meanwhile finds it as it was
    drawn_at_once = (
        "data => { show(data); const of = (name) => explorer.box.querySelector(name);"
        " return [+of('input[type=range]').value, of('.card strong').textContent !== '']; }"
    )
    assert page.evaluate(drawn_at_once, more) == [value, True]
    # another model starts where its own link says
    page.evaluate("show", {**more, "id": "another"})
    assert page.evaluate(after)[0] == more["budgets"][0]["value"]


def test_the_loss_is_a_line_that_is_dragged(page):
    from playwright.sync_api import expect

    bare.load(page)
    model = bare.network([f"layer{at}" for at in range(8)])
    _, data = bare.measured(model, ["portfolio", "random"], 600)
    page.evaluate("show", data)
    dial = page.get_by_role("slider", name="Accuracy that may be lost")
    page.get_by_role("checkbox", name="Lose at most").first.check()
    # a loss in points has its line on the axis of losses
    assert page.evaluate("explorer.view.y") == "loss"
    box = page.locator("canvas.front").bounding_box()
    level = page.evaluate("explorer.drawing.place.y.at(explorer.view.values.points)")
    page.mouse.move(box["x"] + 120, box["y"] + level)
    assert page.locator("canvas.front").evaluate("c => c.style.cursor") == "ns-resize"
    page.mouse.down()
    page.mouse.move(box["x"] + 120, box["y"] + level - 60, steps=5)
    page.mouse.up()
    assert float(dial.input_value()) > 0.5
    (name, told), *_ = page.evaluate("told.slice(-1)")
    assert name == "commit"
    assert told["on"]["points"] is True
    assert told["values"]["points"] == float(dial.input_value())
    page.evaluate("explorer.set('points', 5)")
    page.evaluate("explorer.draw()")
    expect(page.locator(".ties")).to_contain_text("Smallest first")
