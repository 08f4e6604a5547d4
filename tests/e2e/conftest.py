import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlparse

import pytest

from benchmarks.dashboard.server import free_port

ROOT = Path(__file__).parents[2]
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
START_SECONDS = 120
WAIT_MS = 60_000.0
"""Nothing is waited for longer; what is there is seen at once."""


@dataclass(frozen=True)
class Server:
    """A dashboard of its own: a free port, an empty folder."""

    url: str
    port: int
    data: Path


def missing(what: str) -> None:
    """Skip on a developer's machine; fail where everything was meant to be installed."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


def outside(asked: Iterable[str]) -> set[str]:
    """Those of the addresses that are not on this machine."""
    return {
        url
        for url in asked
        if urlparse(url).scheme in {"http", "https", "ws", "wss"}
        and urlparse(url).hostname not in {"localhost", "127.0.0.1"}
    }


@contextmanager
def serve(data: Path, **more: str) -> Iterator[Server]:
    """Run `streamlit run app.py` as a user would, and stop it as a user would."""
    port = free_port()
    environment = {**os.environ, "BITDIAL_DATA": str(data), "BITDIAL_RECORDINGS": "no", **more}
    environment.pop("BITDIAL_DATABASE_URL", None)
    data.mkdir(parents=True, exist_ok=True)
    settings = {"port": port, "headless": "true", "fileWatcherType": "none"}
    words = [f"--server.{name}={value}" for name, value in settings.items()]
    with (data / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", "app.py", *words],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until_up(process, port, data / "server.log")
        yield Server(f"http://localhost:{port}", port, data)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_up(process: subprocess.Popen, port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"The server ended: {log.read_text(errors='replace')}")
        try:
            with urllib.request.urlopen(f"http://localhost:{port}/_stcore/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    pytest.fail(f"No server after {START_SECONDS} s: {log.read_text(errors='replace')}")


@pytest.fixture(scope="session")
def browser():
    try:
        from playwright.sync_api import Error, expect, sync_playwright
    except ImportError:
        missing("playwright is not installed")
    expect.set_options(timeout=WAIT_MS)
    names = ("chromium", "chromium-browser", "google-chrome")
    path = os.environ.get("E2E_BROWSER") or next(filter(None, map(shutil.which, names)), None)
    with sync_playwright() as playwright:
        try:
            opened = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        except Error as error:
            missing(f"no browser could be started: {error}")
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory) -> Iterator[Server]:
    """A dashboard that has results of resnet8 already."""
    from store import open_store
    from tests.pages import sample

    data = tmp_path_factory.mktemp("filled")
    sample.fill(open_store(data / "bitdial.db"))
    with serve(data) as running:
        yield running


@pytest.fixture
def page(browser):
    """A browser page; the test fails if the page's own code complains."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    context.set_default_timeout(WAIT_MS)
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))

    def listen(line) -> None:
        # on a deep link Streamlit first looks for its own endpoints below the page's path
        probing = "/_stcore/" in line.location.get("url", "") and "404" in line.text
        if line.type == "error" and not probing:
            complaints.append(line.text)

    opened.on("console", listen)
    yield opened
    context.close()
    assert complaints == []
