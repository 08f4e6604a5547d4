"""Runs go from queued to one end, and only the attempt that holds one may write to it."""

import numpy as np
import pytest

from qcore.errors import InvalidParams, RunFinished, RunNotFound, StoreError
from store import (
    all_runs,
    create_run,
    delete_run,
    events,
    open_store,
    request_cancel,
    request_pause,
    resume,
    run,
    stop_now,
)
from store.runs import files, lease, queue
from tests.store.fake import SPEC


def test_a_run_comes_back_as_it_was_asked_for(store):
    run_id = create_run(store, SPEC, "mine")
    found = run(store, run_id)
    assert (found.name, found.spec, found.state, found.evaluations) == ("mine", SPEC, "queued", 0)
    assert [run.id for run in all_runs(store, model="toy")] == [run_id]
    assert all_runs(store, model="another") == []


def test_an_active_name_is_taken(store):
    create_run(store, SPEC, "mine")
    with pytest.raises(InvalidParams, match="'mine'"):
        create_run(store, SPEC, "mine")


def test_a_card_may_have_any_name(store):
    slot = "cuda:MIG-GPU-" + "0123456789abcdef-" * 40
    assert queue.claim(store, "here", slot) is None
    run_id = create_run(store, SPEC)
    assert queue.claim(store, "here", slot) == (run_id, 1)
    shown = run(store, run_id).device
    assert len(shown) == 100
    assert slot.startswith(shown)


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


def test_a_paused_run_waits_until_it_is_resumed(store):
    run_id = create_run(store, SPEC)
    request_pause(store, run_id)
    assert run(store, run_id).state == "paused"
    assert queue.claim(store, "here") is None
    resume(store, run_id)
    assert queue.claim(store, "here") == (run_id, 1)
    assert [event.kind for event in events(store, run_id)] == [
        "submitted", "paused", "resumed", "claimed",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("ask", "want", "state"),
    [
        (request_pause, "pause", "paused"),
        (stop_now, "stop", "paused"),
        (request_cancel, "cancel", "cancelled"),
    ],
)
def test_a_running_run_goes_where_the_user_wants_it_when_its_worker_ends(store, ask, want, state):
    run_id = create_run(store, SPEC)
    queue.claim(store, "here")
    ask(store, run_id)
    assert run(store, run_id).state == "running"
    assert queue.beat(store, run_id, 1) == want
    assert queue.requeue(store, run_id, 1, "its worker ended")
    assert run(store, run_id).state == state
    assert queue.claim(store, "here") is None


def test_a_wish_to_pause_can_be_taken_back_and_one_to_cancel_cannot(store):
    run_id = create_run(store, SPEC)
    queue.claim(store, "here")
    request_pause(store, run_id)
    assert run(store, run_id).pausing
    resume(store, run_id)
    assert queue.beat(store, run_id, 1) == "run"
    request_cancel(store, run_id)
    for ask in (request_pause, stop_now, resume):
        with pytest.raises(StoreError, match="being cancelled"):
            ask(store, run_id)
    assert queue.beat(store, run_id, 1) == "cancel"


def test_a_failed_run_can_be_tried_again_and_an_ended_one_cannot(store):
    run_id = create_run(store, SPEC)
    queue.claim(store, "here")
    queue.finish(store, run_id, 1, "failed", "no images", "Traceback")
    resume(store, run_id)
    found = run(store, run_id)
    assert (found.state, found.error, found.traceback, found.finished) == (
        "queued", None, None, None,
    )  # fmt: skip
    assert queue.claim(store, "here") == (run_id, 2)
    queue.finish(store, run_id, 2, "done")
    for ask in (resume, request_pause, stop_now, request_cancel):
        with pytest.raises(RunFinished, match="done"):
            ask(store, run_id)


def test_a_paused_run_keeps_its_name_and_a_failed_one_gets_it_back_if_it_is_free(store):
    paused = create_run(store, SPEC, "mine")
    request_pause(store, paused)
    with pytest.raises(InvalidParams, match="'mine'"):
        create_run(store, SPEC, "mine")
    request_cancel(store, paused)
    failed = create_run(store, SPEC, "mine")
    queue.claim(store, "here")
    queue.finish(store, failed, 1, "failed", "no images")
    create_run(store, SPEC, "mine")
    with pytest.raises(InvalidParams, match="'mine'"):
        resume(store, failed)


def test_a_name_that_no_column_holds_is_refused(store):
    with pytest.raises(InvalidParams, match="200 characters, this has 201"):
        create_run(store, SPEC, "x" * 201)


def test_attempts_that_ended_for_no_fault_of_their_own_are_not_counted(store):
    run_id = create_run(store, SPEC)
    for attempt in (1, 2):
        queue.claim(store, "here")
        queue.requeue(store, run_id, attempt, "the server stopped", blameless=True)
    queue.claim(store, "here")
    assert [r.idle_attempts for r in queue.open_runs(store)] == [1]
    queue.requeue(store, run_id, 3, "exit code 1")
    queue.claim(store, "here")
    assert [r.idle_attempts for r in queue.open_runs(store)] == [2]


def test_figures_are_kept_apart_from_what_there_is_to_read(store):
    run_id = create_run(store, SPEC)
    queue.claim(store, "here")
    queue.progress(store, run_id, 1, 3, 9, "generation 3", {"sigma": 0.5})
    queue.progress(store, run_id, 1, 4, 9, "generation 4")
    assert "figures" not in [event.kind for event in events(store, run_id)]
    found = events(store, run_id, ["figures"])
    assert [(e.text, e.data, e.attempt) for e in found] == [("generation 3", {"sigma": 0.5}, 1)]


def test_figures_become_plain_data():
    figures = {"best": np.float32(0.5), "front": np.arange(2), "gap": float("nan"), 3: (True, "x")}
    assert lease.plain(figures) == {"best": 0.5, "front": [0, 1], "gap": None, "3": [True, "x"]}


def test_a_deleted_run_leaves_no_file(store):
    kept, gone = create_run(store, SPEC), create_run(store, SPEC)
    for run_id in (kept, gone):
        files.run_lock(store, run_id).touch()
        files.log_file(store, run_id, 1).touch()
        folder = files.checkpoint_folder(store, run_id)
        folder.mkdir(parents=True)
        (folder / "weights.pt").touch()
    request_cancel(store, gone)
    delete_run(store, gone)
    assert files.leftovers(store) == {kept}


def test_two_databases_in_one_folder_share_no_file(tmp_path, monkeypatch):
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path))
    stores = [open_store(tmp_path / name) for name in ("bitdial.db", "other.db")]
    locks = {files.leader_lock(s) for s in stores} | {files.run_lock(s, 1) for s in stores}
    assert len(locks) == 4
    assert files.leader_lock(stores[0]) == tmp_path / "supervisor.lock"


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
