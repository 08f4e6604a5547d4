"""The worker stores what the search finds, explains failures, and takes up where it stopped."""

import dataclasses

import pytest

from qcore.config import parse_bits
from store import config_text, create_run, events, points_of, queue, run, worker
from tests.store.fake import SPEC, FakePrepared, prepare


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


def test_tuning_stores_a_second_point_for_each_reported_one(store):
    run_id, _ = execute(store, dataclasses.replace(SPEC, tuning=True))
    stages = [s.point.stage for s in points_of(store, [run_id]) if s.has_config]
    assert stages.count("ptq+tuned") == stages.count("ptq") > 0


@pytest.mark.parametrize(
    ("data", "words"), [("broken", "toys/3.png is not an image; remove it."), ("bug", "a bug")]
)
def test_a_failure_keeps_its_words_and_its_traceback(store, data, words):
    spec = dataclasses.replace(SPEC, data=data)
    if data == "bug":
        with pytest.raises(RuntimeError, match="a bug"):
            execute(store, spec)
        found = queue.runs(store)[0]
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

        def score(self, allocations, stage="ptq"):
            known.append(len(allocations))
            return super().score(allocations, stage)

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
