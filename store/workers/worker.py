"""The process that executes one run: lock it, beat, work, obey, and say how it ended.

Started by the supervisor with a pipe as standard input: its end of file means the supervisor is
gone, and the worker ends too. It imports torch only once it has a run to work on.
"""

import importlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from filelock import FileLock, Timeout
from sqlalchemy.exc import SQLAlchemyError

from qcore.errors import DatabaseUnavailable, QcoreError
from qcore.run_spec import RunSpec
from store import bounds
from store.database import Store, open_store
from store.runs import files, queue
from store.settings import read_settings
from store.workers.attempt import Prepare, execute
from store.workers.children import DONE, FAILED, FENCED, LOCKED, PARENT_GONE, UNAVAILABLE

BEAT_S = 2.0
BEATS_A_LEASE = 5
GRACE_S = 3.0
GIVE_BACK_S = 1.0
LOCK_S = 2.0
ORPHANED = "the server stopped; this run goes on when it is back"


class Signals:
    """What this worker was told from outside."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.pause = threading.Event()
        self.parent_gone = threading.Event()
        self.fenced = threading.Event()
        self.over = threading.Event()

    def obey(self, want: str) -> None:
        """Take over what the user wants; a wish to pause can be taken back."""
        if want in ("cancel", "stop"):
            self.stop.set()
        elif want == "pause":
            self.pause.set()
        else:
            self.pause.clear()


def watch_parent(signals: Signals, give_back: Callable[[], object]) -> None:
    """Stop when standard input ends; leave hard if stopping takes longer than three seconds."""
    while True:
        try:
            # os.read, because a buffered read would abort the interpreter at its exit
            if os.read(0, 1) == b"":
                break
        except OSError:
            break
    if hasattr(signal, "setitimer"):
        # the system's own clock ends this process, whatever keeps this thread from its turn
        signal.setitimer(signal.ITIMER_REAL, GRACE_S + GIVE_BACK_S)
    signals.parent_gone.set()
    signals.stop.set()
    if not signals.over.wait(GRACE_S):
        # in a thread, because a database that does not answer must not keep this process alive
        giving = threading.Thread(target=give_back, daemon=True)
        giving.start()
        giving.join(GIVE_BACK_S)
        os._exit(PARENT_GONE)


def keep_beating(
    store: Store, run_id: int, attempt: int, signals: Signals, every_s: float = BEAT_S
) -> None:
    """Beat, and pass on what the user wants, until the work is over or no longer ours."""
    while not signals.over.wait(every_s):
        try:
            signals.obey(queue.beat(store, run_id, attempt))
        except queue.Fenced:
            signals.fenced.set()
            signals.stop.set()
            if not signals.over.wait(GRACE_S):
                os._exit(FENCED)
            return
        except (QcoreError, SQLAlchemyError, OSError) as error:
            # a database that is away for a moment must not end the search
            sys.stderr.write(f"beat: {error}\n")


def default_prepare(spec: RunSpec, **callbacks: Any) -> Any:
    """`qcore.prepare.prepare`, imported now because it brings torch."""
    torch = importlib.import_module("torch")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    cores = importlib.import_module("qcore.rounding.many").idle_cores()
    return importlib.import_module("qcore.prepare").prepare(spec, processes=cores, **callbacks)


def work(
    store: Store,
    run_id: int,
    attempt: int,
    signals: Signals,
    prepare: Prepare | None = None,
    evaluator: str = "inline",
) -> int:
    """Execute one attempt of a run; returns the process's exit code."""
    held = (store, run_id, attempt)

    def opening() -> AbstractContextManager[None]:
        # a file that takes too long would take as long again
        return bounds.as_set(lambda words: queue.finish(*held, "failed", words))

    try:
        outcome = execute(
            store,
            queue.run(store, run_id),
            attempt,
            prepare or partial(default_prepare, opening=opening),
            # looked up at each call: tests put in flags of their own
            stop=lambda: signals.stop.is_set(),
            pause=lambda: signals.pause.is_set(),
            evaluator=evaluator,
        )
        measured = f"{len(outcome.points)} allocations measured"
        if signals.fenced.is_set():
            return FENCED
        if not outcome.stopped:
            queue.finish(*held, "done", measured)
            return DONE
        if signals.parent_gone.is_set():
            queue.requeue(*held, ORPHANED, blameless=True)
            return PARENT_GONE
        # paused, cancelled, or going on after all: as the user wants by now
        queue.requeue(*held, measured, blameless=True)
        return DONE
    except queue.Fenced:
        return FENCED
    except DatabaseUnavailable as error:
        # whoever supervises this run queues it again once the database can be written
        sys.stderr.write(f"{error}\n")
        return UNAVAILABLE
    except QcoreError as error:
        queue.finish(*held, "failed", str(error), traceback.format_exc())
        return FAILED
    except Exception as error:
        words = f"{type(error).__name__}: {error}"
        queue.finish(*held, "failed", words, traceback.format_exc())
        raise


def main(
    url: str | None,
    run_id: int,
    attempt: int,
    *,
    prepare: Prepare | None = None,
    piped: bool = True,
) -> int:
    """The worker process. Returns the exit code.

    Args:
        url: Of the database; None is the one in the environment.
        run_id: The run to work on.
        attempt: The attempt that was claimed for this process.
        prepare: A double of `qcore.prepare.prepare`; None is the real one.
        piped: Whether a supervisor holds the other end of standard input.
    """
    try:
        settings = read_settings()
        store = open_store(url)
        with FileLock(files.run_lock(store, run_id), timeout=LOCK_S):
            signals = Signals()
            signals.obey(queue.beat(store, run_id, attempt, pid=os.getpid()))
            every_s = min(BEAT_S, settings.lease_s / BEATS_A_LEASE)
            beating = threading.Thread(
                target=keep_beating, args=(store, run_id, attempt, signals, every_s), daemon=True
            )
            beating.start()
            if piped:
                give_back = partial(queue.requeue, store, run_id, attempt, ORPHANED, blameless=True)
                threading.Thread(
                    target=watch_parent, args=(signals, give_back), daemon=True
                ).start()
            if piped and hasattr(os, "nice"):
                # the dashboard stays smooth while its workers take what is left. On Linux each
                # thread is nice by itself, and the two above are not: a machine that is busy
                # must not make a worker look dead, or outlive its server
                os.nice(10)
            try:
                return work(store, run_id, attempt, signals, prepare, settings.evaluator)
            finally:
                signals.over.set()
                beating.join(BEAT_S)
    except Timeout:
        return LOCKED
    except queue.Fenced:
        return FENCED
    except (DatabaseUnavailable, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return UNAVAILABLE
