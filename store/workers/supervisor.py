"""Starts one worker process per queued run, and sees to it that none is lost or left over.

One thread per server, in charge while it holds the leader lock of its database; a second server on
the same data folder stands by. Workers are plain subprocesses: `multiprocessing` inside a Streamlit
server would run the page again in the child.

A run whose worker is gone goes back to the queue: at once where the run's file lock is free (same
host), after the lease where the beat stands still (stuck here, or on another host). Every such
decision names the attempt it saw, so two supervisors never queue each other's runs.
"""

import logging
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

from filelock import FileLock, Timeout

from qcore.errors import Damaged
from store.database import Store
from store.runs import files, lease, queue
from store.runs.lease import Open
from store.settings import DEFAULT_TRIES, WORKERS_VARIABLE, read_settings
from store.workers import children, slots
from store.workers.beats import Beats
from store.workers.children import Child
from store.workers.rests import Rests

TICK_S = 0.3
CLOSE_AFTER_S = 2.0
KILL_AFTER_S = 10.0
STOP_WAIT_S = 5.0
NOT_ITS_OWN = frozenset(
    (
        children.PARENT_GONE,
        children.LOCKED,
        children.UNAVAILABLE,
        *(-number for number in (1, 2, 14, 15)),
    )
)
"""How a worker ends for what its run did not do: it lost its server or the database, a disk is
full, or the machine shuts down."""

STOPPED = "the server stopped; this run goes on when it is back"

Command = Callable[[int, int], list[str]]


def worker_command(run_id: int, attempt: int) -> list[str]:
    """Command line of the real worker; it finds the database in its environment."""
    return [sys.executable, "-m", "store", "worker", str(run_id), str(attempt)]


