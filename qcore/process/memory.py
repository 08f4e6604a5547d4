"""Keeps freed memory for the next tensor, and gives it back to the system between the phases.

A CPU evaluation allocates the same few megabytes again and again. By default the C library returns
each such block at once, and the system clears every page of the next one: two fifths of the time of
scoring a small network.
"""

import ctypes
import sys

KEEP_BYTES = 1 << 30
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Names of glibc's malloc.h."""


def keep_freed_memory() -> bool:
    """Let this process keep what it frees, up to 1 GiB; True where the C library can be told.

    Only glibc can: elsewhere nothing is done. Call it before other threads allocate.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    wishes = ((M_MMAP_THRESHOLD, KEEP_BYTES), (M_TRIM_THRESHOLD, KEEP_BYTES), (M_ARENA_MAX, 1))
    done = [mallopt(name, value) == 1 for name, value in wishes]
    return all(done)


def give_back_freed_memory() -> bool:
    """Return what this process has freed and kept to the system; True where it can be told to.

    Between phases whose tensors are of other sizes: what one leaves in pieces serves the next one
    little, and both together would be the most that the process takes.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):  # another C library
        return False
    return bool(trim(0) in (0, 1))
