"""One attempt of a run: prepare, replay what is stored, search on, store each point as it comes."""

import platform
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from qcore import __version__
from qcore.allocation import BitAllocation
from qcore.engine import Event, Outcome, Reported, Score, drive
from qcore.errors import InvalidData, InvalidParams, StoreError
from qcore.float_check import far_off
from qcore.formats.config import dump_bits
from qcore.judges import read_judge
from qcore.judges.sample_words import samples_word
from qcore.problem import TUNED, Point, Progress, Window
from qcore.run_spec import RunSpec
from qcore.scoring.executors import open_evaluator
from qcore.searches import SEARCHES, given
from store.database import Store, now
from store.runs import points, queue
from store.runs.checkpoints import FileCheckpoints, trained_stage
from store.runs.files import cache_of
from store.runs.lease import FIGURES, ON_CORRECTION, ON_DATA, plain

ANYWAY = "If it is to be searched all the same, say so: --anyway, or Search anyway on the page."

Prepare = Callable[..., Any]
Flag = Callable[[], bool]


def execute(
    store: Store,
    run: queue.Run,
    attempt: int,
    prepare: Prepare,
    *,
    stop: Flag,
    pause: Flag,
    evaluator: str,
) -> Outcome:
    """Execute an attempt; what earlier ones stored is not measured, reported or trained again.

    Args:
        store: The database.
        run: The run, held by this attempt.
        attempt: The attempt.
        prepare: `qcore.prepare.prepare` or a double.
        stop: Whether to stop at the next evaluation.
        pause: Whether to stop when the batch in hand is measured.
        evaluator: Where to score; see `qcore.scoring.executors`.

    Raises:
        Fenced: another attempt holds the run by now.
        QcoreError: the run cannot be executed; says why.
    """
    spec, held = run.spec, (run.id, attempt)
    if spec.search not in SEARCHES:
        names = ", ".join(SEARCHES)
        raise StoreError(f"This bitdial has no search {spec.search!r}; known: {names}.")
    search = SEARCHES[spec.search]
    costs = store.costs
    params = search.read_params(spec.params, costs)

    def tell(words: str) -> None:
        queue.note(store, *held, "progress", words)

    prepared: Any = prepare(
        spec,
        load_table=lambda key: points.load_table(store, key),
        save_table=lambda key, table: points.save_table(store, key, prepared.model.digest, table),
        on_progress=tell,
        checkpoints=FileCheckpoints(store, *held),
        cache=cache_of(store),
        load_stage=lambda number, stage: _adopted(store, spec, number, stage),
        costs=costs,
    )
    if spec.correction is None:
        # whoever goes on with it corrects in the same way, whatever was measured there
        spec = replace(spec, correction=prepared.correction)
        run = replace(run, spec=spec)
        why = "" if search.trains else prepared.correction_words
        # said before it is settled: a run that dies in between measures and finds the same again
        if why and not queue.events(store, run.id, [ON_CORRECTION]):
            queue.note(store, *held, ON_CORRECTION, why)
        queue.settle(store, *held, spec)
    judge = read_judge(spec.judge)
    points.save_model(store, prepared.model, spec.images, prepared.float_point, judge)
    record = Record(store, run, attempt, prepared, stop)
    _check_float(spec, prepared, record)
    said = {event.text for event in queue.events(store, run.id, [ON_DATA])}
    for words in prepared.notes:
        if words not in said:
            queue.note(store, *held, ON_DATA, words)
    queue.note(store, *held, "prepared", "Searching")
    with open_evaluator(evaluator, prepared, on_progress=tell, should_stop=stop) as score:
        batch = Batch(score)
        return drive(
            search,
            prepared.problem,
            params,
            spec.seed,
            score=batch.score,
            report=record.report,
            known=record.known(),
            on_event=record,
            max_reported=spec.reported,
            should_stop=lambda: stop() or (pause() and not batch.open),
        )


def _adopted(store: Store, spec: RunSpec, number: int, stage: str) -> bytes | None:
    """A stage that another run has trained, or None.

    Raises:
        InvalidParams: that run drew other images: these could be among those it was trained on.
    """
    found = trained_stage(store, number, stage)
    if found is None:
        return None
    drawn = queue.run(store, number).spec.images_seed
    if drawn != spec.images_seed:
        raise InvalidParams(
            f"Run {number} drew its {samples_word(spec.data)} by seed {drawn}, so that it "
            f"may have been trained on those that seed {spec.images_seed} draws to search on. "
            f"Use --images-seed {drawn}."
        )
    return found


