import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlparse

import psutil
import pytest
from filelock import FileLock

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
    # pages of one window share a process, which knows the dashboard's scripts after the first
    "--process-per-site",
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
    """A dashboard for tests that only read: one for all processes that run tests side by side.

    It has results of resnet8, and knows a network of 1,002 layers and one with hostile names.
    """
    base = tmp_path_factory.getbasetemp()
    parallel = "PYTEST_XDIST_WORKER" in os.environ
    with shared(base.parent / "reading" if parallel else base / "reading", read_only) as running:
        yield running


@contextmanager
def read_only(data: Path) -> Iterator[Server]:
    from store import open_store
    from tests.e2e import networks
    from tests.pages import sample

    data.mkdir(parents=True)
    sample.fill(open_store(data / "bitdial.db"))
    networks.fill(data)
    with serve(data) as running:
        yield running


@contextmanager
def shared(
    folder: Path, start: Callable[[Path], AbstractContextManager[Server]]
) -> Iterator[Server]:
    """Start a server, or use what another process has started; who started it leaves last."""
    users, told = folder / "users", folder / "server.json"
    users.mkdir(parents=True, exist_ok=True)
    mine = users / str(os.getpid())
    with ExitStack() as stack:
        with FileLock(folder / "lock"):
            owner = not told.exists()
            if owner:
                one = stack.enter_context(start(folder / f"data {os.getpid()}"))
                told.write_text(json.dumps([one.url, one.port, str(one.data)]))
            url, port, data = json.loads(told.read_text())
            mine.touch()
        try:
            yield Server(url, port, Path(data))
        finally:
            mine.unlink()
        if owner:
            with FileLock(folder / "lock"):
                # who comes from now on starts one of its own
                told.unlink()
            while any(_alive(int(user.name)) for user in users.iterdir()):
                time.sleep(0.2)


def _alive(process: int) -> bool:
    """Whether it still runs: one that crashed is there until whoever started it has noticed."""
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="session")
def tabs(browser):
    """One window for all pages, so that scripts of the dashboard are read and compiled once."""
    # what moves is drawn all the time, on the cores of the server that is waited for
    context = browser.new_context(viewport={"width": 1400, "height": 1000}, reduced_motion="reduce")
    context.set_default_timeout(WAIT_MS)
    # of the dashboard's site, whatever its port: their process lasts as long as this page is open
    keeper = context.new_page()
    keeper.route("**/*", lambda route: route.fulfill(body="", content_type="text/html"))
    keeper.goto("http://localhost/")
    yield context
    context.close()


FORGET = "() => { try { localStorage.clear(); } catch { /* a page that keeps nothing */ } }"


@pytest.fixture
def page(tabs):
    """A browser page that knows nothing of others; the test fails if its own code complains."""
    opened = tabs.new_page()
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))

    def listen(line) -> None:
        # on a deep link Streamlit first looks for its own endpoints below the page's path
        probing = "/_stcore/" in line.location.get("url", "") and "404" in line.text
        if line.type == "error" and not probing:
            complaints.append(line.text)

    opened.on("console", listen)
    yield opened
    for one in tabs.pages[1:]:
        # one that is on its way somewhere has nowhere to forget yet
        one.wait_for_load_state()
        one.evaluate(FORGET)
        one.close()
    tabs.clear_cookies()
    assert complaints == []
