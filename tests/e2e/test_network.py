"""The network in a real browser: what a layer is, bits that follow the page, keys, depth, names."""

import re

import pytest

from tests.e2e.networks import DEEP, EVIL
from tests.e2e.test_pages import BACKGROUND
from tests.pages import sample

pytestmark = [
    pytest.mark.e2e,
    # Playwright's event loop is closed by its own driver
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]

TELL = """([model, weight, activation, title]) => window.dispatchEvent(new CustomEvent(
    "bitdial:allocation", { detail: { model, weight, activation, title } }))"""
BITS = [8, 2, 3, 4, 4, 3, 2, 2, 3, 32]


def opened(page, url, unfold=False):
    from playwright.sync_api import expect

    page.goto(url)
    app = page.get_by_test_id("stApp")
    page.get_by_test_id("stExpander").filter(visible=True).last.wait_for()
    expect(app).to_have_attribute("data-test-script-state", "notRunning")
    if unfold:
        page.locator("summary").filter(has_text=re.compile("Network$")).click()
    page.get_by_role("listbox", name="layers in execution order").wait_for()
    expect(app).to_have_attribute("data-test-script-state", "notRunning")


def tell(page, model, weight, activation, title="Portfolio 23.5 KiB"):
    page.evaluate(TELL, [model, weight, activation, title])


def layer(page, name):
    return page.get_by_role("option", name=name)


def test_a_click_tells_what_a_layer_is_and_bits_follow_without_the_server(server, page):
    from playwright.sync_api import expect

    sent = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda _: sent.append(1)))
    opened(page, f"{server.url}/models?model=resnet8")
    count = len(sent)
    layer(page, "layer2.0.conv1").click()
    panel = page.get_by_role("region", name="Chosen layer")
    for words in ("16 in, 32 out", "3x3", "16 x 28 x 28", "conv1, layer1.0.conv2"):
        expect(panel).to_contain_text(words)
    expect(panel.get_by_role("img", name="Predicted damage in nats")).to_be_visible()
    # what the facts do not hold is said, not made up
    expect(panel).to_contain_text("Not measured yet")
    expect(layer(page, "layer2.0.conv1")).to_have_attribute("aria-selected", "true")

    tell(page, sample.MODEL.digest, BITS, [32] * 10)
    for at, name in enumerate(sample.MODEL.names):
        words = "float" if BITS[at] == 32 else f"{BITS[at]} bits"
        expect(layer(page, f"{name}, weights {words}, inputs float")).to_be_visible()
    expect(page.get_by_text("Bits of Portfolio 23.5 KiB")).to_be_visible()
    expect(panel).to_contain_text("weights take 2,304 B")
    # what makes no sense, or is another network's, changes nothing
    tell(page, sample.MODEL.digest, [2], [2], "short")
    tell(page, "0" * 64, [2] * 10, [2] * 10, "another")
    tell(page, sample.MODEL.digest, [8] * 10, [8] * 10, "last")
    expect(layer(page, "weights 8 bits, inputs 8 bits")).to_have_count(10)
    expect(page.get_by_text("Bits of last")).to_be_visible()
    assert len(sent) == count


def test_keys_go_from_layer_to_layer_and_choose(server, page):
    from playwright.sync_api import expect

    opened(page, f"{server.url}/models?model=resnet8")
    box = page.get_by_role("listbox", name="layers in execution order")
    box.focus()
    chosen = page.get_by_role("region", name="Chosen layer").locator(".head")
    names = sample.MODEL.names
    for keys, name in (
        (["Enter"], names[0]),
        (["ArrowDown", "ArrowDown", " "], names[2]),
        (["ArrowUp", "Enter"], names[1]),
        (["End", "Enter"], names[-1]),
        (["Home", "Enter"], names[0]),
    ):
        for key in keys:
            box.press(key)
        expect(chosen).to_have_text(name)
    # the shortcut stands beside the block
    for _ in range(3):
        box.press("ArrowDown")
    block = box.get_attribute("aria-activedescendant")
    assert block == f"layer-{names.index('layer2.0.conv1')}"
    box.press("ArrowRight")
    box.press("ArrowLeft")
    box.press("ArrowRight")
    box.press("Enter")
    expect(chosen).to_have_text("layer2.0.shortcut.0")


def test_a_change_on_the_workbench_is_a_step_of_its_bars_and_can_be_undone(server, page):
    from playwright.sync_api import expect

    opened(page, f"{server.url}/workbench?model=resnet8&bits=8.f", unfold=True)
    layer(page, "layer2.0.conv1").click()
    panel = page.get_by_role("region", name="Chosen layer")
    panel.get_by_label("Weight bits").select_option("4")
    page.wait_for_url(lambda url: "bits=8884888888.f" in url)
    expect(panel.locator(".head")).to_have_text("layer2.0.conv1")
    undo = page.get_by_role("button", name="Undo")
    undo.click()
    page.wait_for_url(lambda url: "bits=8884888888.f" not in url)
    expect(layer(page, "layer2.0.conv1, weights 8 bits")).to_be_visible()
    # that a lock is a step of its own is held by the tests of the bars
    panel.get_by_label("Locked").check()
    expect(layer(page, "layer2.0.conv1, weights 8 bits, inputs float, locked")).to_be_visible()
    panel.get_by_label("Locked").uncheck()
    expect(layer(page, "locked")).to_have_count(0)

    page.evaluate("""() => {
        window.taken = [];
        for (const name of ["bitdial:edit", "bitdial:lock"])
            window.addEventListener(name, (event) => {
                window.taken.push([name, event.detail]);
            });
    }""")
    panel.get_by_label("Input bits").select_option("8")
    panel.get_by_label("Locked").check()
    model = sample.MODEL.digest
    assert page.evaluate("window.taken") == [
        ["bitdial:edit", {"model": model, "layer": 3, "weight": 8, "activation": 8}],
        ["bitdial:lock", {"model": model, "layer": 3, "locked": True}],
    ]
    # the bars of the page have taken both
    expect(undo).to_be_enabled()


