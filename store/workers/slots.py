"""Which graphics card a worker gets, and the environment that makes it keep to that.

The server never imports torch, so cards are counted by asking nvidia-smi. A worker sees only its
own card, as cuda:0.
"""

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from qcore.data_folder import FOLDER_VARIABLE
from store.database.locations import URL_VARIABLE

CPU = "cpu"
VISIBLE = "CUDA_VISIBLE_DEVICES"
THREADS = "OMP_NUM_THREADS"
ASK_S = 20.0


def ask_driver() -> str:
    """What `nvidia-smi -L` says; nothing where there is no such driver."""
    command = ["nvidia-smi", "-L"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def find_gpus(
    most: int | None = None,
    env: Mapping[str, str] | None = None,
    ask: Callable[[], str] = ask_driver,
) -> tuple[str, ...]:
    """The cards searches may use, as CUDA_VISIBLE_DEVICES names them.

    Args:
        most: How many at most; None for all there are.
        env: Environment of the server; None is this process's. Its own CUDA_VISIBLE_DEVICES is
            obeyed.
        ask: Lists the cards as `nvidia-smi -L` does, one line "GPU n: ..." each.

    Returns:
        Names such as ("0", "1"); empty where there is none.
    """
    visible = (os.environ if env is None else env).get(VISIBLE)
    if most == 0:
        return ()
    if visible is not None:
        names = [name.strip() for name in visible.split(",")]
        # like CUDA itself: what follows an invalid entry does not count
        stop = next((i for i, name in enumerate(names) if name in ("", "-1")), len(names))
        found = tuple(names[:stop])
    elif most is not None:
        found = tuple(str(number) for number in range(most))
    else:
        lines = [line for line in ask().splitlines() if line.startswith("GPU ")]
        found = tuple(str(number) for number in range(len(lines)))
    return found[:most]


def choose_slot(wanted: str, gpus: Sequence[str], busy: Sequence[str]) -> str:
    """The slot of a new worker: the card with the fewest running searches, the first of equals.

    Args:
        wanted: The run's device: "auto", "cpu", "cuda" or "mps".
        gpus: From `find_gpus`.
        busy: Slots of the running workers.

    Returns:
        "cuda:NAME", or "cpu" where no card is to be used.
    """
    slots = [f"cuda:{name}" for name in gpus]
    if wanted not in ("auto", "cuda") or not slots:
        return CPU
    return min(slots, key=busy.count)


def is_set(variable: str, env: Mapping[str, str] | None = None) -> bool:
    """Whether somebody set a variable, as opposed to its default."""
    return bool((os.environ if env is None else env).get(variable, "").strip())


def threads_of(cap: int, cores: int | None = None) -> int:
    """Threads of one worker where `cap` of them share the cores; at least 1."""
    return max(1, (cores or os.cpu_count() or 1) // cap)


def worker_environment(
    slot: str, gpus: Sequence[str], threads: int, url: str, folder: Path
) -> dict[str, str]:
    """Environment of a worker process.

    The database's address goes this way, because anybody on the machine can read a command line,
    and an address may hold a password.

    Args:
        slot: From `choose_slot`.
        gpus: Cards of this machine; where there are some, a worker without one sees none.
        threads: For OMP_NUM_THREADS, unless the server was started with another number.
        url: Of the database.
        folder: Of its files.
    """
    env = {THREADS: str(threads), **os.environ, URL_VARIABLE: url, FOLDER_VARIABLE: str(folder)}
    if gpus:
        env[VISIBLE] = slot.removeprefix("cuda:") if slot != CPU else ""
        env.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # numbers as nvidia-smi gives them
    return env
