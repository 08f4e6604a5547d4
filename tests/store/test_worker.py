"""The worker stores what the search finds, explains failures, and takes up where it stopped."""

import dataclasses
import threading

import pytest

from qcore.allocation import BitAllocation
from qcore.errors import DatabaseUnavailable, InvalidParams
from qcore.formats.config import parse_bits
from qcore.rules.file import read_rules
from qcore.rules.rule import Rule
from qcore.searches import SEARCHES
from store import (
    all_runs,
    config_text,
    create_run,
    events,
    points_of,
    request_cancel,
    request_pause,
    resume,
    run,
)
from store.runs import points, queue
from store.workers import attempt as attempts
from store.workers import worker
from tests.store.fake import BATCH, BATCHED, BATCHED_SEARCH, SPEC, FakePrepared, prepare


def execute(store, spec, attempts=1, signals=None):
    run_id = create_run(store, spec)
    for _ in range(attempts):
        claimed = queue.claim(store, "here")
        assert claimed is not None
        code = worker.work(store, *claimed, signals or worker.Signals(), prepare)
    return run_id, code


def test_every_point_is_stored_and_the_front_is_reported(store):
    run_id, code = execute(store, SPEC)
    found = run(store, run_id)
    assert (code, found.state, found.evaluations) == (0, "done", 30)
    reported = [s for s in points_of(store, [run_id]) if s.has_config]
    assert reported
    config = parse_bits(config_text(store, reported[0].id))
    assert config.allocation == reported[0].point.allocation
    assert config.provenance["run"] == run_id
    assert [e.kind for e in events(store, run_id)][-1] == "done"


def test_a_configuration_says_the_rules_it_was_found_under(store):
    rules = (Rule("role:first", lock=(8, None)),)
    run_id, _ = execute(store, dataclasses.replace(SPEC, rules=rules))
    (told, *_) = [s for s in points_of(store, [run_id]) if s.has_config]
    kept = parse_bits(config_text(store, told.id)).provenance
    assert read_rules(kept["rules"]) == rules
    assert tuple(kept["weight_bits"]) == SPEC.weight_bits
    assert tuple(kept["activation_bits"]) == SPEC.activation_bits


def test_tuning_stores_a_second_point_for_each_reported_one(store):
    run_id, _ = execute(store, dataclasses.replace(SPEC, tuning=True))
    stages = [s.point.stage for s in points_of(store, [run_id]) if s.has_config]
    assert stages.count("ptq+tuned") == stages.count("ptq") > 0


@pytest.mark.parametrize(("asked", "kept"), [(None, "sequential"), ("off", "off")])
def test_a_run_keeps_the_correction_that_was_measured_for_it_and_why(store, asked, kept):
    run_id, _ = execute(store, dataclasses.replace(SPEC, correction=asked))
    assert run(store, run_id).spec == dataclasses.replace(SPEC, correction=kept)
    said = [event.text for event in events(store, run_id, ["correction"])]
    assert said == ([FakePrepared.correction_words] if asked is None else [])


@pytest.mark.parametrize(
    ("data", "words"), [("broken", "toys/3.png is not an image; remove it."), ("bug", "a bug")]
)
def test_a_failure_keeps_its_words_and_its_traceback(store, data, words):
    spec = dataclasses.replace(SPEC, data=data)
    if data == "bug":
        with pytest.raises(RuntimeError, match="a bug"):
            execute(store, spec)
        found = queue.all_runs(store)[0]
    else:
        found = run(store, execute(store, spec)[0])
    assert found.state == "failed"
    assert words in found.error
    assert "Traceback" in found.traceback


def test_a_resumed_run_measures_only_what_is_missing(store):
    class StopAfter:
        """A stop flag that is raised at its thirteenth look."""

        looks = 0

        def is_set(self):
            self.looks += 1
            return self.looks > 12

    run_id = create_run(store, SPEC)
    first = worker.Signals()
    first.stop = StopAfter()
    first.parent_gone.set()
    assert worker.work(store, *queue.claim(store, "here"), first, prepare) == 75
    part = [s.point for s in points_of(store, [run_id])]
    assert 0 < len(part) < 30
    assert run(store, run_id).state == "queued"
    assert worker.work(store, *queue.claim(store, "here"), worker.Signals(), prepare) == 0
    whole = [s.point.allocation for s in points_of(store, [run_id])]
    other, _ = execute(store, SPEC)
    assert whole == [s.point.allocation for s in points_of(store, [other])]
    assert len(set(whole)) == len(whole)


