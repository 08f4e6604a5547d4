"""Locks, widths and ties in the explorer: their arithmetic, gestures, keys and words."""

import random

import pytest

from benchmarks.dashboard import bare
from pages.shared import predictions
from pages.shared.columns import DAMAGE, column_of
from pages.shared.held import held_of
from qcore.costs import COSTS
from tests import held
from tests.variants import some

pytestmark = [
    pytest.mark.e2e,
    # Playwright's event loop is closed by its own driver
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

LIMITED = [("weight_bytes",), ("bit_ops",), ("weight_bytes", "bit_ops"), ()]
SOLVE = """([data, limits, rules]) => {
    const { proxy, layers } = code.decode(data);
    const set = code.heldOf(rules, layers, code.widthsOf(proxy));
    const found = code.solve(proxy, limits, code.problemOf(proxy, set));
    return found && { score: found.score, gap: found.gap, cost: found.cost,
        w: [...found.choice].map(at => proxy.w[at]), a: [...found.choice].map(at => proxy.a[at]) };
}"""
LINE = """([data, rules, name]) => {
    const { proxy, layers } = code.decode(data);
    const set = code.heldOf(rules, layers, code.widthsOf(proxy));
    return code.lineOf(proxy, code.problemOf(proxy, set), name);
}"""


@pytest.mark.parametrize("seed", some(range(12), 6))
def test_what_is_set_is_solved_exactly_as_by_trying_everything_and_as_in_python(page, seed):
    bare.load(page)
    rng = random.Random(seed)
    model = bare.network([f"block.{at}" for at in range(3 + seed % 2)], seed)
    table = bare.table_of(model, seed)
    data = bare.predicted(model, table)
    for trial in range(4):
        rules = held.rules_of(list(model.names), rng)
        every = held.every(model, table, rules)
        limits = held.limits_of(LIMITED[(seed + trial) % 4], every, rng)
        wanted = held.least(every, limits)
        found = page.evaluate(SOLVE, [data, list(limits.items()), rules])
        pick = predictions.predicted_pick("x", table, model, limits, held=held_of(rules, model))
        if wanted is None:
            assert found is None
            assert pick.empty
            continue
        assert found["score"] == pytest.approx(wanted)
        assert found["gap"] == 0
        assert pick.iloc[0][DAMAGE] == pytest.approx(wanted)
        bits = dict(zip(model.names, zip(found["w"], found["a"], strict=True), strict=True))
        shaped = {name: held.LayerBits(*pair) for name, pair in bits.items()}
        assert held.admits(rules, shaped)
        assert held.admits(rules, pick.iloc[0]["allocation"])
        for name, limit in limits.items():
            assert found["cost"][name] <= limit
            assert pick.iloc[0][column_of(COSTS[name])] <= limit


def test_the_line_that_is_drawn_is_on_the_front_of_what_is_allowed(page):
    bare.load(page)
    model = bare.network(["a", "b.c", "d"], 2)
    table = bare.table_of(model, 2)
    data = bare.predicted(model, table)
    rules = [
        {"tie": ["a", "d"], "part": "weight"},
        {"tie": ["a", "b.c", "d"], "part": "activation"},
        {"pattern": "d", "part": "weight", "allow": [3, 4, 8]},
    ]
    every = held.every(model, table, rules)
    for name in ("weight_bytes", "bit_ops"):
        line = page.evaluate(LINE, [data, rules, name])
        assert len(line["costs"]) > 4
        for cost, damage in zip(line["costs"], line["damages"], strict=True):
            assert damage == pytest.approx(held.least(every, {name: cost}))
        # both ends are there: the cheapest and the best
        assert line["costs"][0] == min(costs[name] for costs, _ in every)
        assert min(line["damages"]) == pytest.approx(min(damage for _, damage in every))


FRONT = "[...explorer.frontOf(explorer.methods[0], 'weight_bytes')[0].cost.weight_bytes]"
LIMIT = "explorer.view.values.weight_bytes * explorer.sliders.weight_bytes.b.factor"
NAMES = [f"layer{at // 5}.conv{at}" for at in range(10)]


def opened(page, rules=(), names=NAMES):
    """The explorer of a made-up network in predicted mode, with these rules when it opens."""
    bare.load(page)
    model = bare.network(names)
    data = bare.predicted(model, bare.table_of(model))
    data["init"]["held"] = list(rules)
    page.evaluate("show", data)
    return model


def click(page, layer, part, count=10, row=0, **how):
    heat = page.locator("canvas.heat")
    wide = heat.bounding_box()["width"] / count
    place = {"x": (layer + 0.5) * wide, "y": 42 * row + (10 if part == "weight" else 32)}
    heat.click(position=place, **how)


def words(page):
    return page.locator(".held-words").text_content()


def last_told(page):
    name, value = page.evaluate("told.at(-1)")
    assert name == "commit"
    return value["held"]


def bits(page, part, layer):
    return page.evaluate("([part, at]) => explorer.now[0][part[0]][at]", [part, layer])


def drag(page, share):
    """Move the budget and draw: nothing is told."""
    page.evaluate(
        "share => { const { b } = explorer.sliders.weight_bytes, before = told.length;"
        " explorer.set(b.id, b.lo + share * (b.hi - b.lo)); explorer.draw();"
        " if (told.length !== before) throw Error('told while dragging'); }",
        share,
    )


def test_a_click_locks_a_width_that_then_stays_while_the_budget_is_dragged(page):
    opened(page)
    width = bits(page, "weight", 3)
    click(page, 3, "weight")
    assert words(page) == "1 locked"
    assert last_told(page) == [{"pattern": NAMES[3], "part": "weight", "allow": [width]}]
    others = set()
    for share in (0.25, 0.4, 0.6, 0.9):
        drag(page, share)
        assert bits(page, "weight", 3) == width
        others.add(tuple(bits(page, "weight", at) for at in range(10) if at != 3))
    assert len(others) == 4
    click(page, 3, "weight")
    assert last_told(page) == []
    assert words(page).startswith("Click a cell to lock it")


def test_shift_ties_two_cells_and_lets_them_go_again(page):
    opened(page)
    for layer in (2, 6):
        click(page, layer, "activation", modifiers=["Shift"])
    assert words(page) == "1 tie of 2"
    # a third comes in by either of them
    for layer in (9, 6):
        click(page, layer, "activation", modifiers=["Shift"])
    assert words(page) == "1 tie of 3"
    assert last_told(page) == [
        {"tie": [NAMES[2], NAMES[6], NAMES[9]], "part": "activation"},
    ]
    for share in (0.2, 0.5, 0.8):
        drag(page, share)
        assert len({bits(page, "activation", at) for at in (2, 6, 9)}) == 1
    # a lock of one is a lock of all: they are one decision
    click(page, 6, "activation")
    assert words(page) == "3 locked, 1 tie of 3"
    click(page, 2, "activation")
    assert words(page) == "1 tie of 3"
    click(page, 9, "activation", modifiers=["Shift"])
    assert words(page) == "1 tie of 2"
    click(page, 2, "activation", modifiers=["Shift"])
    assert last_told(page) == []


def test_weights_are_not_tied_to_activations(page):
    opened(page)
    click(page, 2, "weight", modifiers=["Shift"])
    assert f"Tie {NAMES[2]} weights" in words(page)
    click(page, 5, "activation", modifiers=["Shift"])
    assert f"Tie {NAMES[5]} activations" in words(page)
    assert page.evaluate("told.length") == 0


def test_the_menu_has_the_widths_to_tick(page):
    from playwright.sync_api import expect

    opened(page)
    click(page, 0, "weight", button="right")
    menu = page.get_by_role("dialog", name=f"Widths of {NAMES[0]} weights")
    for width in ("2", "3"):
        menu.get_by_role("checkbox", name=width).uncheck()
    assert words(page) == f"{NAMES[0]} only 4 or 8"
    assert last_told(page) == [{"pattern": NAMES[0], "part": "weight", "allow": [4, 8]}]
    # a lock is let go to what was allowed before it
    menu.get_by_role("button", name="Lock at").click()
    assert words(page) == "1 locked"
    menu.get_by_role("button", name="Unlock").click()
    assert words(page) == f"{NAMES[0]} only 4 or 8"
    for width in ("4", "8"):
        menu.get_by_role("checkbox", name=width).uncheck()
    expect(page.locator(".explorer > .note")).to_have_text(
        f"The weights of {NAMES[0]} have no width left. Allow one, or clear what is set."
    )
    # what there was is still to be seen, and to be set
    assert page.evaluate("explorer.shown(0).w.length") == 10
    menu.get_by_role("button", name="Any width").click()
    assert last_told(page) == []
    page.keyboard.press("Escape")
    expect(menu).to_have_count(0)
    expect(page.get_by_role("gridcell", name=f"{NAMES[0]} weights")).to_be_focused()


def test_keys_reach_every_cell_lock_tie_and_open_the_menu(page):
    from playwright.sync_api import expect

    opened(page)
    cell = page.get_by_role("gridcell")
    assert cell.count() == 20
    first = page.get_by_role("gridcell", name=f"{NAMES[0]} weights")
    first.focus()
    assert page.locator(".tip").text_content().startswith(NAMES[0])
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    width = bits(page, "activation", 1)
    page.keyboard.press("l")
    locked = page.get_by_role("gridcell", name=f"{NAMES[1]} activations: {width} bits, locked at")
    expect(locked).to_be_focused()
    page.keyboard.press("End")
    page.keyboard.press("t")
    page.keyboard.press("Home")
    page.keyboard.press("t")
    assert words(page) == "1 locked, 1 tie of 2"
    expect(page.get_by_role("gridcell", name=f"tied with {NAMES[9]}")).to_be_focused()
    page.keyboard.press("w")
    page.get_by_role("dialog").get_by_role("checkbox", name="2").press("Space")
    assert f"{NAMES[0]} activations only 3, 4 or 8" in words(page)
    # one stop of Tab for all cells
    assert page.locator("[role=gridcell][tabindex='0']").count() == 1


def test_a_finger_that_stays_opens_the_menu_and_does_not_lock(browser):
    context = browser.new_context(viewport={"width": 1200, "height": 900}, has_touch=True)
    page = context.new_page()
    try:
        opened(page)
        touch = """type => { const box = explorer.heat.getBoundingClientRect();
            explorer.heat.dispatchEvent(new PointerEvent(type, { pointerType: 'touch', pointerId: 1,
                isPrimary: true, bubbles: true, clientX: box.x + 20, clientY: box.y + 10 })); }"""
        page.evaluate(touch, "pointerdown")
        page.get_by_role("dialog").wait_for()
        page.evaluate(touch, "pointerup")
        page.evaluate("explorer.heat.dispatchEvent(new MouseEvent('click'))")
        assert page.evaluate("told.length") == 0
        page.get_by_role("button", name="Close").click()
        box = page.locator("canvas.heat").bounding_box()
        page.touchscreen.tap(box["x"] + 20, box["y"] + 10)
        assert words(page) == "1 locked"
    finally:
        context.close()


def test_what_leaves_nothing_within_the_budget_is_said_with_the_smallest_there_is(page):
    rules = [
        {"pattern": NAMES[0], "part": "weight", "allow": [8]},
        {"tie": [NAMES[0], NAMES[1]], "part": "weight"},
    ]
    model = opened(page, rules)
    assert words(page) == "2 locked, 1 tie of 2"
    drag(page, 0)
    least = COSTS["weight_bytes"].total(
        model,
        held.BitAllocation(
            {n: held.LayerBits(8 if at < 2 else 2, 8) for at, n in enumerate(model.names)}
        ),
    )
    said = page.locator(".explorer > .note").text_content()
    assert "the smallest with what is set (2 locked, 1 tie of 2) is" in said
    assert f"{least / 1024:.1f} KiB" in said
    page.get_by_role("button", name="Clear").click()
    assert last_told(page) == []


def test_the_front_and_its_steps_follow_what_is_set(page):
    opened(page, [{"pattern": name, "part": "weight", "allow": [4, 8]} for name in NAMES])
    assert words(page).endswith("7 more narrowed")
    front = page.evaluate(FRONT)
    free = page.evaluate("[...explorer.methods[0].cost.weight_bytes]")
    assert min(front) > 1.5 * min(free)
    drag(page, 0.9)
    for _ in range(3):
        page.locator(".card").first.press("[")
        at = page.evaluate(LIMIT)
        assert any(0 <= at - cost < 0.1 * 1024 for cost in front)


def test_a_measured_point_without_what_is_set_is_passed_over(page):
    bare.load(page)
    model = bare.network(NAMES)
    _, data = bare.measured(model, ["portfolio", "random"], 600)
    page.evaluate("show", data)
    width = bits(page, "weight", 4)
    slot = page.evaluate("explorer.order.indexOf(0)")
    click(page, 4, "weight", row=slot)
    assert words(page) == "1 locked"
    focus = page.evaluate("told.at(-1)[1].focus")
    assert focus == page.evaluate("explorer.methods[0].label")
    for share in (0.5, 0.7, 0.9, 1.0):
        drag(page, share)
        limit = page.evaluate(LIMIT)
        for found in page.evaluate("explorer.now.map(r => r && [r.w[4], r.cost.weight_bytes])"):
            assert found is None or (found[0] == width and found[1] <= limit * (1 + 1e-9))
    # a width that no point has leaves none, which is said
    rules = [{"pattern": n, "part": "weight", "allow": [2]} for n in NAMES]
    page.evaluate("rules => { explorer.cells.set(rules) }", rules)
    assert page.locator(".explorer > .note").text_content().startswith("No measured point has what")


def test_hostile_names_of_layers_are_words_of_the_menu_and_of_the_line(page):
    from tests.e2e.test_explorer import HOSTILE

    opened(page, names=list(HOSTILE))
    for at in range(len(HOSTILE)):
        click(page, at, "weight", count=len(HOSTILE), button="right")
        page.get_by_role("dialog").get_by_role("checkbox", name="2").uncheck()
    assert "<img src=x" in words(page)
    assert {rule["pattern"] for rule in last_told(page)} == set(HOSTILE)
    assert page.evaluate("window.hacked") is None
    root = "document.querySelector('#host').shadowRoot"
    assert page.evaluate(f"{root}.querySelectorAll('img, script').length") == 0


def test_new_data_keeps_what_is_set_and_takes_the_exact_answer_for_it(page):
    model = opened(page)
    click(page, 3, "weight")
    rules = last_told(page)
    read = held_of(rules, model)
    table = bare.table_of(model)
    data = bare.predicted(model, table, read)
    page.evaluate("show", data)
    assert words(page) == "1 locked"
    pick = predictions.predicted_pick(
        "x", table, model, dict(data["settled"]["limits"]), held=read
    ).iloc[0]
    assert page.evaluate("explorer.now[0].y.damage") == pytest.approx(pick[DAMAGE])
    assert page.evaluate("explorer.now[0].gap") == 0
    # it is the answer for what was set, not for anything else
    click(page, 5, "activation")
    assert page.evaluate("explorer.settled !== explorer.held.key")


def test_floats_are_widths_by_name(page):
    bare.load(page)
    told = page.evaluate("[[], [4], [4, 32], [3, 8, 17, 18, 32]].map(code.widthsText)")
    assert told == ["no width", "4", "4 or float", "3, 8, bf16, fp16 or float"]
    assert page.evaluate("[1, 16, 32, 18].map(code.bitsText)") == [
        "1 bits",
        "16 bits",
        "float",
        "fp16",
    ]
