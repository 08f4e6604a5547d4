"""What passes the door, layer by layer, on an application that says yes to everything."""

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pages.door.headers import Headers, policy
from pages.door.origins import OwnPages, is_own
from pages.door.token import Token

ROOT = Path(__file__).parents[3]
SECRET = "0123456789abcdef-SECRET"
HOST = "localhost:8501"


async def says_yes(scope, receive, send):
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    headers = [(b"content-type", b"text/html"), (b"X-Frame-Options", b"ALLOWALL")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"yes"})


def ask(layer, path="/", query="", kind="http", **headers):
    """The first message of the answer, and its headers."""
    given = {"host": HOST, **headers}
    scope = {
        "type": kind,
        "scheme": "http",
        "path": path,
        "query_string": query.encode(),
        "headers": [(k.replace("_", "-").encode(), v.encode("latin-1")) for k, v in given.items()],
    }
    sent = []

    async def receive():
        return {"type": f"{kind}.connect"}

    async def send(message):
        sent.append(message)

    # the thread may have a loop already: a browser's, where its tests run in the same process
    with ThreadPoolExecutor(1) as other:
        other.submit(asyncio.run, layer(scope, receive, send)).result()
    return sent[0], {k.decode(): v.decode() for k, v in sent[0].get("headers", ())}


def opened(first):
    return first.get("status") == 200 or first["type"] == "websocket.accept"


def test_every_answer_refuses_frames_and_guesses_and_foreign_content():
    first, headers = ask(Headers(says_yes, policy("<script>let a = 1</script>")))
    assert first["status"] == 200
    assert [value for name, value in headers.items() if name.lower() == "x-frame-options"] == [
        "DENY"
    ]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    rules = dict(rule.split(" ", 1) for rule in headers["content-security-policy"].split("; "))
    assert rules["frame-ancestors"] == rules["object-src"] == "'none'"
    # no script that somebody wrote into a page, and no text that becomes one
    assert "unsafe" not in rules["script-src"]
    assert not any(word in value for value in rules.values() for word in ("*", "http", "ws:"))


def test_the_policy_knows_the_scripts_of_the_first_page_by_the_hash_that_the_standard_names():
    # CSP level 3, section 8.3: 'sha256-' and base64 of the digest of the script's text
    found = policy("<head><script>alert('Hello, world.');</script></head>")
    assert "'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='" in found


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("origin", "host", "own"),
    [
        ("http://localhost:8501", HOST, True),
        ("HTTP://LOCALHOST:8501".lower(), "LOCALHOST:8501", True),
        ("http://127.0.0.1:8501", "127.0.0.1:8501", True),
        ("https://bits.example", "bits.example", True),
        ("http://localhost:9999", HOST, False),
        ("http://localhost", HOST, False),
        ("http://127.0.0.1:8501", HOST, False),
        ("http://evil.example", HOST, False),
        ("http://localhost:8501.evil.example", HOST, False),
        ("http://localhost:8501@evil.example", HOST, False),
        ("null", HOST, False),
        ("", HOST, False),
        ("", "", False),
        ("file://", "", False),
        ("http://[", HOST, False),
        ("ftp://localhost:8501", HOST, False),
    ],
)
def test_only_pages_of_this_host_and_port_come_in(origin, host, own, kind):
    first, _ = ask(OwnPages(says_yes), kind=kind, origin=origin, host=host)
    assert opened(first) is own
    assert is_own(origin, host) is own


def test_a_program_without_an_origin_and_an_origin_that_was_named_come_in():
    assert opened(ask(OwnPages(says_yes), kind="websocket")[0])
    layer = OwnPages(says_yes, ["https://bits.example/"])
    assert opened(ask(layer, origin="https://bits.example", host="inner:8501")[0])
    assert not opened(ask(layer, origin="http://bits.example", host="inner:8501")[0])


def test_without_a_token_set_everybody_comes_in():
    assert opened(ask(Token(says_yes, ""))[0])


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("path", ["/", "/searches", "/_stcore/stream", "/media/x", "/healthz"])
def test_without_the_token_nothing_is_answered(kind, path):
    assert not opened(ask(Token(says_yes, SECRET), path, kind=kind)[0])
    wrong = {"query": "token=wrong", "cookie": "bitdial-8501=wrong", "authorization": "Bearer x"}
    assert not opened(ask(Token(says_yes, SECRET), path, kind=kind, **wrong)[0])


def test_the_health_of_the_server_is_told_to_all():
    assert opened(ask(Token(says_yes, SECRET), "/_stcore/health")[0])


def test_the_first_address_gives_a_cookie_that_opens_pages_and_connections():
    layer = Token(says_yes, SECRET)
    first, headers = ask(layer, "/compare", f"model=a%20b&token={SECRET}&x=1")
    assert first["status"] == 303
    assert headers["location"] == "/compare?model=a+b&x=1"
    cookie, *rules = headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(rules)
    assert SECRET not in headers["set-cookie"]
    for kind in ("http", "websocket"):
        assert opened(ask(layer, kind=kind, cookie=f"other=1; {cookie}; odd={{]")[0])
    # of another dashboard of this host, on another port or with another token
    assert not opened(ask(layer, cookie=cookie, host="localhost:8502")[0])
    assert not opened(ask(Token(says_yes, SECRET + "x"), cookie=cookie)[0])


def test_a_program_comes_in_with_its_token_in_a_header():
    assert opened(ask(Token(says_yes, SECRET), authorization=f"Bearer {SECRET}")[0])


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_the_way_on_from_the_first_address_never_leaves_this_server(path):
    layer = Token(says_yes, SECRET)
    _, headers = ask(layer, "/" + path, f"token={SECRET}&next={quote(path)}")
    place = headers["location"]
    assert place.isascii()
    assert place.isprintable()
    assert place[0] == "/"
    assert place[1:2] not in ("/", "\\")


STARTS = """
import os
from streamlit import config
import app
print(oct(os.umask(0)))
for address, token in (("0.0.0.0", ""), ("", ""), ("0.0.0.0", "{secret}"), ("localhost", "short")):
    os.environ["BITDIAL_TOKEN"] = token
    config.set_option("server.address", address)
    try:
        print("starts with", app.door_token())
    except SystemExit as end:
        print(end)
"""


def test_a_server_that_others_reach_does_not_start_without_a_token():
    words = [sys.executable, "-c", STARTS.format(secret=SECRET)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    # files that the server and its workers make are their owner's
    umask, *lines = done.stdout.splitlines()
    assert umask == "0o77", done.stderr
    assert ["BITDIAL_TOKEN" in line for line in lines] == [True, True, False, True]
    assert lines[2] == f"starts with {SECRET}"
