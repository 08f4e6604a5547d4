"""The picture of the bits in a real browser: bars, keys, locks, moves, and its arithmetic."""

import itertools
import math
import random
import re

import pytest

from pages.shared import text
from pages.workbench import payload
from pages.workbench.calibration import calibrate
from pages.workbench.component import markup, script, style
from pages.workbench.draft import Start, begin
from qcore.allocation import BIT_WIDTHS, FLOAT16, BitAllocation, LayerBits, LayerSpec, ModelSpec
from qcore.costs import COSTS
from qcore.problem import SensitivityTable
from tests.e2e.test_explorer import HOSTILE
from tests.pages import sample

pytestmark = [
    pytest.mark.e2e,
    # Playwright's event loop is closed by its own driver
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

SECONDS = 1000.0
NAMES = sample.MODEL.names
LOAD = """async ([script, css, html]) => {
    document.body.innerHTML = '<div id="host" style="width:1000px"></div>';
    const root = document.querySelector('#host').attachShadow({ mode: 'open' });
    const sheet = document.createElement('style');
    sheet.textContent = css;
    root.append(sheet, document.createRange().createContextualFragment(html));
    const url = URL.createObjectURL(new Blob([script], { type: 'text/javascript' }));
    window.code = await import(url);
    window.told = [];
    window.heard = [];
    window.addEventListener('bitdial:allocation', (event) => heard.push(event.detail));
    window.bars = new code.Bars(root);
    window.show = (data) => bars.update({ data,
        setTriggerValue: (name, value) => told.push([name, value]) });
}"""


def load(page):
    """The picture on an empty page: `show(payload)` draws, `told` is what it sent."""
    page.goto("about:blank")
    page.evaluate(LOAD, [script(), style(), markup()])


def network(names, seed=0):
    rng = random.Random(seed)
    layers = []
    for name in names:
        size = rng.randrange(3, 5000)
        layers.append(LayerSpec(name, "conv2d", size, 8, 8, 50 * size, 400, 400))
    return ModelSpec("made-up", "0" * 64, tuple(layers))


def table_of(model, seed=0, widths=BIT_WIDTHS[:-1]):
    """Any damage, negative too; few values, so that some steps are worth the same."""
    rng = random.Random(seed)

    def rows():
        return {
            name: {bits: rng.randrange(-2, 9) / 8 for bits in widths if rng.random() < 0.9}
            for name in model.names
        }

    return SensitivityTable("kl", "nats", rows(), rows(), n=1000)


def allocation(model, rng):
    return BitAllocation(
        {name: LayerBits(rng.choice(BIT_WIDTHS), rng.choice(BIT_WIDTHS)) for name in model.names}
    )


def body_of(model, bits, table=None, calibration=None):
    told = payload.not_predicted("none")
    if table is not None:
        told = payload.predicted(table, model, calibration, "made up")
    return payload.bars_payload(model, begin(Start("here", bits), model), bits, told, 0)


def rows_of(bits):
    return {part: [getattr(each, part) for each in bits.values()] for part in payload.PARTS}


def test_costs_in_the_browser_are_pythons_to_the_byte_and_to_the_letter(page):
    load(page)
    rng = random.Random(3)
    model = network([f"l{at}" for at in range(30)])
    table = table_of(model)
    for _ in range(20):
        bits = allocation(model, rng)
        body = body_of(model, bits, table)
        for part, name in (("weight", "weight_bytes"), ("activation", "bit_ops")):
            total, words = page.evaluate(
                """([data, part, bits]) => {
                    const total = code.totalCost(data, part, bits);
                    return [total, code.costText(data.costs[part], total)];
                }""",
                [body, part, rows_of(bits)],
            )
            assert total == COSTS[name].total(model, bits)
            assert words == text.cost_text(COSTS[name], total)
        found = page.evaluate(
            "([data, bits]) => code.totalDamage(data, bits)", [body, rows_of(bits)]
        )
        known = {"weight": table.weight, "activation": table.activation}
        scores = [
            0.0 if width == 32 else payload.filled(known[part][name]).get(width, math.nan)
            for name, pair in bits.items()
            for part, width in zip(payload.PARTS, (pair.weight, pair.activation), strict=True)
        ]
        wanted = sum(scores)
        assert found is None if math.isnan(wanted) else found == pytest.approx(wanted)


def test_points_of_loss_in_the_browser_are_those_of_the_calibration(page):
    load(page)
    rng = random.Random(5)
    damage = [rng.random() for _ in range(200)]
    found = calibrate(damage, [9 * at + rng.gauss(0, 1) for at in damage])
    model = network(["a"])
    loss = body_of(model, allocation(model, rng), table_of(model), found)["prediction"]["loss"]
    for place in [-1e-9, *found.at, 1.5, *(rng.random() for _ in range(50))]:
        told = page.evaluate("([loss, at]) => code.lossAt(loss, at)", [loss, place])
        wanted = found.loss(place)
        if wanted is None:
            assert told is None
        else:
            assert [told["mean"], told["low"], told["high"]] == pytest.approx(list(wanted))


def best_by_trying(model, table, bits, part, locked, turn):
    """Every next known width of every layer, by the words of the rule."""
    cost = COSTS["weight_bytes" if part == "weight" else "bit_ops"]
    known = table.weight if part == "weight" else table.activation
    found = []
    for place, layer in enumerate(model.layers):
        pair = bits[layer.name]
        scores = {**payload.filled(known[layer.name]), 32: 0.0}
        now = getattr(pair, part)
        beyond = [width for width in scores if (width - now) * turn > 0]
        if locked[place] or now not in scores or not beyond:
            continue
        to = min(beyond) if turn > 0 else max(beyond)
        other = pair.activation if part == "weight" else pair.weight
        changed = LayerBits(to, other) if part == "weight" else LayerBits(other, to)
        change = cost.layer_cost(layer, changed) - cost.layer_cost(layer, pair)
        if change * turn > 0:
            worth = -(scores[to] - scores[now]) / abs(change)
            found.append(((-worth, -abs(change), place), place, now, to, change))
    return min(found)[1:] if found else None


@pytest.mark.parametrize("seed", range(4))
def test_the_next_best_moves_are_those_that_trying_all_finds(page, seed):
    load(page)
    rng = random.Random(seed)
    model = network([f"l{at}" for at in range(9)], seed)
    table = table_of(model, seed)
    for _ in range(25):
        bits = allocation(model, rng)
        locked = [rng.random() < 0.3 for _ in model.names]
        body = body_of(model, bits, table)
        for part in payload.PARTS:
            moves = page.evaluate(
                "([data, bits, part, locked]) => code.bestMoves(data, bits, part, locked)",
                [body, rows_of(bits), part, locked],
            )
            for name, turn in (("down", -1), ("up", 1)):
                wanted = best_by_trying(model, table, bits, part, locked, turn)
                move = moves[name]
                told = move and (move["layer"], move["from"], move["to"], move["cost"])
                assert told == wanted


def test_bars_are_as_wide_as_their_share_and_columns_fill_the_picture(page):
    load(page)
    rng = random.Random(1)
    for count, least in itertools.product((1, 3, 20), (10, 40)):
        sizes = [rng.randrange(1, 4000) for _ in range(count)]
        shares = [size / sum(sizes) for size in sizes]
        scale = page.evaluate(
            "([shares, width, least]) => code.barScale(shares, width, least)", [shares, 1000, least]
        )
        filled = sum(max(least, share * scale) for share in shares)
        assert filled == pytest.approx(1000, abs=1e-3)


def test_names_are_text_and_messages_of_other_pictures_are_checked(page):
    load(page)
    model = network(HOSTILE)
    bits = BitAllocation.uniform(model.layers, 4)
    page.evaluate("data => show(data)", body_of(model, bits, table_of(model)))
    assert page.locator("img, script").count() == 0
    assert page.evaluate("window.hacked") is None
    assert page.evaluate("heard.length") == 1
    for detail in (
        {"model": "other", "layer": 0, "weight": 2},
        {"model": model.digest, "layer": "length", "weight": 2},
        {"model": model.digest, "layer": 99, "weight": 2},
        {"model": model.digest, "weight": 2},
        {"model": model.digest, "layer": 0, "weight": 19, "activation": "<b>"},
        None,
    ):
        page.evaluate("d => dispatchEvent(new CustomEvent('bitdial:edit', { detail: d }))", detail)
    assert page.evaluate("bars.bits.weight") == [4] * len(HOSTILE)
    edit = {"model": model.digest, "layer": 1, "weight": 2, "activation": 8}
    page.evaluate("d => dispatchEvent(new CustomEvent('bitdial:edit', { detail: d }))", edit)
    lock = {"model": model.digest, "layer": 1, "locked": True}
    page.evaluate("d => dispatchEvent(new CustomEvent('bitdial:lock', { detail: d }))", lock)
    page.evaluate(
        "d => dispatchEvent(new CustomEvent('bitdial:edit', { detail: d }))", {**edit, "weight": 3}
    )
    page.wait_for_function("told.length === 1")
    ((name, value),) = page.evaluate("told")
    assert name == "edit"
    number, rows = payload.read_edit(value, model)
    assert number == 1
    assert rows[1] == (2, 8, True)
    assert all(row == (4, 32, False) for at, row in enumerate(rows) if at != 1)
    last = page.evaluate("heard.at(-1)")
    assert (last["model"], last["weight"][1], last["activation"][1]) == (model.digest, 2, 8)


def test_levels_join_the_ruler_only_where_a_layer_has_them_or_they_were_scored(page):
    load(page)
    model = network(["a", "b"])
    even = BitAllocation.uniform(model.layers, 8)
    marks = "[...bars.scale.children].map((mark) => mark.textContent)"
    usual = [*map(str, range(1, 9)), "float"]
    page.evaluate("data => show(data)", body_of(model, even))
    assert page.evaluate(marks) == usual
    page.evaluate("fp16 => bars.set(0, fp16)", FLOAT16)
    assert page.evaluate(marks) == [*usual[:8], "fp16", "float"]
    assert page.locator(".column").first.locator(".digit").inner_text() in ("fp16", "")
    page.evaluate("bars.commit()")
    table = table_of(model, widths=(4, 8, 12))
    page.evaluate("data => show(data)", {**body_of(model, even, table), "heard": 99})
    assert page.evaluate(marks) == [*usual[:8], "12", "float"]


def test_what_the_server_has_not_heard_of_stays(page):
    load(page)
    model = network(["a", "b"])
    body = body_of(model, BitAllocation.uniform(model.layers, 4))
    page.evaluate("data => show(data)", body)
    page.evaluate("bars.set(0, 6); bars.commit()")
    # drawn again for another reason before the edit arrived
    page.evaluate("data => show(data)", body)
    assert page.evaluate("bars.bits.weight") == [6, 4]
    # another picture that was sent older bits hears the newer ones, however often it asks
    fire = "([name, detail]) => dispatchEvent(new CustomEvent(name, { detail }))"
    for _ in range(2):  # a lock told twice is a lock
        page.evaluate(fire, ["bitdial:lock", {"model": model.digest, "layer": 1, "locked": True}])
    page.evaluate("bars.draw(); heard.length = 0")
    page.evaluate(fire, ["bitdial:ask", {"model": "another"}])
    assert page.evaluate("heard") == []
    page.evaluate(fire, ["bitdial:ask", {"model": model.digest}])
    (last,) = page.evaluate("heard")
    assert (last["weight"], last["locked"]) == ([6, 4], [False, True])
    page.evaluate("bars.lock(1); bars.commit()")
    # the server took it over, and then undid it
    page.evaluate("data => show(data)", {**body, "heard": 2})
    assert page.evaluate("bars.bits.weight") == [4, 4]


@pytest.fixture
def bench(server, page):
    """The page of 8 bits in every layer, once nothing moves any more."""
    page.goto(f"{server.url}/workbench?model=resnet8&bits=8.f")
    page.locator(".column").first.wait_for(timeout=60 * SECONDS)
    idle(page)
    return page


def idle(page):
    from playwright.sync_api import expect

    app = page.get_by_test_id("stApp")
    expect(app).to_have_attribute("data-test-script-state", "notRunning", timeout=60 * SECONDS)


def bar(page, place):
    return page.get_by_role("slider", name=re.compile(f"^{re.escape(NAMES[place])}, "))


def shows(page, place, words):
    from playwright.sync_api import expect

    expect(bar(page, place)).to_have_attribute("aria-valuetext", words, timeout=60 * SECONDS)


def bits_text(*changed):
    """As the address says bits that are 8 but in some layers."""
    widths = ["8"] * len(NAMES)
    for place, bits in changed:
        widths[place] = str(bits)
    return re.compile(f"bits={''.join(widths)}\\.")


def test_a_bar_is_dragged_the_server_hears_on_release_and_undo_restores(bench):
    sent = []
    bench.on("websocket", lambda socket: socket.on("framesent", lambda _: sent.append(1)))
    bench.reload()
    bench.locator(".column").first.wait_for(timeout=60 * SECONDS)
    idle(bench)
    track = bar(bench, 6)
    track.scroll_into_view_if_needed()
    box = track.bounding_box()
    level = box["height"] / int(track.get_attribute("aria-valuemax"))
    x, top = box["x"] + box["width"] / 2, box["y"] + level
    size = bench.locator(".fact.bytes output")
    before, count, url = size.text_content(), len(sent), bench.url
    bench.mouse.move(x, top)
    bench.mouse.down()
    for step in range(1, 9):
        bench.mouse.move(x, top + step * level / 2)
    shows(bench, 6, "4 bits")
    assert size.text_content() != before
    assert (len(sent), bench.url) == (count, url)
    bench.mouse.up()
    bench.wait_for_url(bits_text((6, 4)), timeout=60 * SECONDS)
    idle(bench)
    assert len(sent) == count + 1
    bits = dict(sample.uniform(8))
    bits[NAMES[6]] = LayerBits(4)
    wanted = COSTS["weight_bytes"].total(sample.MODEL, BitAllocation(bits))
    assert size.text_content() == text.cost_text(COSTS["weight_bytes"], wanted)
    bench.get_by_role("button", name="Undo").click()
    shows(bench, 6, "8 bits")
    bench.get_by_role("button", name="Redo").click()
    shows(bench, 6, "4 bits")


def test_keys_choose_change_and_lock_and_a_lock_holds(bench):
    from playwright.sync_api import expect

    bar(bench, 0).focus()
    bench.keyboard.press("ArrowRight")
    expect(bar(bench, 1)).to_be_focused()
    bench.keyboard.press("ArrowDown")
    bench.keyboard.press("ArrowDown")
    bench.keyboard.press(" ")
    bench.keyboard.press("ArrowDown")
    shows(bench, 1, "6 bits, locked")
    # one step for keys that follow one another closely
    bench.wait_for_url(bits_text((1, 6)), timeout=60 * SECONDS)
    idle(bench)
    expect(bar(bench, 1)).to_be_focused()
    shows(bench, 1, "6 bits, locked")
    lock = bench.get_by_role("button", name=f"Lock {NAMES[1]}", exact=True)
    expect(lock).to_have_attribute("aria-pressed", "true")
    bench.keyboard.press("End")
    expect(bar(bench, len(NAMES) - 1)).to_be_focused()
    lock.click()
    shows(bench, 1, "6 bits")


def test_a_move_is_taken_and_activations_are_edited_too(bench):
    down = bench.locator(".moves button").first
    named = down.text_content()
    place = next(at for at, name in enumerate(NAMES) if named.startswith(f"{name} "))
    down.click()
    shows(bench, place, "7 bits")
    bench.wait_for_url(bits_text((place, 7)), timeout=60 * SECONDS)
    bench.get_by_role("radio", name="activation bits").check()
    shows(bench, 3, "float")
    bar(bench, 3).press("ArrowDown")
    shows(bench, 3, "8 bits")
    bench.wait_for_url(re.compile(r"bits=[78]+\.fff8f+"), timeout=60 * SECONDS)


def test_a_phone_shows_one_column_and_a_finger_drags_a_bar(server, browser):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page = context.new_page()
    try:
        page.goto(f"{server.url}/workbench?model=resnet8&bits=8.f")
        page.locator(".column").first.wait_for(timeout=60 * SECONDS)
        idle(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        track = bar(page, 7)
        track.scroll_into_view_if_needed()
        box = track.bounding_box()
        level = box["height"] / int(track.get_attribute("aria-valuemax"))
        x, top = box["x"] + box["width"] / 2, box["y"] + level
        touch = context.new_cdp_session(page)
        touch.send(
            "Input.dispatchTouchEvent",
            {"type": "touchStart", "touchPoints": [{"x": x, "y": top}]},
        )
        for step in range(1, 7):
            touch.send(
                "Input.dispatchTouchEvent",
                {"type": "touchMove", "touchPoints": [{"x": x, "y": top + step * level / 2}]},
            )
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        page.wait_for_url(bits_text((7, 5)), timeout=60 * SECONDS)
    finally:
        context.close()


def test_the_first_screen_holds_everything(server, page):
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(f"{server.url}/workbench?model=resnet8")
    page.locator(".column").first.wait_for(timeout=60 * SECONDS)
    idle(page)
    for part in (
        page.get_by_role("button", name="Undo"),
        page.get_by_text(re.compile("^Measured ")).first,
        page.locator(".fact.loss output"),
        page.locator(".columns"),
        page.locator(".moves"),
    ):
        box = part.bounding_box()
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= 900
