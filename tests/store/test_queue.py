"""Runs go from queued to one end, and only the attempt that holds one may write to it."""

import pytest

from qcore.errors import InvalidParams, RunFinished, RunNotFound, StoreError
from store import create_run, delete_run, events, queue, request_cancel, run, runs
from tests.store.fake import SPEC


def test_a_run_comes_back_as_it_was_asked_for(store):
    run_id = create_run(store, SPEC, "mine")
    found = run(store, run_id)
    assert (found.name, found.spec, found.state, found.evaluations) == ("mine", SPEC, "queued", 0)
    assert [run.id for run in runs(store, model="toy")] == [run_id]
    assert runs(store, model="another") == []


def test_an_active_name_is_taken(store):
    create_run(store, SPEC, "mine")
    with pytest.raises(InvalidParams, match="'mine'"):
        create_run(store, SPEC, "mine")


def test_claims_are_in_order_and_never_shared(store):
    ids = [create_run(store, SPEC) for _ in range(3)]
    claimed = [queue.claim(store, "here") for _ in range(4)]
    assert claimed == [(ids[0], 1), (ids[1], 1), (ids[2], 1), None]


def test_a_superseded_attempt_can_write_nothing(store):
    run_id = create_run(store, SPEC)
    queue.claim(store, "here")
    assert queue.requeue(store, run_id, 1, "lost")
    assert queue.claim(store, "here") == (run_id, 2)
    with pytest.raises(queue.Fenced):
        queue.progress(store, run_id, 1, 5, 10, "late")
    with pytest.raises(queue.Fenced):
        queue.finish(store, run_id, 1, "done")
    assert not queue.requeue(store, run_id, 1, "late")
    assert run(store, run_id).step == 0


def test_cancelling_a_queued_run_ends_it_at_once(store):
    run_id = create_run(store, SPEC)
    request_cancel(store, run_id)
    assert run(store, run_id).state == "cancelled"
    assert queue.claim(store, "here") is None


def test_cancelling_a_running_run_tells_its_worker(store):
    run_id = create_run(store, SPEC)
    queue.claim(store, "here")
    request_cancel(store, run_id)
    assert run(store, run_id).cancelling
    assert queue.beat(store, run_id, 1) == "cancel"


def test_finished_runs_are_never_changed(store):
    run_id = create_run(store, SPEC)
    queue.claim(store, "here")
    queue.finish(store, run_id, 1, "failed", "no images", "Traceback")
    found = run(store, run_id)
    assert (found.state, found.error, found.traceback) == ("failed", "no images", "Traceback")
    with pytest.raises(RunFinished, match="failed already"):
        request_cancel(store, run_id)
    with pytest.raises(queue.Fenced):
        queue.finish(store, run_id, 1, "done")


def test_only_ended_runs_can_be_deleted(store):
    run_id = create_run(store, SPEC)
    with pytest.raises(StoreError, match="cancel it"):
        delete_run(store, run_id)
    request_cancel(store, run_id)
    delete_run(store, run_id)
    with pytest.raises(RunNotFound, match=f"no run {run_id}"):
        run(store, run_id)
    assert events(store, run_id) == []


def test_a_run_that_was_to_be_cancelled_never_waits_in_the_queue(store):
    run_id = create_run(store, SPEC)
    queue.claim(store, "here")
    request_cancel(store, run_id)
    assert queue.requeue(store, run_id, 1, "the server stopped")
    assert run(store, run_id).state == "cancelled"


def test_numbers_of_deleted_runs_are_never_given_again(store):
    first = create_run(store, SPEC)
    request_cancel(store, first)
    delete_run(store, first)
    assert create_run(store, SPEC) > first


def test_a_run_taken_at_once_is_never_in_the_queue(store):
    run_id = create_run(store, SPEC, host="here")
    assert (run(store, run_id).state, run(store, run_id).attempt) == ("running", 1)
    assert queue.claim(store, "elsewhere") is None
