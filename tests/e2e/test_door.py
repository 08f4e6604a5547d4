"""A real server tells browsers what it is not, and lets no other site's page in."""

import http.client
import json

import pytest

from tests.e2e.conftest import outside

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore::ResourceWarning")]

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def ask(server, path, **headers):
    connection = http.client.HTTPConnection("localhost", server.port, timeout=20)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = b"" if answer.status == 101 else answer.read()
        return answer.status, dict(answer.getheaders()), body
    finally:
        connection.close()


@pytest.mark.parametrize("path", ["/", "/searches", "/media/nothing", "/_stcore/health", "/no.js"])
def test_every_answer_forbids_frames(server, path):
    headers = ask(server, path)[1]
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]


def test_no_origin_is_told_to_pages_as_one_to_obey(server):
    assert json.loads(ask(server, "/_stcore/host-config")[2])["allowedOrigins"] == []


def test_only_the_servers_own_pages_connect(server):
    foreign = ("http://localhost:9999", "http://127.0.0.1:9999", "http://evil.example", "null")
    for origin in foreign:
        assert ask(server, "/_stcore/stream", Origin=origin, **UPGRADE)[0] == 403
    assert ask(server, "/_stcore/stream", Origin=server.url, **UPGRADE)[0] == 101


@pytest.mark.slow  # the tests of each page see the same complaints, on what they open
def test_all_pages_load_under_the_policy(server, page):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    for name in ("", "searches", "compare", "workbench", "models", "configs", "guide", "settings"):
        page.goto(f"{server.url}/{name}")
        page.get_by_test_id("stApp").wait_for()
        page.locator("[data-test-script-state='notRunning']").first.wait_for()
    assert not outside(asked)
