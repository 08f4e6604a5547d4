"""Training states come back whole or not at all, and only their attempt may write them."""

import os

import pytest
from sqlalchemy import select

from qcore.errors import DatabaseUnavailable
from store import create_run, delete_run, events, has_stage, request_cancel, trained_stage
from store.database.schema import CheckpointRow
from store.runs import checkpoints, files, queue
from store.runs.checkpoints import FileCheckpoints
from tests.store.fake import SPEC

STAGE = "round-2/weights"


@pytest.fixture
def run_id(store):
    number = create_run(store, SPEC)
    queue.claim(store, "here")
    return number


@pytest.fixture
def kept(store, run_id):
    return FileCheckpoints(store, run_id, 1)


def rows(store):
    with store.read() as connection:
        return connection.execute(select(*CheckpointRow.__table__.columns)).all()


def paths(store, run_id):
    folder = files.checkpoint_folder(store, run_id)
    return sorted(folder.iterdir()) if folder.exists() else []


def test_the_newest_state_comes_back_in_the_next_attempt(store, kept, run_id):
    assert kept.load(STAGE) is None
    for epoch in (1, 2, 3):
        kept.save(STAGE, epoch, b"weights %d" % epoch)
    kept.save("round-3/weights", 1, b"other")
    assert queue.requeue(store, run_id, 1, "killed")
    queue.claim(store, "here")
    again = FileCheckpoints(store, run_id, 2)
    assert again.load(STAGE) == (3, b"weights 3")
    assert again.load("round-3/weights") == (1, b"other")


def test_two_are_kept_and_each_is_recorded_with_what_wrote_it(store, kept, run_id):
    for epoch in range(1, 6):
        kept.save(STAGE, epoch, b"x" * epoch)
    assert [(row.epoch, row.bytes) for row in rows(store)] == [(4, 4), (5, 5)]
    assert [path.name for path in paths(store, run_id)] == [row.path for row in rows(store)]
    assert set(rows(store)[0].versions) == {"bitdial", "torch", "python"}


@pytest.mark.parametrize("damage", [b"", b"weights X", None])
def test_a_damaged_newest_gives_way_to_the_one_before(store, kept, run_id, damage):
    kept.save(STAGE, 1, b"weights 1")
    kept.save(STAGE, 2, b"weights 2")
    newest = paths(store, run_id)[-1]
    newest.unlink() if damage is None else newest.write_bytes(damage)
    assert kept.load(STAGE) == (1, b"weights 1")
    assert "epoch 2" in next(e.text for e in events(store, run_id, ["checkpoint"]))
    kept.save(STAGE, 2, b"weights 2 again")
    assert kept.load(STAGE) == (2, b"weights 2 again")
    assert len(paths(store, run_id)) == 2


def test_without_an_undamaged_one_the_stage_begins_anew(store, kept, run_id):
    kept.save(STAGE, 7, b"weights")
    paths(store, run_id)[0].write_bytes(b"?")
    assert kept.load(STAGE) is None
    kept.save(STAGE, 1, b"weights")
    assert kept.load(STAGE) == (1, b"weights")
    assert [row.epoch for row in rows(store)] == [1]


def test_a_superseded_attempt_changes_nothing(store, kept, run_id):
    kept.save(STAGE, 1, b"weights")
    queue.requeue(store, run_id, 1, "frozen")
    queue.claim(store, "here")
    successor = FileCheckpoints(store, run_id, 2)
    successor.save(STAGE, 2, b"successor")
    before = paths(store, run_id)
    with pytest.raises(queue.Fenced):
        kept.save(STAGE, 2, b"late")
    assert paths(store, run_id) == before
    assert successor.load(STAGE) == (2, b"successor")


def test_a_full_disk_is_explained_and_costs_nothing_that_was_kept(store, kept, run_id, monkeypatch):
    kept.save(STAGE, 1, b"weights")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DatabaseUnavailable, match=r"9 bytes: No space left.*Free some space"):
        kept.save(STAGE, 2, b"weights 2")
    assert kept.load(STAGE) == (1, b"weights")
    assert len(paths(store, run_id)) == 1


def test_a_stage_that_saves_is_no_idle_attempt(store, kept):
    assert queue.open_runs(store)[0].idle_attempts == 1
    kept.save(STAGE, 1, b"weights")
    assert queue.open_runs(store)[0].idle_attempts == 0


def test_they_go_with_their_run(store, kept, run_id):
    kept.save(STAGE, 1, b"weights")
    request_cancel(store, run_id)
    queue.requeue(store, run_id, 1, "stopped")
    delete_run(store, run_id)
    assert rows(store) == []
    assert not files.checkpoint_folder(store, run_id).exists()


def test_stages_never_share_a_file():
    stages = ["a/b", "a_b", "A/B", "a b", "x" * 90, "x" * 91]
    names = {checkpoints.stage_name(stage).lower() for stage in stages}
    assert len(names) == len(stages)
    assert all(name.replace("-", "").replace("_", "").isalnum() for name in names)


def test_another_run_may_look_at_a_stage_and_writes_nothing(store, kept, run_id):
    kept.save(STAGE, 1, b"weights")
    said = len(events(store, run_id))
    assert trained_stage(store, run_id, STAGE) == b"weights"
    assert trained_stage(store, run_id, "round-9/weights") is None
    assert trained_stage(store, run_id + 1, STAGE) is None
    [path] = paths(store, run_id)
    path.write_bytes(b"damaged")
    assert trained_stage(store, run_id, STAGE) is None
    assert len(events(store, run_id)) == said


def test_whether_a_stage_is_on_this_machine_is_told_without_reading_it(store, kept, run_id):
    assert not has_stage(store, run_id, STAGE)
    kept.save(STAGE, 1, b"weights")
    assert has_stage(store, run_id, STAGE)
    assert not has_stage(store, run_id, "round-9/weights")
    [path] = paths(store, run_id)
    path.write_bytes(b"cut")
    assert not has_stage(store, run_id, STAGE)
    path.unlink()
    assert not has_stage(store, run_id, STAGE)
