"""Writers that write as fast as they can: `python -m benchmarks.dashboard.writer URL COUNT RUN...`.

One process per run, forked so that they start together, writing as its first attempt; their numbers
are printed. Ends when all have ended, with 1 if one of them failed.
"""

import os
import sys

from benchmarks.toy import toy_problem
from store import open_store
from store.runs import points, queue


def write(url: str, run_id: int, count: int) -> None:
    """Store points, each with a line of history."""
    toy = toy_problem()
    allocations, store = toy.all_allocations(), open_store(url)
    for number in range(count):
        [point] = toy.score([allocations[number % len(allocations)]], f"stage {number}")
        points.add_point(store, run_id, 1, point)
        queue.note(store, run_id, 1, "wrote", f"stage {number}")


def main(url: str, count: int, run_ids: list[int]) -> int:
    """Start the writers and wait for them."""
    children = []
    for run_id in run_ids:
        child = os.fork()
        if child == 0:
            write(url, run_id, count)
            return 0
        children.append(child)
    sys.stdout.write(" ".join(map(str, children)) + "\n")
    sys.stdout.flush()
    endings = [os.waitpid(child, 0)[1] for child in children]
    return int(any(endings))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), [int(word) for word in sys.argv[3:]]))
