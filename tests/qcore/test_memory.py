"""Freed memory is kept for the next tensor where the C library can be told to."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import resource, sys
import numpy as np
from qcore.process.memory import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
np.ones(4_000_000).sum()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    np.ones(4_000_000).sum()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(mode):
    words = [sys.executable, "-c", PROGRAM, mode]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_the_system_is_hardly_asked_for_pages_once_memory_is_kept():
    assert page_faults("kept") < page_faults("as it comes") / 10


HOLES = """
import numpy as np
from qcore.process.memory import give_back_freed_memory, keep_freed_memory

def resident():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if "VmRSS" in line)

keep_freed_memory()
pieces = [np.ones(250_000) for _ in range(40)]
pieces = pieces[1::2]  # what is freed lies between what stays
before = resident()
assert give_back_freed_memory()
print(before - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_freed_memory_between_kept_tensors_is_given_back():
    done = subprocess.run(
        [sys.executable, "-c", HOLES], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) > 0.8 * 20 * 250_000 * 8 / 1024
