"""Bounds on the process that opens a person's file: memory beyond the program's own, and time.

A file of a few kilobytes can ask for more of both than any machine has.
"""

import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from store.settings import OPEN_GB_VARIABLE, OPEN_SECONDS_VARIABLE

_REFUSED = re.compile(r"allocate memory|not enough memory|out of memory|bad allocation|bad_alloc")
LATER_S = 5.0
"""What is stuck so deeply that it cannot even say so is ended by the system so much later."""


def hold(gigabytes: float, seconds: float, late: Callable[[str], object]) -> None:
    """Bound this process from here on.

    Args:
        gigabytes: Address space that it may take beyond what it has now (on Linux), 10^9 bytes.
        seconds: Until it is ended.
        late: Is told in words before the end; the exit code is 1.
    """
    _limit_memory(int(gigabytes * 1e9))

    def end() -> None:
        late(
            f"It took more than {seconds:g} s, and was ended. If the file is sound, raise "
            f"{OPEN_SECONDS_VARIABLE}."
        )
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds + LATER_S)


def _limit_memory(more: int) -> None:
    if sys.platform != "linux":
        return
    import resource

    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    wanted = pages * resource.getpagesize() + more
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    if hard == resource.RLIM_INFINITY or wanted < hard:
        resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))


def lacked_memory(error: BaseException) -> bool:
    """Whether an error says that memory was refused; libraries have their own for that."""
    return isinstance(error, MemoryError) or bool(_REFUSED.search(str(error)))


def memory_words(gigabytes: float) -> str:
    """What to tell a person whose file wanted too much memory."""
    return (
        f"It asked for more than {gigabytes:g} GB of memory. If the file is sound, raise "
        f"{OPEN_GB_VARIABLE}."
    )
