"""A Dask cluster on loopback that tests may break and mend."""

import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.dashboard.server import free_port

ROOT = Path(__file__).parents[3]
FAST = {"DASK_DISTRIBUTED__SCHEDULER__WORK_STEALING_INTERVAL": "100ms"}


class ToyCluster:
    """A scheduler and workers, each a process of its own."""

    def __init__(self, folder, **settings):
        self.folder, self.settings = folder, {**FAST, **settings}
        self.port = free_port()
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.scheduler, self.workers, self._number = None, [], 0

    def _start(self, *command):
        self._number += 1
        with (self.folder / f"{self._number}.log").open("w") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=ROOT,
                env={**os.environ, **self.settings, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def start_scheduler(self):
        self.scheduler = self._start(
            "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(self.port),
            "--no-dashboard", "--no-show",
        )  # fmt: skip

    def start_worker(self, *options):
        worker = self._start(
            "distributed.cli.dask_worker", self.address, "--host", "127.0.0.1", "--nthreads", "1",
            "--no-nanny", "--no-dashboard", "--memory-limit", "0", "--local-directory",
            str(self.folder), "--name", f"toy-{self._number}", *options,
        )  # fmt: skip
        self.workers.append(worker)

    def ready(self, workers=2):
        """Mend what an earlier test broke, down or up to so many workers, and wait for them."""
        if self.scheduler is None or self.scheduler.poll() is not None:
            self.stop()
            self.start_scheduler()
        self.workers = [w for w in self.workers if w.poll() is None]
        while len(self.workers) < workers:
            self.start_worker()
        while len(self.workers) > workers:
            self.kill_worker()
        self.wait_for(workers)
        return self

    def client(self):
        """A connection of the test's own."""
        from distributed import Client

        return Client(self.address, timeout=60, set_as_default=False)

    def wait_for(self, workers, seconds=60):
        with self.client() as client:
            until = time.monotonic() + seconds
            while len(client.scheduler_info(n_workers=-1)["workers"]) != workers:
                assert time.monotonic() < until, "the workers did not come"
                time.sleep(0.05)

    def kill_worker(self):
        worker = self.workers.pop()
        worker.kill()
        worker.wait()

    def kill_scheduler(self):
        self.scheduler.kill()
        self.scheduler.wait()

    def stop(self):
        while self.workers:
            self.kill_worker()
        if self.scheduler is not None:
            self.kill_scheduler()