def _check_float(spec: RunSpec, prepared: Any, record: "Record") -> None:
    """Ask before a search on a network that is hardly better than guessing.

    Bits that are given are measured without a question, and what has begun goes on.

    Raises:
        InvalidData: it is, and nobody said that it is to be searched anyway.
    """
    if spec.anyway or spec.search == given.SEARCH.name or record.known():
        return
    words = far_off(prepared.float_point.search, prepared.model.classes)
    if words:
        raise InvalidData(" ".join(["Nothing was searched.", words, *prepared.notes, ANYWAY]))


class Batch:
    """Knows whether a batch is in hand: a pause waits for its end."""

    def __init__(self, score: Score) -> None:
        self._score = score
        self.open = False

    def score(
        self, allocations: Sequence[BitAllocation], stage: str, images: Window | None = None
    ) -> Iterator[Point]:
        """Score a batch."""
        self.open = True
        yield from self._score(allocations, stage, images)
        self.open = False


class Record:
    """Stores what an attempt finds, and knows what earlier ones stored."""

    def __init__(
        self, store: Store, run: queue.Run, attempt: int, prepared: Any, stop: Flag
    ) -> None:
        self._store, self._run, self._prepared, self._stop = store, run, prepared, stop
        self._held = (run.id, attempt)
        self._float_tested = False
        self._stored = points.points_of(store, [run.id], windows=True)
        self._seen = {s.point.key for s in self._stored}
        # what was reported is neither looked at on the test split nor tuned again
        self._reported = {s.point.key: s.point for s in self._stored if s.has_config}
        self._figures = [e.data for e in queue.events(store, run.id, [FIGURES])]

    def known(self) -> list[Point]:
        """Stored points, without their test scores: a search must never see those."""
        return [replace(s.point, test=None) for s in self._stored if s.point.stage != TUNED]

    def report(self, point: Point) -> Point:
        """The point with its test scores: the stored ones, or else its one look."""
        return self._reported.get(point.key) or self._prepared.report(point)

    def __call__(self, event: Event) -> None:
        """Store an event of the engine."""
        if isinstance(event, Progress):
            self._keep_progress(event)
        elif isinstance(event, Reported):
            self._keep_report(event.point)
        elif event.key not in self._seen:
            points.add_point(self._store, *self._held, event)
            self._seen.add(event.key)

    def _keep_progress(self, event: Progress) -> None:
        figures: Mapping[str, Any] | None = plain(event.figures)
        if figures in self._figures:  # a replay says again what it said
            figures = None
        elif figures:
            self._figures.append(figures)
        queue.progress(self._store, *self._held, event.step, event.total, event.message, figures)

    def _keep_report(self, point: Point) -> None:
        spec = self._run.spec
        if point.key not in self._reported:
            self._store_report(point)
        tuned_key = (TUNED, "", point.allocation.digest)
        if spec.tuning and tuned_key not in self._reported and not self._stop():
            self._store_report(self._prepared.tuned(point))

    def _store_report(self, point: Point) -> None:
        config = self._prepared.config(point, provenance(self._run, point))
        points.add_report(self._store, *self._held, point, dump_bits(config))
        prepared = self._prepared
        if not self._float_tested and prepared.float_point.test is not None:
            spec = self._run.spec
            points.save_model(
                self._store,
                prepared.model,
                spec.images,
                prepared.float_point,
                read_judge(spec.judge),
            )
            self._float_tested = True


def provenance(run: queue.Run, point: Point) -> dict[str, Any]:
    """Where a configuration comes from, for its file."""
    spec = run.spec
    torch = sys.modules.get("torch")
    return {
        "run": run.id,
        "run_name": run.name,
        "search": spec.search,
        "params": dict(spec.params),
        "limits": dict(spec.limits),
        "seed": spec.seed,
        "data": spec.data,
        "calibration_images": spec.calibration_images,
        "search_images": spec.search_images,
        "images_seed": spec.images_seed,
        "objective": spec.objective,
        "pin_first_last": spec.pin_first_last,
        "quantizer": spec.quantizer,
        "rounding": spec.rounding,
        **(_ruled(spec) if spec.rules else {}),
        "device": point.device,
        "created": now(),
        "bitdial": __version__,
        "torch": str(getattr(torch, "__version__", "")).split("+")[0],
        "python": platform.python_version(),
    }


def _ruled(spec: RunSpec) -> dict[str, Any]:
    """The rules that were kept, and the widths that they began from."""
    return {
        "rules": [rule.to_json() for rule in spec.rules],
        "weight_bits": list(spec.weight_bits),
        "activation_bits": list(spec.activation_bits),
    }
