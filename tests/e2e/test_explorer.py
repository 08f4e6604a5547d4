"""The budget explorer in a real browser: dragging, keys, touch, links, and its arithmetic."""

import itertools
import random
import re
import statistics
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from benchmarks.dashboard import bare
from pages.explore.payload import told_apart
from pages.shared import frames, promised
from pages.shared.columns import SEARCH_LOSS, TEST_LOSS, column_of
from pages.shared.text import significant
from qcore.allocation import BitAllocation, LayerBits
from qcore.costs import COSTS, costs_of
from qcore.graded import t_test
from qcore.paired import compare, mcnemar, tied_with_best

pytestmark = [
    pytest.mark.e2e,
    # Playwright's event loop is closed by its own driver
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

SECONDS = 1000.0
SVG = "{http://www.w3.org/2000/svg}"
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


def test_keys_move_the_budget_and_a_link_restores_it_elsewhere(server, page, browser):
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
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    other = context.new_page()
    try:
        open_explorer(other, page.url)
        expect(weights(other)).to_have_value(value)
        expect(other.locator('.card[aria-pressed="true"] b')).to_have_text(name)
        assert cards(other) == shown
    finally:
        context.close()


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


def test_the_browser_picks_what_python_picks(page):
    bare.load(page)
    model = bare.network([f"layer{at // 4}.{at}" for at in range(12)])
    frame, data = bare.measured(model, ["portfolio", "random", "cmaes"], 600)
    page.evaluate("data => { window.methods = data.methods.map(code.decode) }", data)
    rng = random.Random(1)
    columns = {name: frame[column_of(COSTS[name])] for name in ("weight_bytes", "bit_ops")}
    asked, wanted = [], []
    for trial in range(80):
        names = [("weight_bytes",), ("bit_ops",), ("weight_bytes", "bit_ops"), ()][trial % 4]
        limits = {}
        for name in names:
            # half of them hit a point's own cost exactly
            low, high = 0.95 * columns[name].min(), columns[name].max()
            exact = rng.random() < 0.5
            limits[name] = float(
                rng.choice(columns[name].tolist()) if exact else rng.uniform(low, high)
            )
        asked.append([[name, limit] for name, limit in limits.items()])
        chosen = frames.picks(frame, limits)
        wanted.append(dict(zip(chosen["method"], chosen["point"], strict=True)))
    found = page.evaluate(
        "all => all.map(limits => Object.fromEntries(methods.map(m => [m.label,"
        " code.pick(m, limits)]).filter(([, at]) => at >= 0)"
        ".map(([label, at]) => [label, methods.find(m => m.label === label).ids[at]])))",
        asked,
    )
    assert found == wanted
    assert any(not chosen for chosen in wanted) or len({str(chosen) for chosen in wanted}) > 20


@pytest.mark.parametrize("limited", [("weight_bytes",), ("bit_ops",), ("weight_bytes", "bit_ops")])
def test_the_browser_solves_the_additive_problem_within_the_gap_it_states(page, limited):
    bare.load(page)
    model = bare.network(["a", "b.c", "d"], seed=3)
    table = bare.table_of(model)
    data = bare.predicted(model, table)
    options = [LayerBits(w, a) for w in (2, 3, 4, 8) for a in (2, 3, 4, 8)]
    every = []
    for bits in itertools.product(options, repeat=3):
        allocation = BitAllocation(dict(zip(model.names, bits, strict=True)))
        damage = sum(table.score(name, each) for name, each in allocation.items())
        every.append((costs_of(model, allocation), damage))
    rng = random.Random(5)
    for _ in range(8):
        spread = {name: sorted(costs[name] for costs, _ in every) for name in limited}
        limits = {
            name: float(rng.choice(values[: len(values) // 2])) for name, values in spread.items()
        }
        fitting = [
            damage for costs, damage in every if all(costs[n] <= v for n, v in limits.items())
        ]
        found = page.evaluate(
            "([data, limits]) => { const s = code.solve(code.decode(data.proxy), limits);"
            " return s && [s.score, s.gap, s.cost] }",
            [data, list(limits.items())],
        )
        if found is None:
            # two tight limits may be met by too few to be found; one never is
            assert not fitting or len(limited) == 2
            continue
        score, gap, costs = found
        assert all(costs[name] <= limit * (1 + 1e-9) for name, limit in limits.items())
        assert min(fitting) - 1e-9 <= score
        assert score - gap <= min(fitting) + 1e-9


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


def test_the_browser_ties_and_promises_what_python_does(page):
    bare.load(page)
    rng = np.random.default_rng(4)
    asked = [(int(a), int(b)) for a, b in rng.integers(0, 400, (40, 2))] + [(0, 0), (0, 9)]
    found = page.evaluate("all => all.map(([a, b]) => code.mcnemar(a, b))", asked)
    assert found == pytest.approx([mcnemar(a, b) for a, b in asked], rel=1e-6, abs=1e-12)
    for methods in (2, 5, 9):
        answers = rng.random((methods, 2000)) < rng.choice([0.9, 0.91, 0.86], (methods, 1))
        losses = (-100 * answers.mean(axis=1)).tolist()
        best = int(np.argmin(losses))
        values = [compare(answers[best], other).p_value for other in answers]
        only = (answers.astype(int) @ (1 - answers.astype(int)).T).ravel().tolist()
        told = page.evaluate(
            "([losses, only, count]) => code.tied("
            "losses.map((loss, pair) => ({ y: { loss }, pair })), { count, only })",
            [losses, only, methods],
        )
        assert told == tied_with_best(losses, values)
    model = bare.network([f"layer{at}" for at in range(8)])
    frame, data = bare.measured(model, ["portfolio", "random", "cmaes"], 900)
    page.evaluate("data => { window.methods = data.methods.map(code.decode) }", data)
    for within in (4.0, 5.0, 6.0, 8.0):
        for limits in ({}, {"bit_ops": float(frame[column_of(COSTS["bit_ops"])].median())}):
            told = page.evaluate(
                "([value, limits]) => Object.fromEntries(methods.map(m => [m.label, m.ids["
                "code.smallest(m, { unit: 'points', value }, 'weight_bytes', limits)[0]]])"
                ".filter(([, id]) => id !== undefined))",
                [within, list(limits.items())],
            )
            wanted = promised.smallest(frame, within, "weight_bytes", limits)
            assert told == dict(zip(wanted["method"], wanted["point"], strict=True))


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


def test_the_browser_tells_numbers_apart_as_python_does(page):
    bare.load(page)
    rng = np.random.default_rng(5)
    drawn = zip(rng.normal(0, 3, 30), rng.integers(1, 900, 30), strict=True)
    asked = [(float(t), int(n)) for t, n in drawn] + [(0.0, 9), (0.5, 1), (40.0, 3), (4.0, 99999)]
    found = page.evaluate("all => all.map(([t, n]) => code.tTest(t, n))", asked)
    assert found == pytest.approx([t_test(t, n) for t, n in asked], rel=1e-8, abs=1e-14)
    for methods in (2, 5, 9):
        shared = rng.normal(30, 3, 500)
        rows = [
            shared - 0.05 * rng.integers(0, 3) - rng.normal(0, 0.3, 500) for _ in range(methods)
        ]
        answers = {at: each.astype(np.float32) for at, each in enumerate(rows)}
        losses = [float(-each.astype(float).mean()) for each in answers.values()]
        best = int(np.argmin(losses))
        values = [compare(answers[best], other, 1.0).p_value for other in answers.values()]
        told = page.evaluate(
            "([losses, pairs]) => code.tied("
            "losses.map((loss, pair) => ({ y: { loss }, pair })), code.decode(pairs))",
            [losses, told_apart.pairs(list(answers), answers)],
        )
        assert told == tied_with_best(losses, values)
    # where nothing is known of losses nobody is best
    nobody = page.evaluate(
        "pairs => code.tied("
        "[0, 1].map((pair) => ({ y: { loss: NaN }, pair })), code.decode(pairs))",
        told_apart.pairs(list(answers), answers),
    )
    assert nobody == [False, False]
