"""A worker process as its supervisor holds it: started, asked to end by its pipe, killed."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

DONE, FAILED, UNAVAILABLE, PARENT_GONE, LOCKED, FENCED = 0, 1, 74, 75, 76, 77
"""Exit codes of a worker: ended as its run says, failed and said so, could not write results, lost
its server, found another process at work on the run, found itself given up for dead."""

LOG_TAIL = 4096
LINE_LENGTH = 300
ROOT = Path(__file__).parents[2]


@dataclass
class Child:
    """A worker process.

    Attributes:
        attempt: The attempt it works on.
        process: The process; its standard input is the pipe whose end tells it to end.
        log: File of its output.
        slot: What it computes on, from `slots`.
        killed: Why the supervisor killed it; "" while it did not.
        asked: Monotonic second at which it was first expected to end.
    """

    attempt: int
    process: "subprocess.Popen[bytes]"
    log: Path
    slot: str
    killed: str = ""
    asked: float | None = field(default=None)

    def waited(self) -> float:
        """Seconds since it was first expected to end."""
        if self.asked is None:
            self.asked = time.monotonic()
        return time.monotonic() - self.asked

    def close(self) -> None:
        """Close its pipe: it stops, or leaves hard within a few seconds."""
        if self.process.stdin is not None and not self.process.stdin.closed:
            self.process.stdin.close()

    def kill(self, why: str) -> None:
        """Kill it with whatever it started."""
        self.killed = self.killed or why
        kill_group(self.process.pid)
        if self.process.poll() is None:
            self.process.kill()


def start(
    command: Sequence[str], env: Mapping[str, str], log: Path, attempt: int, slot: str
) -> Child:
    """Start a worker.

    Raises:
        OSError: the process or its log file could not be made.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=dict(env),
            # Ctrl-C in the server's terminal is the server's business
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
    return Child(attempt, process, log, slot)


def kill_group(pid: int) -> None:
    """Kill a worker and the processes it started; one that is gone already is fine."""
    try:
        if not hasattr(os, "killpg"):
            os.kill(pid, signal.SIGTERM)
        elif os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
        else:  # one started by hand shares the group of its terminal's other programs
            os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def log_tail(log: Path) -> str:
    """The end of a worker's output."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - LOG_TAIL))
            return stream.read().decode(errors="replace")
    except OSError:
        return ""


def last_words(log: Path) -> str:
    """The last line of a worker's output; "" where it wrote none."""
    lines = [line.strip() for line in log_tail(log).splitlines()]
    said = [line for line in lines if line]
    return said[-1][:LINE_LENGTH] if said else ""
