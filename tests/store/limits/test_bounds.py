"""What opens a person's file is ended at its bounds, and says which one it was."""

import resource
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from qcore.errors import InvalidData
from store import bounds

ROOT = Path(__file__).parents[3]


def held(gigabytes, seconds, then):
    code = (
        "import sys\nfrom store import bounds\n"
        f"with bounds.bounded({gigabytes}, {seconds}, lambda words: print(words, flush=True)):\n"
        + textwrap.indent(then, "    ")
    )
    words = [sys.executable, "-c", code]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60)


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux only")
def test_memory_beyond_the_bound_is_refused_and_less_is_not():
    fits = "bytearray(200 << 20)\n"
    try_more = (
        "try: bytearray(2 << 30)\nexcept MemoryError as error: print(bounds.lacked_memory(error))"
    )
    assert held(1, 60, fits + try_more).stdout == "True\n"


def test_what_never_ends_is_ended():
    began = time.monotonic()
    done = held(1, 0.5, "while True: pass")
    assert done.returncode == 1
    assert "BITDIAL_OPEN_S" in done.stdout
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    "words",
    [
        "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried "
        "to allocate 36000000000000 bytes.",
        "std::bad_alloc",
        "CUDA out of memory. Tried to allocate 2 GiB",
    ],
)
def test_libraries_that_lack_memory_are_understood(words):
    assert bounds.lacked_memory(RuntimeError(words))
    assert not bounds.lacked_memory(RuntimeError("The sizes of tensors must match"))


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux only")
def test_bounds_end_with_what_they_bound_and_lack_of_memory_is_said_in_words():
    limit, alarm = resource.getrlimit(resource.RLIMIT_AS), signal.getitimer(signal.ITIMER_REAL)
    words = r"more than 0\.5 GB.*BITDIAL_OPEN_GB"
    with pytest.raises(InvalidData, match=words), bounds.bounded(0.5, 60, print):
        bytearray(1 << 30)
    with pytest.raises(KeyError), bounds.bounded(0.5, 60, print):
        raise KeyError("its own errors pass")
    assert resource.getrlimit(resource.RLIMIT_AS) == limit
    assert signal.getitimer(signal.ITIMER_REAL) == alarm
    assert len(bytearray(1 << 30)) == 1 << 30
