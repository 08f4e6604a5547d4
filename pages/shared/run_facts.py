"""What the search of a run is, as its record in SEARCHES says. Pure.

A run may be of a search that this bitdial does not have; then nothing of it is known.
"""

from qcore.searches import SEARCHES
from store import Run


def is_ladder(run: Run) -> bool:
    """Whether it measures the same bits in every layer: what all others are compared with."""
    return run.spec.search in SEARCHES and SEARCHES[run.spec.search].ladder


def has_aim(run: Run) -> bool:
    """Whether it minimises its objective: what it proposes then depends on that."""
    return run.spec.search not in SEARCHES or SEARCHES[run.spec.search].aims


def left_stage(run: Run) -> str:
    """The stage that holds the switchable network it leaves; "" where it leaves none."""
    return SEARCHES[run.spec.search].leaves if run.spec.search in SEARCHES else ""


def is_layer_wise(run: Run) -> bool:
    """Whether the layers of the switchable network it leaves take bits of their own."""
    return run.spec.search in SEARCHES and SEARCHES[run.spec.search].layer_wise


def no_front(run: Run, points: int) -> str:
    """Why a run has no hypervolume, in a few words; "" where it made a front.

    Args:
        run: The run.
        points: How many distinct allocations it has scored.
    """
    if run.spec.limits and not is_ladder(run):
        return "made for one budget"
    return "" if points > 1 else "one point"
