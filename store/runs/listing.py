"""Runs as lines of text, with what of each is left out because it cannot be read."""

from store.database import Store
from store.runs import points, queue


def listed(store: Store) -> list[str]:
    """A line for each run, newest first; of one that cannot be read the reason."""
    damaged = queue.damaged_runs(store)
    lines = {number: f"{number:5}  damaged    {words}" for number, words in damaged.items()}
    for found in queue.all_runs(store):
        said = [left_out(store, found), found.message or found.error or ""]
        lines[found.id] = (
            f"{found.id:5}  {found.state:9}  {found.spec.search:10}  {found.spec.model:14}  "
            f"{found.evaluations:5} points  {' '.join(filter(None, said))}"
        )
    return [lines[number] for number in sorted(lines, reverse=True)]


def left_out(store: Store, run: queue.Run) -> str:
    """How many points of a run are damaged, as a sentence; "" where none is."""
    lost = len(points.read_points(store, [run.id])[1])
    if not lost:
        return ""
    are = "is" if lost == 1 else "are"
    return f"{lost:,} of {run.evaluations:,} points {are} damaged and left out."
