"""Numbers of runs, in an address and in words. Pure."""

import re
from collections.abc import Sequence

MOST_RUNS = 60
"""A link names at most this many runs; more lines than that are no picture."""


MOST_CHOSEN = 10
"""Most runs to choose one by one in a box."""


def run_words(numbers: Sequence[int]) -> str:
    """Name runs: "run 3", "runs 3, 5 and 6"."""
    ordered = [str(number) for number in sorted(numbers)]
    if len(ordered) == 1:
        return f"run {ordered[0]}"
    return f"runs {', '.join(ordered[:-1])} and {ordered[-1]}"


def read_ids(text: str) -> tuple[list[int], list[str]]:
    """Read the URL's list of runs.

    Args:
        text: Numbers with commas, "12,9,3"; from a link, so anything may stand there.

    Returns:
        (numbers in order, each once, at most MOST_RUNS; entries that are no run numbers).
    """
    numbers: dict[int, None] = {}
    strange = []
    for entry in (part.strip() for part in text.split(",")):
        # 18 digits fit a database's integer; int() of millions of digits would take minutes
        if re.fullmatch(r"[0-9]{1,18}", entry, re.ASCII):
            numbers.setdefault(int(entry))
        elif entry:
            strange.append(entry)
    return list(numbers)[:MOST_RUNS], strange


def write_ids(numbers: Sequence[int]) -> str:
    """Write a list of runs for the URL; `read_ids` reads it back."""
    return ",".join(map(str, numbers))
