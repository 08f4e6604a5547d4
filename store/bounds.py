"""Bounds on a process while it opens a person's file: memory beyond the program's own, and time.

A file of a few kilobytes can ask for more of both than any machine has.
"""

import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from qcore.errors import InvalidData, QcoreError
from store.settings import OPEN_GB_VARIABLE, OPEN_SECONDS_VARIABLE, open_gb, open_seconds

_REFUSED = re.compile(
    r"allocate memory|not enough memory|out of memory|bad allocation|bad_alloc|more memory than"
)
Opening = Callable[[], AbstractContextManager[None]]
"""Gives what is entered while a person's files are opened; `as_set` is one."""

LATER_S = 5.0
"""What is stuck so deeply that it cannot even say so is ended by the system so much later."""


@contextmanager
def bounded(gigabytes: float, seconds: float, late: Callable[[str], object]) -> Iterator[None]:
    """Open a person's file in the body, within bounds; they hold for this process, all threads.

    Args:
        gigabytes: Address space that it may take beyond what it has now (on Linux), 10^9 bytes.
        seconds: Until the process is ended.
        late: Is told in words before that end; the exit code is 1.

    Raises:
        InvalidData: it asked for more memory; says so and which setting allows more.
    """
    timer = threading.Timer(seconds, _end, (seconds, late))
    timer.daemon = True
    timer.start()
    # a worker may be waiting for an end of its own already
    alarm = hasattr(signal, "setitimer") and not signal.getitimer(signal.ITIMER_REAL)[0]
    if alarm:
        signal.setitimer(signal.ITIMER_REAL, seconds + LATER_S)
    before = _limit_memory(int(gigabytes * 1e9))
    try:
        yield
    except (QcoreError, MemoryError, RuntimeError) as error:
        if not lacked_memory(error):
            raise
        raise InvalidData(memory_words(gigabytes)) from error
    finally:
        timer.cancel()
        if alarm:
            signal.setitimer(signal.ITIMER_REAL, 0)
        if before is not None:
            _set_limit(before)


def as_set(late: Callable[[str], object] | None = None) -> AbstractContextManager[None]:
    """`bounded` as this installation is set; without `late` standard error is told."""
    return bounded(open_gb(), open_seconds(), late or _say)


def _say(words: str) -> None:
    sys.stderr.write(f"{words}\n")
    sys.stderr.flush()


def _end(seconds: float, late: Callable[[str], object]) -> None:
    late(
        f"It took more than {seconds:g} s, and was ended. If the file is sound, raise "
        f"{OPEN_SECONDS_VARIABLE}."
    )
    os._exit(1)


def _limit_memory(more: int) -> int | None:
    """Limit the address space; returns the limit before, or None where none was set."""
    if sys.platform != "linux":
        return None
    import resource

    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    wanted = pages * resource.getpagesize() + more
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if any(limit != resource.RLIM_INFINITY and wanted >= limit for limit in (soft, hard)):
        return None
    _set_limit(wanted)
    return soft


def _set_limit(soft: int) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (soft, resource.getrlimit(resource.RLIMIT_AS)[1]))


def resident_bytes(pid: int) -> int:
    """Memory that a process has in hand; 0 where the system does not say."""
    try:
        words = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
        return int(words[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError, AttributeError):
        return 0


def lacked_memory(error: BaseException) -> bool:
    """Whether an error says that memory was refused; libraries have their own for that."""
    return isinstance(error, MemoryError) or bool(_REFUSED.search(str(error)))


def memory_words(gigabytes: float) -> str:
    """What to tell a person whose file wanted too much memory."""
    return (
        f"It asked for more than {gigabytes:g} GB of memory. If the file is sound, raise "
        f"{OPEN_GB_VARIABLE}."
    )