def test_what_was_reported_is_not_looked_at_again_and_searches_see_no_test_score(store):
    looked, known = [], []

    class Watched(FakePrepared):
        def report(self, point):
            looked.append(point.allocation)
            return super().report(point)

        def score(self, allocations, stage="ptq", images=None):
            known.append(len(allocations))
            return super().score(allocations, stage, images)

    def watched(spec, **callbacks):
        return Watched()

    run_id = create_run(store, SPEC)
    claimed = queue.claim(store, "here")
    finish = queue.finish
    try:
        queue.finish = lambda *args: queue.requeue(store, *claimed, "killed just before the end")
        worker.work(store, *claimed, worker.Signals(), watched)
    finally:
        queue.finish = finish
    first, measured = list(looked), sum(known)
    assert worker.work(store, *queue.claim(store, "here"), worker.Signals(), watched) == 0
    assert looked == first
    assert sum(known) == measured == 30
    assert run(store, run_id).state == "done"


class Interrupted(FakePrepared):
    """Calls `interrupt` in the middle of a batch."""

    def __init__(self, after, interrupt, **callbacks):
        super().__init__(checkpoints=callbacks["checkpoints"])
        self._after, self._interrupt = after, interrupt

    def score(self, allocations, stage="ptq", images=None):
        for point in super().score(allocations, stage, images):
            self._after -= 1
            if not self._after:
                self._interrupt()
            yield point


def attempt(store, prepare=prepare, signals=None):
    """Claim the oldest queued run and work on it; the exit code."""
    claimed = queue.claim(store, "here")
    return worker.work(store, *claimed, signals or worker.Signals(), prepare)


def everything(store, run_id):
    """Scores on the search split and its windows, in the order they came."""
    found = points_of(store, [run_id], windows=True)
    return [dataclasses.replace(s.point, test=None) for s in found]


@pytest.fixture(autouse=True)
def batched_search(monkeypatch):
    monkeypatch.setitem(SEARCHES, "batched", BATCHED_SEARCH)


@pytest.fixture
def straight(store):
    """Points of a batched run that nothing disturbed."""
    run_id = create_run(store, BATCHED)
    assert attempt(store) == 0
    return everything(store, run_id)


def test_a_pause_waits_for_the_batch_in_hand_and_resuming_measures_the_rest(store, straight):
    run_id = create_run(store, BATCHED)
    for batches in (1, 2):
        signals = worker.Signals()

        def pause(signals=signals):
            request_pause(store, run_id)
            signals.obey("pause")

        def pausing(spec, pause=pause, **callbacks):
            return Interrupted(2, pause, **callbacks)

        assert attempt(store, pausing, signals) == 0
        assert run(store, run_id).state == "paused"
        assert everything(store, run_id) == straight[: batches * BATCH]
        resume(store, run_id)
    assert attempt(store) == 0
    assert everything(store, run_id) == straight


def test_a_cancelled_run_stops_in_the_middle_of_a_batch(store, straight):
    run_id, signals = create_run(store, BATCHED), worker.Signals()

    def cancel():
        request_cancel(store, run_id)
        signals.obey("cancel")

    assert attempt(store, lambda spec, **more: Interrupted(2, cancel, **more), signals) == 0
    assert run(store, run_id).state == "cancelled"
    assert everything(store, run_id) == straight[:2]


def test_the_loss_of_the_server_is_no_fault_of_the_run(store, straight):
    run_id, signals = create_run(store, BATCHED), worker.Signals()

    def orphaned():
        signals.parent_gone.set()
        signals.stop.set()

    assert attempt(store, lambda spec, **more: Interrupted(2, orphaned, **more), signals) == 75
    assert run(store, run_id).state == "queued"
    assert attempt(store) == 0
    assert everything(store, run_id) == straight


def test_a_stuck_worker_that_wakes_is_refused(store, straight):
    run_id = create_run(store, BATCHED)

    def frozen():
        assert queue.requeue(store, run_id, 1, "no sign of life")
        assert attempt(store) == 0

    assert attempt(store, lambda spec, **more: Interrupted(2, frozen, **more)) == 77
    found = run(store, run_id)
    assert (found.state, found.attempt) == ("done", 2)
    assert everything(store, run_id) == straight


def test_scores_on_windows_are_replayed_and_never_reported(store, straight):
    windows = [point for point in straight if point.images]
    assert windows
    assert len(windows) < len(straight)
    assert all(point.test is None for point in windows)
    run_id = all_runs(store)[0].id
    assert any(s.has_config for s in points_of(store, [run_id]))


def test_figures_are_stored_once_however_often_a_run_is_resumed(store):
    run_id, signals = create_run(store, BATCHED), worker.Signals()

    def orphaned():
        signals.parent_gone.set()
        signals.stop.set()

    attempt(store, lambda spec, **more: Interrupted(8, orphaned, **more), signals)
    first = [e.data for e in events(store, run_id, ["figures"])]
    attempt(store)
    found = [e.data["generation"] for e in events(store, run_id, ["figures"])]
    assert found == list(range(4))
    assert 0 < len(first) < 4
    assert [e.data for e in events(store, run_id, ["figures"])][: len(first)] == first


