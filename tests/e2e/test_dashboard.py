"""The dashboard in a real browser: what only a browser can show."""

import json
import re
import socket

import pytest

from tests.e2e.conftest import outside

pytestmark = [
    pytest.mark.e2e,
    # Playwright's event loop is closed by its own driver
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

SECONDS = 1000.0


def settled(page):
    """Wait until the page's script has run and no part of it is stale."""
    from playwright.sync_api import expect

    app = page.get_by_test_id("stApp")
    expect(app).to_have_attribute("data-test-script-state", "notRunning", timeout=60 * SECONDS)
    return page


def heatmap_text(page):
    page.locator(".st-key-heatmap .js-plotly-plot").last.wait_for(timeout=60 * SECONDS)
    return page.locator(".st-key-heatmap text").all_text_contents()


def test_the_budget_slider_moves_by_keyboard_and_the_bits_follow(server, page):
    from playwright.sync_api import expect

    page.goto(f"{server.url}/?ui=basic&bw=70")
    settled(page)
    before = heatmap_text(page)
    thumb = page.get_by_role("slider", name="Weights at most, KiB")
    expect(thumb).to_have_value("70")
    thumb.focus()
    for _ in range(7):
        thumb.press("PageDown")
    expect(page).to_have_url(re.compile(r"[?&]bw=(?!70)"), timeout=60 * SECONDS)
    expect(thumb).not_to_have_value("70")
    page.wait_for_function(
        "before => { const now = [...document.querySelectorAll('.st-key-heatmap text')]"
        ".map(node => node.textContent); return now.length && now.join() !== before }",
        arg=",".join(before),
        timeout=60 * SECONDS,
    )


def test_a_configuration_is_downloaded_and_read_again(server, page, tmp_path):
    from qcore.formats.config import load_bits

    page.goto(server.url)
    settled(page)
    page.get_by_role("button", name=re.compile("Uniform bits")).click(timeout=60 * SECONDS)
    page.get_by_role("tab", name="Where it comes from").click()
    # below the button on the page, so the button has followed the choice when this has
    page.get_by_text(re.compile(r"Run \d+, .*: Uniform bits")).wait_for(timeout=60 * SECONDS)
    with page.expect_download(timeout=60 * SECONDS) as waiting:
        page.get_by_test_id("stDownloadButton").get_by_role("button").first.click()
    path = tmp_path / waiting.value.suggested_filename
    waiting.value.save_as(path)
    assert path.name.startswith("resnet8_4w32a_uniform-bits_")
    assert {bits.weight for bits in load_bits(path).allocation.values()} == {4}


def test_a_foreign_host_is_refused(server):
    request = (
        "GET /_stcore/stream HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request.encode())
        status = connection.recv(64).split(b"\r\n")[0]
    assert b" 403" in status or b" 400" in status


def test_only_this_machine_is_listened_to(server):
    listening = []
    with open("/proc/net/tcp", encoding="ascii") as table:
        for line in table.readlines()[1:]:
            address, state = line.split()[1], line.split()[3]
            host, port = address.split(":")
            if state == "0A" and int(port, 16) == server.port:
                listening.append(host)
    assert set(listening) <= {"0100007F"}


def test_every_chart_and_table_has_words_for_those_who_cannot_see_it(server, page):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{server.url}/?ui=basic")
    settled(page)
    assert "2" in heatmap_text(page)
    for kind in ("stPlotlyChart", "stDataFrame"):
        for element in page.get_by_test_id(kind).all():
            described = element.evaluate(
                "e => [e, ...e.querySelectorAll('*')].some(n => n.getAttribute('aria-label')"
                " || n.getAttribute('alt') || n.getAttribute('aria-describedby'))"
            )
            assert described, kind
    page.goto(server.url)
    settled(page)
    page.locator(".card strong").first.wait_for(timeout=60 * SECONDS)
    for canvas in page.locator("canvas.heat, canvas.front, canvas.area").all():
        assert canvas.get_attribute("aria-label")
    assert re.search(r"Portfolio: -?\d+\.\d\d ±\d", page.get_by_test_id("summary").text_content())
    # one page leads to another
    page.get_by_role("link", name="Searches").click()
    page.get_by_text("What happened").wait_for(timeout=60 * SECONDS)
    assert len(asked) > 5
    assert outside(asked) == set()


def test_the_configuration_is_json(server):
    from store import all_runs, config_text, open_store, points_of

    store = open_store(server.data / "bitdial.db")
    ready = [p for run in all_runs(store) for p in points_of(store, [run.id]) if p.has_config]
    text = config_text(store, ready[0].id)
    assert text is not None
    assert json.loads(text)["format"] == "bitdial-allocation"