def test_explore_unfolds_it_and_what_was_told_before_is_not_lost(server, page):
    from playwright.sync_api import expect

    opened(page, f"{server.url}/?model=resnet8", unfold=True)
    tell(page, sample.MODEL.digest, BITS, [4] * 10)
    expect(layer(page, "conv1, weights 8 bits, inputs 4 bits").first).to_be_visible()
    # another page's picture asks, and knows what was told last
    page.get_by_role("link", name="Models").click()
    page.get_by_role("heading", name="Models").wait_for()
    expect(layer(page, "fc, weights float, inputs 4 bits")).to_be_visible()


def test_of_a_thousand_layers_only_what_is_in_view_is_in_the_page(server, page):
    from playwright.sync_api import expect

    opened(page, f"{server.url}/models?model=deep")
    options = page.get_by_role("option").and_(page.locator(".node"))
    assert 5 < options.count() < 60
    expect(options.first).to_have_attribute("aria-setsize", "1002")
    box = page.get_by_role("listbox", name="1002 layers")
    box.focus()
    box.press("End")
    expect(layer(page, "last")).to_be_visible()
    assert options.count() < 60
    tell(page, DEEP.digest, [4] * 1002, [8] * 1002)
    expect(layer(page, "last, weights 4 bits, inputs 8 bits")).to_be_visible()
    page.get_by_role("button", name="Fit").click()
    # as small as it can still be seen, and still not all of it
    expect(options.nth(80)).to_be_attached()
    assert options.count() < 300


def test_names_are_text_and_nothing_in_them_runs(server, page):
    from playwright.sync_api import expect

    opened(page, f"{server.url}/models?model=odd")
    node = page.locator(".node.layer").first
    node.click()
    expect(page.get_by_role("region", name="Chosen layer").locator(".head")).to_have_text(EVIL)
    assert page.evaluate("window.hacked") is None


# a rule that meets an element which is drawn anew meanwhile is left undecided by axe, on all others
# too: the component draws its layers again when its width or the scheme has changed
AT_REST = """() => new Promise((done) => {
    const roots = [document, ...[...document.querySelectorAll("*")]
        .map((one) => one.shadowRoot).filter(Boolean)];
    let changed = performance.now();
    const watch = new MutationObserver(() => { changed = performance.now(); });
    for (const root of roots)
        watch.observe(root, { subtree: true, childList: true, attributes: true });
    const look = () => {
        if (performance.now() - changed < 250) return requestAnimationFrame(look);
        watch.disconnect();
        done();
    };
    look();
})"""
LOOKS = ((1440, "light"), (1440, "dark"), (390, "dark"), (390, "light"))


# by default each scheme and each width once, as one says little of the other
@pytest.mark.parametrize(
    "looks", [LOOKS[::2], pytest.param(LOOKS, marks=pytest.mark.slow)], ids=len
)
def test_axe_finds_nothing_in_it(server, page, looks):
    from axe_playwright_python.sync_playwright import Axe

    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    page.set_viewport_size({"width": 1440, "height": 900})
    opened(page, f"{server.url}/workbench?model=resnet8", unfold=True)
    tell(page, sample.MODEL.digest, [1, 2, 3, 4, 5, 6, 7, 8, 32, 2], [8] * 10)
    layer(page, "layer2.0.conv1").click()
    options = {"runOnly": [*RULES, "best-practice"]}
    shown = "light"
    for width, scheme in looks:
        before = page.evaluate(BACKGROUND)
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        if scheme != shown:
            page.wait_for_function(f"before => ({BACKGROUND})() !== before", arg=before)
        page.wait_for_function(
            "() => document.getAnimations().every(one => one.playState !== 'running')"
        )
        shown = scheme
        found = looked_at(page, lambda: Axe().run(page, options=options).response)
        passed = {rule for rule, _ in inside(found["passes"])}
        unsure = [(rule["id"], node["target"], node["failureSummary"], node["none"][:1])
                  for rule in found["incomplete"] for node in rule["nodes"][:2]]  # fmt: skip
        assert {"aria-required-children", "color-contrast"} <= passed, unsure
        assert inside(found["violations"]) == [], (width, scheme)


def looked_at(page, look):
    """What axe finds on a page at rest; a look during which the page moved again is not one."""
    for _ in range(5):
        page.evaluate(AT_REST)
        found = look()
        undecided = [node["failureSummary"] for rule in found["incomplete"]
                     for node in rule["nodes"]]  # fmt: skip
        if not any("Axe encountered an error" in one for one in undecided):
            break
    return found


def inside(rules):
    """Rule and place of what lies in a component's own tree."""
    nodes = [(rule["id"], node["target"]) for rule in rules for node in rule["nodes"]]
    return [(rule, place) for rule, place in nodes if isinstance(place[0], list)]
