"""Scores in N local processes ("procs:N"), each with its own copy of the model.

Processes are started fresh ("spawn"), by whoever runs the search and never by the Streamlit
server, whose page a spawned process would run again. A recipe travels once to each process. A
process that dies is started again and its allocation given out again; processes end with the one
that started them, however that ends.
"""

import multiprocessing
import signal
import sys
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import Any

from qcore.allocation import BitAllocation
from qcore.engine import Score
from qcore.errors import EvaluatorFailed, QcoreError
from qcore.problem import Point, Window
from qcore.process.parent import end_with_parent
from qcore.scoring.executors.address import Address
from qcore.scoring.executors.recipe import Context, Newest, Portable, Recipe

MOST_DEATHS = 3
"""Processes one allocation may cost before the search is told."""

POLL_S = 0.2
WANTED = "recipe wanted"


@contextmanager
def open_processes(
    address: Address,
    prepared: Portable,
    on_progress: Callable[[str], None],
    should_stop: Callable[[], bool],
) -> Iterator[Score]:
    """Start the processes; end them when the block ends."""
    pool = _Pool(address.processes, prepared, on_progress, should_stop)
    try:
        yield pool.score
    finally:
        pool.close()


class _Child:
    """A process and the pipe to it; `task` is the (batch, index) it works on."""

    def __init__(self) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.pipe, theirs = spawn.Pipe()
        self.process = spawn.Process(target=serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()
        self.task: tuple[int, int] | None = None
        self.recipe: Recipe | None = None

    def give(self, task: tuple[int, int], recipe: Recipe, *what: Any) -> None:
        """Hand out one allocation; a dead process is noticed later, by its sentinel."""
        self.task, self.recipe = task, recipe
        self.send((task, recipe.key, what))

    def send(self, message: Any) -> None:
        """Send, unless the process is gone."""
        try:
            self.pipe.send(message)
        except OSError:
            self.process.kill()

    def end(self) -> int | None:
        """Kill it, which loses nothing, and return its exit code."""
        self.process.kill()
        self.process.join()
        code = self.process.exitcode
        self.process.close()
        self.pipe.close()
        return code


class _Pool:
    def __init__(
        self,
        count: int,
        prepared: Portable,
        on_progress: Callable[[str], None],
        should_stop: Callable[[], bool],
    ) -> None:
        self._prepared, self._on_progress, self._should_stop = prepared, on_progress, should_stop
        self._recipes: Newest[Recipe] = Newest()
        self._batch = 0
        on_progress(f"Starting {count} scoring process{'es' if count > 1 else ''}")
        self._children = [_Child() for _ in range(count)]

    def close(self) -> None:
        """End every process."""
        while self._children:
            self._children.pop().end()

    def score(
        self, allocations: Sequence[BitAllocation], stage: str = "ptq", images: Window | None = None
    ) -> Iterator[Point]:
        """Score in the processes; one point each, in order."""
        recipe = self._recipes.get(stage, lambda: self._prepared.recipe(stage))
        self._batch += 1
        waiting = deque(range(len(allocations)))
        deaths: Counter[int] = Counter()
        done: dict[int, Point | QcoreError] = {}
        for index in range(len(allocations)):
            while index not in done:
                if self._should_stop():
                    return
                for child in self._children:
                    if child.task is None and waiting:
                        number = waiting.popleft()
                        task = (self._batch, number)
                        child.give(task, recipe, allocations[number], stage, images)
                # a batch that was left early may still be in work; its points are nobody's now
                for (batch, number), answer in self._answers():
                    if batch != self._batch:
                        continue
                    if answer is not None:
                        done[number] = answer
                        continue
                    deaths[number] += 1
                    if deaths[number] >= MOST_DEATHS:
                        raise EvaluatorFailed(
                            f"{MOST_DEATHS} processes died while scoring one allocation, most "
                            "likely for want of memory. Use fewer processes, or inline; the run's "
                            "log may say more."
                        )
                    waiting.appendleft(number)
            result = done.pop(index)
            if isinstance(result, QcoreError):
                raise result
            yield result

    def _answers(self) -> Iterator[tuple[tuple[int, int], Point | QcoreError | None]]:
        """Wait a moment; yield what came: (task, its answer, or None where its process died)."""
        pipes = {child.pipe: child for child in self._children}
        ends = {child.process.sentinel: child for child in self._children}
        ready = wait([*pipes, *ends], POLL_S)
        for child in [pipes[r] for r in ready if r in pipes]:  # answers first, then deaths
            try:
                answer = child.pipe.recv()
            except (EOFError, OSError):
                child.process.kill()
                continue
            if answer == WANTED:
                child.send(child.recipe)
            elif child.task is not None:
                task, child.task = child.task, None
                yield task, answer
        for child in [ends[r] for r in ready if r in ends]:
            held, code = child.task, child.end()
            self._on_progress(f"A scoring process died (exit code {code}); starting it again")
            self._children[self._children.index(child)] = _Child()
            if held is not None:
                yield held, None


def serve(pipe: Connection) -> None:
    """A scoring process: answers each allocation with its point or with the error it raised."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the search, which ends us
    end_with_parent()
    contexts: Newest[Context] = Newest()
    while True:
        try:
            _, key, what = pipe.recv()
        except EOFError:
            return
        answer: Any
        try:
            allocation, stage, images = what
            context = contexts.get(key, lambda: _fetch(pipe))
            (answer,) = context.score([allocation], stage, images)
        except QcoreError as error:
            answer = error
        except Exception as error:  # noqa: BLE001 - raised again where the search runs
            lines = f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
            answer = EvaluatorFailed(f"A scoring process failed: {lines}")
        pipe.send(answer)


def _fetch(pipe: Connection) -> Context:
    pipe.send(WANTED)
    recipe = pipe.recv()  # imports torch where the recipe needs it
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)
    return recipe.context()