def test_a_stage_that_was_interrupted_goes_on_and_a_finished_one_is_not_trained_again(store):
    run_id, trained = create_run(store, dataclasses.replace(BATCHED, params={"train": True})), []

    def dying(epochs):
        def prepare_dying(spec, **callbacks):
            return FakePrepared(checkpoints=callbacks["checkpoints"], trained=trained, dies=epochs)

        return prepare_dying

    for epochs in (3, 7):
        with pytest.raises(RuntimeError, match="died"):
            attempt(store, dying(epochs))
        resume(store, run_id)
    assert attempt(store, dying(None)) == 0
    assert trained == [(f"round-{r}/weights", epoch) for r in range(4) for epoch in range(3)]


def test_a_database_that_cannot_be_written_ends_the_attempt_and_not_the_run(store, straight):
    run_id = create_run(store, BATCHED)
    add_point, calls = points.add_point, []

    def full(*args):
        calls.append(args)
        if len(calls) == 5:
            raise DatabaseUnavailable("the disk is full")
        add_point(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(points, "add_point", full)
        assert attempt(store) == 74
    assert run(store, run_id).state == "running"
    assert queue.requeue(store, run_id, 1, "the disk is full")
    assert attempt(store) == 0
    assert everything(store, run_id) == straight


def test_a_beat_outlives_a_database_that_is_away(store, eventually, monkeypatch):
    run_id = create_run(store, SPEC)
    claimed, signals, tries = queue.claim(store, "here"), worker.Signals(), []
    beat = queue.beat

    def away(*args):
        tries.append(args)
        if len(tries) < 4:
            raise DatabaseUnavailable("the server is away")
        return beat(*args)

    monkeypatch.setattr(queue, "beat", away)
    beating = threading.Thread(
        target=worker.keep_beating, args=(store, *claimed, signals, 0.01), daemon=True
    )
    beating.start()
    eventually(lambda: run(store, run_id).beat > 2)
    request_pause(store, run_id)
    eventually(signals.pause.is_set)
    signals.over.set()
    beating.join()


def test_a_network_is_not_searched_on_images_it_may_have_been_trained_on(store, monkeypatch):
    monkeypatch.setattr(attempts, "trained_stage", lambda store, number, stage: b"weights")
    create_run(store, dataclasses.replace(SPEC, images_seed=4))
    with pytest.raises(InvalidParams, match="Use --images-seed 4"):
        attempts._adopted(store, SPEC, 1, "layer-wise")
    same = dataclasses.replace(SPEC, images_seed=4)
    assert attempts._adopted(store, same, 1, "layer-wise") == b"weights"


def guessing(spec, **callbacks):
    """The toys, whose float network names as many right as guessing does."""
    made = prepare(spec, **callbacks)
    poor = dataclasses.replace(made.float_point.search, n=1000, accuracy=1 / made.model.classes)
    made.float_point = dataclasses.replace(made.float_point, search=poor, test=None)
    made.notes = ("The images look odd.",)
    return made


def attempted(store, spec, prepare=guessing):
    run_id = create_run(store, spec)
    claimed = queue.claim(store, "here")
    worker.work(store, *claimed, worker.Signals(), prepare)
    return run(store, run_id)


def test_a_network_that_guesses_is_searched_only_when_that_is_wanted(store):
    refused = attempted(store, SPEC)
    assert (refused.state, refused.evaluations) == ("failed", 0)
    assert "Nothing was searched." in refused.error
    assert "The images look odd. If" in refused.error
    assert "--anyway" in refused.error
    wanted = attempted(store, dataclasses.replace(SPEC, anyway=True))
    assert (wanted.state, wanted.evaluations) == ("done", 30)
    assert [event.text for event in queue.events(store, wanted.id, ["data"])] == [
        "The images look odd."
    ]


def test_given_bits_are_measured_whatever_the_network_is_worth(store):
    bits = BitAllocation.uniform(prepare(SPEC, on_progress=str).model.layers, 4)
    spec = dataclasses.replace(SPEC, search="given", params={"allocations": [bits.to_json()]})
    assert attempted(store, spec).state == "done"


def test_a_search_that_has_begun_goes_on_whatever_the_network_is_worth(store):
    run_id = create_run(store, SPEC)
    held = queue.claim(store, "here")
    points.add_point(store, *held, FakePrepared().float_point)
    worker.work(store, *held, worker.Signals(), guessing)
    assert run(store, run_id).state == "done"
