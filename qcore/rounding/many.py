"""Codes of many layers, here or in several processes: the same to the bit.

A layer's codes depend on nothing but its weights and the second moments of its inputs, so that
layers are shared out. Each is rounded by one thread wherever that happens: how many threads add up
a sum changes its last bits.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
import torch

from qcore.process.parent import end_with_parent
from qcore.rounding import ROUNDINGS

WORTH_S = 20.0
"""Seconds of work below which starting processes, a few seconds each, would not pay."""

AHEAD = 2
"""Layers that wait for each process; their moments are in memory twice."""

Rounded = tuple[np.ndarray, np.ndarray]
"""Codes int8 (channels, n) and steps float32 (channels,), at a width with groups (channels *
groups,), of one layer at one width."""


@dataclass(frozen=True)
class Task:
    """A layer to be rounded.

    Attributes:
        name: Of the layer.
        rounding: Key of ROUNDINGS.
        weights: Float32 (groups, channels, n).
        moments: Second moments of its inputs, float32 (groups, n, n).
        steps: Width to the steps to begin with, float32 (groups, channels), or (groups, channels,
            scales) at a width with scales of groups.
        device: Where it is rounded; other processes have the CPU alone.
    """

    name: str
    rounding: str
    weights: np.ndarray
    moments: np.ndarray
    steps: Mapping[int, np.ndarray]
    device: str = "cpu"


Done = tuple[str, dict[int, Rounded]]
"""Name of a layer, and width to what it was rounded to."""


def seconds_of(groups: int, channels: int, n: int) -> float:
    """About how long one width of a layer takes on one core, seconds.

    Args:
        groups: Of the layer.
        channels: Output channels of a group.
        n: Weights of a channel.
    """
    return 1e-4 * n + groups * n * n * (10.0 * channels + 4.0 * n) / 2e10


def idle_cores() -> int:
    """Cores that nobody uses, 1 at least: those there are without the load of the last minute."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        load = os.getloadavg()[0]
    except (AttributeError, OSError):  # not known on this system
        load = 0.0
    return max(1, int((cores or 1) - load + 0.5))


def round_layer(task: Task) -> Done:
    """Round one layer at all its widths, by one thread where it is on a CPU."""
    with _one_thread():
        weights = torch.from_numpy(task.weights).to(task.device)
        moments = torch.from_numpy(task.moments).to(task.device)
        found: dict[int, Rounded] = {}
        for bits, given in task.steps.items():
            steps = torch.from_numpy(given).to(task.device)
            codes, fitted = ROUNDINGS[task.rounding](weights, moments, steps, bits)
            found[bits] = (
                codes.flatten(0, 1).to(torch.int8).cpu().numpy(),
                fitted.flatten().float().cpu().numpy(),
            )
    return task.name, found


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def round_layers(tasks: Iterable[Task], processes: int = 1) -> Iterator[Done]:
    """Round layers in so many processes, or here where that is one; as they come, in any order.

    No more are taken at a time than can be worked on. Where a process dies, most likely for want of
    memory, what is left is rounded here.
    """
    if processes <= 1:
        yield from map(round_layer, tasks)
        return
    pool = ProcessPoolExecutor(
        processes, mp_context=get_context("spawn"), initializer=end_with_parent
    )
    waiting: dict[Future[Done], Task] = {}
    try:
        for task in tasks:
            waiting[_given(pool, task)] = task
            if len(waiting) >= AHEAD * processes:
                yield from _ready(waiting)
        while waiting:
            yield from _ready(waiting)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _given(pool: ProcessPoolExecutor, task: Task) -> "Future[Done]":
    try:
        return pool.submit(round_layer, task)
    except BrokenProcessPool as error:
        lost: Future[Done] = Future()
        lost.set_exception(error)
        return lost


def _ready(waiting: "dict[Future[Done], Task]") -> Iterator[Done]:
    done, _ = wait(waiting, return_when=FIRST_COMPLETED)
    for future in done:
        task = waiting.pop(future)
        try:
            yield future.result()
        except BrokenProcessPool:
            yield round_layer(task)
