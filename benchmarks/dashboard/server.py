"""A real `streamlit run app.py` of its own, to be measured, and killed in every way there is."""

import itertools
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil

from store import Store, open_store

ROOT = Path(__file__).parents[2]
SETTINGS = ("headless=true", "fileWatcherType=none")
START_S = 120


# below those that systems give to connections going out; far from those of other processes
_PORTS = itertools.count(20_000 + 31 * os.getpid() % 10_000)


def free_port() -> int:
    """A port of this machine that nobody listens on, and that no server here was given before."""
    while True:
        port = next(_PORTS)
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


class Dashboard:
    """One server on one data folder; may be started again after its death.

    Args:
        data: Its folder; every process that works on it is known by it.
        database: URL of a shared database; None is a file in the folder.
        imports: A folder that its processes import from first; None for none.
        more: Further BITDIAL_... settings.
    """

    def __init__(
        self, data: Path, database: str | None = None, *, imports: Path | None = None, **more: str
    ) -> None:
        self.data, self.database = data, database
        kept = {k: v for k, v in os.environ.items() if not k.startswith("BITDIAL_")}
        mine = {"BITDIAL_DATA": str(data), "BITDIAL_RECORDINGS": "no", "OMP_NUM_THREADS": "1"}
        self._environment = {**kept, **mine, **more}
        if imports is not None:
            self._environment["PYTHONPATH"] = str(imports)
        if database is not None:
            self._environment["BITDIAL_DATABASE_URL"] = database
        self.port = free_port()
        self.server: Any = None
        data.mkdir(parents=True, exist_ok=True)

    def start(self) -> "Dashboard":
        """Start it as a user would, in a process group of its own; wait until it answers."""
        self.launch()
        self.wait_until_up()
        return self

    def launch(self) -> None:
        """Start it without waiting."""
        words = [f"--server.{word}" for word in (f"port={self.port}", *SETTINGS)]
        with (self.data / "server.log").open("ab") as log:
            self.server = subprocess.Popen(
                [sys.executable, "-m", "streamlit", "run", "app.py", *words],
                cwd=ROOT,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until_up(self) -> None:
        """Wait until the server answers; fail with its log if it does not."""
        deadline = time.monotonic() + START_S
        while self.server.poll() is None and time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(self.address("http", "_stcore/health"), timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        raise AssertionError((self.data / "server.log").read_text(errors="replace"))

    def address(self, scheme: str, path: str = "") -> str:
        """Where it answers."""
        return f"{scheme}://localhost:{self.port}/{path}"

    def store(self) -> Store:
        """Open its database from here."""
        with patch.dict(os.environ, BITDIAL_DATA=str(self.data)):
            return open_store(self.database or self.data / "bitdial.db")

    def processes(self) -> list[psutil.Process]:
        """Everything alive that works on this folder, whoever started it."""
        found = []
        for process in psutil.process_iter():
            try:
                mine = process.environ().get("BITDIAL_DATA") == str(self.data)
                if mine and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue  # gone meanwhile, or somebody else's
        return found

    def workers(self, run_id: int | None = None) -> list[psutil.Process]:
        """The worker processes, of one run where one is named."""
        found = []
        for process in self.processes():
            try:
                words = process.cmdline()
            except psutil.Error:
                continue
            if "worker" in words and (run_id is None or words[-2] == str(run_id)):
                found.append(process)
        return found

    @property
    def pid(self) -> int:
        """The server's process number."""
        return self.server.pid

    def alive(self) -> bool:
        """Whether the server runs."""
        return self.server is not None and self.server.poll() is None

    def signal(self, number: int, group: bool = False) -> None:
        """Send a signal to the server, or to its group as a terminal does; wait for its end."""
        (os.killpg if group else os.kill)(self.pid, number)
        self.server.wait(30)

    def stop(self) -> None:
        """End whatever is left."""
        if self.alive():
            self.server.kill()
            self.server.wait()
        for process in self.processes():
            process.kill()