class Supervisor:
    """Supervises the workers of one data folder.

    Args:
        store: The open database.
        cap: Most workers at once; None is the setting, and at least one a graphics card.
        command: (run number, attempt) -> command line of its worker; None is the real one.
        tick_s: Seconds between two looks.
        lease_s: Seconds without a beat after which a worker is lost; None is the setting.
        gpus: Cards, named as CUDA_VISIBLE_DEVICES does; None is those found here.
        host: Who we are; None is this machine and folder.
        tries: Workers in a row that may end by themselves without a point; None is the setting.
    """

    def __init__(
        self,
        store: Store,
        cap: int | None = None,
        command: Command | None = None,
        tick_s: float = TICK_S,
        lease_s: float | None = None,
        gpus: Sequence[str] | None = None,
        host: str | None = None,
        tries: int | None = None,
    ) -> None:
        self.store = store
        self.cap, self.gpus, self.tries = cap, gpus, tries
        self._command = command or worker_command
        self._tick_s, self._lease_s = tick_s, lease_s
        self._host = host or lease.host_name(store)
        self._lock: FileLock | None = None
        self._beats: Beats | None = None
        self._children: dict[int, Child] = {}
        self._rests = Rests()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._complaints: dict[str, str] = {}
        self.leading = False

    def start(self) -> None:
        """Start supervising in a thread of its own."""
        self._thread = threading.Thread(target=self._loop, name="supervisor", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End every worker, put their runs back into the queue, and give up the lock."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _loop(self) -> None:
        try:
            while not self._stopping.wait(self._tick_s):
                self._guarded(self._step)
        finally:
            self._end_children()
            if self.leading and self._lock is not None:
                self._lock.release()
            self.leading = False

    def _guarded(self, step: Callable[[], None], about: str = "") -> None:
        """Nothing that goes wrong in one step ends supervision; the next step tries again."""
        try:
            step()
            self._complaints.pop(about, None)
        except Exception as error:
            words = f"{type(error).__name__}: {error}"
            if words != self._complaints.get(about):
                logging.getLogger("bitdial").exception("supervisor: %s%s", about, words)
            self._complaints[about] = words

    def _each(self, run_id: int, step: Callable[[], None]) -> None:
        """A step of one run: what goes wrong in it keeps no other run from being looked at."""
        self._guarded(step, f"run {run_id}: ")

    def _step(self) -> None:
        if not self.leading:
            self.leading = self._lead()
        if self.leading:
            self._tick(self._beats or self._begin())

    def _lead(self) -> bool:
        self._lock = self._lock or FileLock(files.leader_lock(self.store), timeout=0)
        try:
            self._lock.acquire()
        except Timeout:
            return False
        return True

    def _begin(self) -> Beats:
        """Read the settings and sweep up, once this is the server in charge."""
        settings = read_settings()
        if self.gpus is None:
            self.gpus = slots.find_gpus(settings.gpus)
        if self.cap is None:
            given = slots.is_set(WORKERS_VARIABLE)
            self.cap = settings.workers if given else max(settings.workers, len(self.gpus))
        self.tries = settings.tries if self.tries is None else self.tries
        # first the files, then the runs: one made in between is in the second list only
        left = files.leftovers(self.store)
        for run_id in left - queue.run_ids(self.store) if left else ():
            files.remove_files(self.store, run_id)
        self._beats = Beats(settings.lease_s if self._lease_s is None else self._lease_s)
        return self._beats

    def _tick(self, beats: Beats) -> None:
        seen = {run.id: run for run in lease.open_runs(self.store)}
        beats.look(run for run in seen.values() if run.state == "running")
        lost = [run for run in seen.values() if run.state == "running" and not self._has(run)]
        for run_id, child in list(self._children.items()):
            self._each(run_id, partial(self._look, run_id, child, seen.get(run_id), beats))
        for run in lost:
            self._each(run.id, partial(self._give_up, run, beats))
        self._fill([run for run in seen.values() if run.state == "queued"])

    def _look(self, run_id: int, child: Child, run: Open | None, beats: Beats) -> None:
        if child.process.poll() is None:
            self._press(child, run, beats)
        else:
            self._reap(run_id, child)
            del self._children[run_id]

    def _has(self, run: Open) -> bool:
        child = self._children.get(run.id)
        return child is not None and child.attempt == run.attempt

    def _press(self, child: Child, run: Open | None, beats: Beats) -> None:
        """End a worker that is not wanted any more, or that is stuck."""
        if run is None or run.state != "running" or run.attempt != child.attempt:
            if child.waited() > KILL_AFTER_S:
                child.kill("its run is over or another worker's")
        elif run.want == "stop":
            child.kill("stopped on request")
        elif beats.silent(run):
            child.kill(f"gave no sign of life for {beats.patience(run):g} s")
        elif run.want != "cancel":
            child.asked = None
        elif child.waited() > KILL_AFTER_S:
            child.kill("did not stop when asked to")
        elif child.waited() > CLOSE_AFTER_S:
            child.close()

    def _reap(self, run_id: int, child: Child) -> None:
        child.close()
        found = next((r for r in lease.open_runs(self.store) if r.id == run_id), None)
        if found is None or found.state != "running" or found.attempt != child.attempt:
            return
        said = children.last_words(child.log)
        code = child.process.returncode
        why = child.killed or _meaning(code, said)
        if code == children.UNAVAILABLE:
            self._rests.begin(run_id)
        if code in NOT_ITS_OWN and not child.killed:
            self._without_blame(found, f"its worker ended ({why})")
        else:
            self._again(found, f"its worker ended ({why})", said, children.log_tail(child.log))

    def _give_up(self, run: Open, beats: Beats) -> None:
        """Queue a running run again whose worker is not ours, once that is surely gone."""
        silent = beats.silent(run)
        if run.host != self._host:
            if silent:
                silence = f"{run.host} gave no sign of life for {beats.patience(run):g} s"
                self._without_blame(run, silence)
        elif self._is_worked_on(run.id):
            if silent and run.pid is not None:
                # it holds the run's lock, so the number is still its own
                children.kill_group(run.pid)
        elif run.pid is not None or run.device is not None or silent:
            # else somebody started it by hand this moment, and it has yet to take its lock
            self._without_blame(run, "its worker was lost with its server")

    def _without_blame(self, run: Open, why: str) -> None:
        """Queue a run again that was ended by something else: a power cut, another host's death."""
        words = f"{why}; queued again"
        queue.requeue(self.store, run.id, run.attempt, words, blameless=True)

    def _again(self, run: Open, why: str, said: str = "", log: str | None = None) -> None:
        """Queue a run again whose own worker ended, unless that has led nowhere too often."""
        if run.want != "run" or run.idle_attempts < (self.tries or DEFAULT_TRIES):
            queue.requeue(self.store, run.id, run.attempt, f"{why}; queued again")
            return
        last = f" Its last words: {said}." if said else ""
        words = (
            f"It was tried {run.idle_attempts} times in a row without measuring anything: {why}."
            f"{last} What it had measured before is kept; remove the cause and resume it."
        )
        with suppress(queue.Fenced):
            queue.finish(self.store, run.id, run.attempt, "failed", words, log)

    def _is_worked_on(self, run_id: int) -> bool:
        """Whether a process holds the run's lock: exact on one host, whoever started it."""
        try:
            with FileLock(files.run_lock(self.store, run_id), timeout=0):
                return False
        except Timeout:
            return True

    def _fill(self, queued: Sequence[Open]) -> None:
        """Start workers for queued runs while there is room."""
        for run in queued:
            if len(self._children) >= (self.cap or 1):
                return
            if run.id in self._children or self._is_worked_on(run.id):
                continue  # its last worker is still ending
            if self._rests.resting(run.id):
                continue
            self._each(run.id, partial(self._begin_run, run.id))

    def _begin_run(self, run_id: int) -> None:
        gpus = self.gpus or ()
        try:
            wanted = queue.run(self.store, run_id).spec.device
        except Damaged as error:
            claimed = lease.claim(self.store, self._host, run_id=run_id)
            if claimed is not None:
                queue.finish(self.store, *claimed, "failed", str(error))
            return
        slot = slots.choose_slot(wanted, gpus, [c.slot for c in self._children.values()])
        claimed = lease.claim(self.store, self._host, slot, run_id=run_id)
        if claimed is not None:
            self._spawn(*claimed, slot, gpus)

    def _spawn(self, run_id: int, attempt: int, slot: str, gpus: Sequence[str]) -> None:
        threads = slots.threads_of(self.cap or 1)
        env: Mapping[str, str] = slots.worker_environment(
            slot, gpus, threads, self.store.url, self.store.folder
        )
        command = self._command(run_id, attempt)
        try:
            log = files.log_file(self.store, run_id, attempt)
            self._children[run_id] = children.start(command, env, log, attempt, slot)
        except OSError as error:
            words = f"Its worker could not be started: {error}. Remove the cause and resume it."
            queue.finish(self.store, run_id, attempt, "failed", words)

    def _end_children(self) -> None:
        for child in self._children.values():
            child.close()
        waiting = threading.Event()
        for _ in range(int(STOP_WAIT_S / 0.05)):
            if all(child.process.poll() is not None for child in self._children.values()):
                break
            waiting.wait(0.05)
        for run_id, child in self._children.items():
            if child.process.poll() is None:
                child.kill("the server stopped")
                child.process.wait()
            self._guarded(lambda i=run_id, a=child.attempt: self._back(i, a))  # type: ignore[misc]
        self._children.clear()

    def _back(self, run_id: int, attempt: int) -> None:
        queue.requeue(self.store, run_id, attempt, STOPPED, blameless=True)


def _meaning(code: int, said: str) -> str:
    """An exit code in words."""
    known = {
        -9: "killed, probably out of memory",
        children.UNAVAILABLE: said,
        children.LOCKED: "another process still works on this run",
        children.PARENT_GONE: "it lost its server",
        **dict.fromkeys((-1, -2, -15), "told to end from outside"),
    }
    return known.get(code) or f"exit code {code}"
