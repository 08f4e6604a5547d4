"""Every page in a real browser, in both colour schemes: readable, private, harmless, honest."""

import hashlib
import io
import json
import re
import socket
import time
import zipfile
from dataclasses import replace

import jsonschema
import pandas as pd
import pytest
import yaml

from qcore import load_bits
from qcore.formats.exports import EXPORTS
from store import configs, create_run, open_store, run, save_config
from tests.e2e import hostile
from tests.e2e.conftest import ROOT, outside, serve
from tests.pages import sample
from tests.store import fake
from tests.variants import crossed

pytestmark = [
    pytest.mark.e2e,
    # Playwright's event loop is closed by its own driver
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

SECONDS = 1000.0
TABLE, CHART = "[data-testid=stDataFrame] canvas", ".js-plotly-plot"
PAGES = {
    # first, because a new server is asked for it by a link before any other page was shown
    "workbench": CHART,
    "": "canvas.heat",
    "searches": f".st-key-runs-table {TABLE}",
    "compare": CHART,
    "run_time": "[data-testid=stPageLink], .js-plotly-plot",
    "models": TABLE,
    "configs": "[data-testid=stDownloadButton]",
    "guide": "[data-testid=stTable]",
    "settings": TABLE,
}
"""Path of each page to what is there once it is drawn."""

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
ORDER = {"heading-order": {"enabled": True}}
FAST = {"resultTypes": ["violations"]}
"""All rules are checked; of what passes only the first element is described."""

MOST_REPORT_BYTES = 500_000
BACKGROUND = """() => getComputedStyle(
    document.querySelector('[data-testid=stApp]')).backgroundColor"""


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A dashboard with good and hostile results, whose searches are toys."""
    data = tmp_path_factory.mktemp("pages")
    hostile.fill(data)
    with serve(data, PYTHONPATH=str(ROOT / "tests" / "engine" / "fast")) as running:
        yield running


@pytest.fixture
def store(served):
    opened = open_store(served.data / "bitdial.db")
    yield opened
    opened.engine.dispose()


def settled(page):
    from playwright.sync_api import expect

    app = page.get_by_test_id("stApp")
    expect(app).to_have_attribute("data-test-script-state", "notRunning", timeout=60 * SECONDS)


def show(page, url, landmark="h1"):
    page.goto(url)
    page.locator(landmark).first.wait_for(timeout=60 * SECONDS)
    settled(page)


def background(page):
    return page.evaluate(BACKGROUND)


def injected(page):
    """What a name has become that should have stayed text; dialogs are counted in the page."""
    return page.evaluate(
        """() => {
            const roots = [document, ...[...document.querySelectorAll('*')]
                .map(e => e.shadowRoot).filter(Boolean)];
            const found = roots.flatMap(r => [...r.querySelectorAll(
                'img[src="x"], img[src^="http"], a[href*="//evil"], [onerror], [onclick]')]);
            return [window.hacked ?? null, found.map(e => e.outerHTML)];
        }"""
    )


# by default one scheme a page, in turn: a colour belongs to a scheme, not to a page
@pytest.mark.parametrize(("path", "scheme"), crossed(PAGES, ("light", "dark")))
def test_every_page_is_readable_in_both_schemes_and_asks_nobody_else(served, page, path, scheme):
    from axe_playwright_python.sync_playwright import Axe

    asked = []
    page.on("request", lambda request: asked.append(request.url))
    # all of a page at once: what is scrolled away is not judged
    page.set_viewport_size({"width": 1400, "height": 5600})
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    show(page, f"{served.url}/{path}?model=resnet8", PAGES[path])
    assert page.get_by_text("Page not found").count() == 0
    red = re.match(r"rgb\((\d+)", background(page))
    assert (int(red[1]) < 128) == (scheme == "dark")
    found = Axe().run(page, options={"runOnly": RULES, "rules": ORDER, **FAST}).response
    assert len(found["passes"]) > 10
    assert "color-contrast" in {rule["id"] for rule in found["passes"]}
    wrong = [(rule["id"], node["html"][:200])
             for rule in found["violations"] for node in rule["nodes"]]  # fmt: skip
    assert wrong == []
    assert len(asked) > 5
    assert outside(asked) == set()


NAMED = ("searches", "compare", "configs")
"""Pages on which a hostile name is in view at once, or after one click."""


@pytest.mark.parametrize(
    "path",
    [path if path in NAMED else pytest.param(path, marks=pytest.mark.slow) for path in PAGES],
)
def test_hostile_names_are_text_on_every_page(served, page, path):
    dialogs = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.set_viewport_size({"width": 1400, "height": 2000})
    show(page, f"{served.url}/{path}?model=hostile&run=5&runs=5%2C4", PAGES[path])
    assert injected(page) == [None, []]
    if path == "compare":  # runs are named among their seeds
        page.get_by_text("Seeds", exact=True).first.click()
    if path in NAMED:
        page.get_by_text("<img src=x").filter(visible=True).first.wait_for()
    assert dialogs == []


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example"])
def test_a_foreign_host_is_told_nothing_on_any_page(served, host):
    for path in PAGES:
        request = f"GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
            connection.sendall(request.encode())
            status = connection.recv(64).split(b"\r\n")[0]
        assert b" 403" in status or b" 400" in status, (path, status)


def click_all(page, folder):
    """Click every download but those that contain the network; their files by name."""
    # the last of them, and with it all others
    buttons = page.get_by_test_id("stDownloadButton")
    buttons.first.wait_for(timeout=60 * SECONDS)
    more = page.get_by_text("More formats")
    if more.count():
        more.click()
    buttons.filter(has_text="Bundle").wait_for(timeout=60 * SECONDS)
    settled(page)
    skipped = {export.title for export in EXPORTS.values() if export.needs_model}
    files = {}
    for button in buttons.get_by_role("button").all():
        title = button.text_content().replace("download", "").strip()
        if button.is_disabled() or any(title.endswith(name) for name in skipped):
            continue
        file = download(page, button)
        name = file.suggested_filename
        file.save_as(folder / name)
        files[name] = folder / name
    return files


def download(page, button, tries=4):
    """Click a button for its file; Chromium drops the eleventh of a page within a moment."""
    from playwright.sync_api import TimeoutError as NoDownload

    for left in reversed(range(tries)):
        try:
            with page.expect_download(timeout=(15 if left else 60) * SECONDS) as waiting:
                button.click()
            return waiting.value
        except NoDownload:
            if not left:
                raise


def check_files(files):
    """Read each file by what its name ends in; gives the endings that were read."""
    read = set()
    (own,) = (path for name, path in files.items() if name.endswith(".bits.json"))
    config = load_bits(own)
    for name, path in files.items():
        content, ending = path.read_bytes(), name.rsplit(".", 1)[1]
        assert content
        if ending == "json":
            document = json.loads(content)
            if "$schema" in document and "$id" in document:
                jsonschema.Draft202012Validator(document).validate(json.loads(own.read_bytes()))
        elif ending == "yaml":
            assert yaml.safe_load(content) == json.loads(own.read_bytes())
        elif ending == "csv":
            frame = pd.read_csv(path)
            assert not frame.empty
            if name.endswith(".bits.csv"):
                assert list(frame.iloc[:, 0]) == list(config.model.names)
        elif ending == "parquet":
            assert not pd.read_parquet(path).empty
        elif ending == "py":
            compile(content, name, "exec")
        elif ending == "html":
            assert len(content) < MOST_REPORT_BYTES
            loads = re.findall(
                rb"""(?:src|href|url\()\s*=?\s*["']?(?!#|data:)[^"'>\s)]+""", content
            )
            assert not [part for part in loads if b"//" in part]
        else:
            assert ending == "zip"
            check_bundle(content)
        read.add(ending)
    return config, read


def check_bundle(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        lines = archive.read("SHA256SUMS").decode().splitlines()
        sums = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
        assert set(sums) == set(archive.namelist()) - {"SHA256SUMS"}
        for name, digest in sums.items():
            assert hashlib.sha256(archive.read(name)).hexdigest() == digest


def test_every_download_is_read_again(served, page, tmp_path):
    taken = {}
    page.set_viewport_size({"width": 1400, "height": 3000})
    for path, query in (("", "model=resnet8&bw=40"), ("configs", "model=hostile")):
        folder = tmp_path / (path or "explore")
        folder.mkdir()
        show(page, f"{served.url}/{path}?{query}", "[data-testid=stDownloadButton]")
        files = click_all(page, folder)
        config, read = check_files(files)
        taken[path] = config
        assert {"json", "yaml", "csv", "py", "html", "zip"} <= read, path
    assert taken[""].model == sample.MODEL
    assert taken["configs"].model.names == hostile.LAYERS


def test_a_search_goes_on_when_the_page_is_closed(served, store, tabs):
    spec = replace(fake.SPEC, data="toys 0.5", params={"evaluations": 120})
    tab = tabs.new_page()
    run_id = create_run(store, spec, "left alone")
    tab.goto(f"{served.url}/searches?run={run_id}")
    tab.get_by_text(re.compile(r"[1-9]\d* evaluations")).first.wait_for(timeout=60 * SECONDS)
    tab.close()
    seen, hurry = run(store, run_id).evaluations, served.data / "hurry"
    hurry.touch()
    deadline = time.monotonic() + 120
    while run(store, run_id).state == "running" and time.monotonic() < deadline:
        time.sleep(0.1)
    hurry.unlink()
    assert run(store, run_id).state == "done"
    assert run(store, run_id).evaluations > seen
    tab = tabs.new_page()
    tab.goto(f"{served.url}/searches?run={run_id}")
    tab.get_by_role("heading", name="left alone").wait_for(timeout=60 * SECONDS)
    # the link opened the page, and app.py ran too: the navigation is there
    tab.get_by_role("link", name="Explore").wait_for()
    tab.locator("strong").filter(has_text="done").first.wait_for(timeout=60 * SECONDS)
    tab.close()


def test_a_search_is_paused_resumed_and_cancelled_in_the_browser(served, store, page):
    wanted = replace(fake.SPEC, data="toys 0.5", params={"evaluations": 120})
    run_id = create_run(store, wanted)
    page.goto(f"{served.url}/searches?run={run_id}")
    page.get_by_text(re.compile(r"[1-9]\d* evaluations")).first.wait_for(timeout=60 * SECONDS)
    for button, state in (
        ("Pause", "paused: keeps its place and goes on when resumed"),
        ("Resume", "running"),
        ("Cancel", "cancelled: what was measured until then is kept"),
    ):
        page.get_by_role("button", name=button).click(timeout=60 * SECONDS)
        page.locator("strong").filter(has_text=state).first.wait_for(timeout=60 * SECONDS)
    assert 0 < run(store, run_id).evaluations < 120


def test_two_tabs_may_edit_and_delete_the_same_configuration(served, store, page):
    (kept,) = (entry for entry in configs(store) if entry.name == hostile.KEPT)
    number = save_config(store, "shared", kept.text)
    url = f"{served.url}/configs?config={number}"
    other = page.context.new_page()
    for tab in (page, other):
        show(tab, url)
        tab.get_by_role("heading", name="shared").wait_for(timeout=60 * SECONDS)
        tab.get_by_text("Name, tags and note").click()
    for tab, name in ((page, "mine"), (other, "yours")):
        tab.get_by_label("Name", exact=True).fill(name)
        tab.get_by_role("button", name="Save", exact=True).click()
        tab.get_by_role("heading", name=name, exact=True).wait_for(timeout=60 * SECONDS)
    assert {entry.id: entry.name for entry in configs(store)}[number] == "yours"
    other.get_by_role("button", name="Delete").click()
    other.get_by_text("Deleted yours").wait_for(timeout=60 * SECONDS)
    # the first tab still shows its form
    page.get_by_label("Name", exact=True).fill("too late")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_role("heading", name=hostile.MARK).wait_for(timeout=60 * SECONDS)
    assert page.get_by_text("Traceback").count() == 0
    other.get_by_role("button", name="Undo").click()
    other.get_by_text("Deleted yours").wait_for(state="detached", timeout=60 * SECONDS)
    names = {entry.name for entry in configs(store)}
    assert "yours" in names
    assert not {"too late", "mine", "shared"} & names


def test_rules_say_which_layers_they_match_while_they_are_typed(page, served):
    from playwright.sync_api import expect

    show(page, f"{served.url}/searches?near=")
    page.get_by_text("Device rules").first.click()
    box = page.locator(".st-key-f-rules-text textarea")
    box.click()
    page.keyboard.type("[{layers: layer2.0.*, lock: 8}]")
    # nothing was left and no key says that it is done
    expect(page.get_by_text("3 layers: layer2.0.conv1")).to_be_visible(timeout=60 * SECONDS)
    expect(box).to_be_focused()
    expect(box).to_have_value("[{layers: layer2.0.*, lock: 8}]")
