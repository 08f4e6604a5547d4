"""Real worker processes: started, capped, cancelled, killed, and never left over."""

import dataclasses
import logging
import os
import re
import signal
import threading

import pytest
from filelock import FileLock, Timeout

from qcore.errors import DatabaseUnavailable
from store import (
    Supervisor,
    create_run,
    delete_run,
    events,
    points_of,
    request_cancel,
    request_pause,
    resume,
    run,
    stop_now,
)
from store.runs import files, lease, queue
from store.workers import children, rests, worker
from store.workers.supervisor import worker_command
from tests.store.fake import SPEC, command, prepare

SHORT = dataclasses.replace(SPEC, params={"evaluations": 12})
SLOW = dataclasses.replace(SPEC, params={"evaluations": 60}, data="slow toys")
"""Long enough that whatever a test does to it comes before its end."""

LEASE_S = 3.0

slow_on_postgresql = pytest.mark.parametrize(
    "backend", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)
"""For what differs little between databases; that a killed worker loses nothing is always tried."""

on_sqlite = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
"""For what is about processes and not about the database."""


@pytest.fixture
def supervisor(store, monkeypatch):
    running = []
    monkeypatch.setenv("BITDIAL_LEASE_S", str(LEASE_S))  # workers beat five times a lease

    def start(cap=1, gpus=(), **more):
        one = Supervisor(store, cap=cap, command=command, tick_s=0.05, gpus=gpus, **more)
        one.start()
        running.append(one)
        return one

    yield start
    for one in running:
        one.stop()


@pytest.fixture
def hurry(tmp_path):
    """Let slow toys take no time from now on."""
    return (tmp_path / "hurry").touch


@pytest.fixture
def straight(store):
    """Allocations of a slow run that nothing disturbed, in the order they were measured."""
    run_id = create_run(store, dataclasses.replace(SLOW, data="toys"))
    assert worker.work(store, *queue.claim(store, "here"), worker.Signals(), prepare) == 0
    return measured(store, run_id)


def measured(store, run_id):
    return [s.point.allocation for s in points_of(store, [run_id])]


def kinds(store, run_id):
    return [event.kind for event in events(store, run_id)]


def pids(supervisor):
    return {n: child.process.pid for n, child in list(supervisor._children.items())}


@on_sqlite
def test_a_queued_run_is_done_without_anybody_looking(store, supervisor, eventually):
    run_id = create_run(store, SHORT)
    supervisor()
    eventually(lambda: run(store, run_id).state == "done")
    assert run(store, run_id).evaluations == 12


@on_sqlite
def test_no_more_than_the_cap_work_at_once(store, supervisor, eventually):
    ids = [create_run(store, SLOW) for _ in range(3)]
    one = supervisor(cap=2)
    eventually(lambda: len(pids(one)) == 2)
    assert sorted(run(store, i).state for i in ids) == ["queued", "running", "running"]


@on_sqlite
def test_a_cancelled_run_stops_and_keeps_its_points(store, supervisor, eventually):
    run_id = create_run(store, SLOW)
    supervisor()
    eventually(lambda: run(store, run_id).evaluations > 1)
    request_cancel(store, run_id)
    eventually(lambda: run(store, run_id).state == "cancelled")
    assert 1 < run(store, run_id).evaluations < 60


def test_a_killed_worker_loses_nothing_but_what_it_had_in_hand(
    store, straight, supervisor, eventually, hurry
):
    one, killed = supervisor(), create_run(store, SLOW)
    eventually(lambda: run(store, killed).evaluations > 2)
    os.kill(pids(one)[killed], signal.SIGKILL)
    hurry()
    eventually(lambda: run(store, killed).state == "done")
    assert run(store, killed).attempt == 2
    assert measured(store, killed) == straight
    assert "requeued" in kinds(store, killed)


@slow_on_postgresql
def test_a_paused_run_frees_its_slot_and_goes_on_when_resumed(
    store, straight, supervisor, eventually, hurry
):
    one, run_id = supervisor(), create_run(store, SLOW)
    eventually(lambda: run(store, run_id).evaluations > 1)
    request_pause(store, run_id)
    eventually(lambda: run(store, run_id).state == "paused")
    eventually(lambda: not pids(one))
    assert 0 < run(store, run_id).evaluations < 60
    resume(store, run_id)
    hurry()
    eventually(lambda: run(store, run_id).state == "done")
    assert measured(store, run_id) == straight


@on_sqlite
def test_stopping_now_does_not_wait_for_a_worker_that_hangs(
    store, straight, supervisor, eventually, hurry, monkeypatch
):
    monkeypatch.setenv("BITDIAL_LEASE_S", "120")  # longer than anybody waits here
    one, run_id = supervisor(), create_run(store, SLOW)
    eventually(lambda: run(store, run_id).evaluations > 1)
    os.kill(pids(one)[run_id], signal.SIGSTOP)
    stop_now(store, run_id)
    eventually(lambda: run(store, run_id).state == "paused")
    resume(store, run_id)
    hurry()
    eventually(lambda: run(store, run_id).state == "done")
    assert measured(store, run_id) == straight


@on_sqlite
def test_a_worker_that_hangs_is_replaced_after_the_lease(
    store, straight, supervisor, eventually, hurry
):
    one, run_id = supervisor(), create_run(store, SLOW)
    eventually(lambda: run(store, run_id).evaluations > 1)
    os.kill(pids(one)[run_id], signal.SIGSTOP)
    hurry()
    eventually(lambda: run(store, run_id).state == "done")
    assert run(store, run_id).attempt > 1
    assert measured(store, run_id) == straight
    assert "no sign of life for 3 s" in " ".join(e.text for e in events(store, run_id))


@slow_on_postgresql
def test_a_dead_hosts_run_is_taken_over_and_a_living_ones_is_not(store, supervisor, eventually):
    dead, living = create_run(store, SHORT), create_run(store, SHORT)
    for run_id in (dead, living):
        assert queue.claim(store, "another host") == (run_id, 1)
        lease.beat(store, run_id, 1, pid=1)
    over = threading.Event()

    def beat():
        while not over.wait(0.1):
            lease.beat(store, living, 1)

    beating = threading.Thread(target=beat)
    beating.start()
    try:
        supervisor(lease_s=1.5)
        eventually(lambda: run(store, dead).state == "done")
        assert run(store, dead).attempt == 2
        assert (run(store, living).state, run(store, living).attempt) == ("running", 1)
    finally:
        over.set()
        beating.join()


@on_sqlite
def test_a_run_just_started_by_hand_is_left_to_whoever_started_it(store, supervisor, eventually):
    mine = create_run(store, SHORT, host=lease.host_name(store))
    supervisor()
    other = create_run(store, SHORT)
    eventually(lambda: run(store, other).state == "done")
    assert (run(store, mine).state, run(store, mine).attempt) == ("running", 1)


@on_sqlite
def test_a_run_whose_last_worker_is_still_ending_waits_for_it(store, supervisor, eventually):
    held, other = create_run(store, SHORT), create_run(store, SHORT)
    with FileLock(files.run_lock(store, held)):
        supervisor()
        eventually(lambda: run(store, other).state == "done")
        assert (run(store, held).state, run(store, held).attempt) == ("queued", 0)
    eventually(lambda: run(store, held).state == "done")


@on_sqlite
@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("deadly", r"3 times in a row.*\(exit code 9\).*last words: out of toys"),
        ("hungry", "3 times in a row.*probably out of memory"),
    ],
)
def test_a_worker_that_dies_again_and_again_is_a_failed_run(
    store, supervisor, eventually, data, words
):
    run_id = create_run(store, dataclasses.replace(SHORT, data=data))
    for attempt in (1, 2):
        queue.claim(store, "here")
        queue.requeue(store, run_id, attempt, "died")
    supervisor()
    eventually(lambda: run(store, run_id).state == "failed")
    found = run(store, run_id)
    assert found.attempt == 3
    assert re.search(words, found.error)
    assert ("out of toys" in found.traceback) == (data == "deadly")


@on_sqlite
def test_how_often_it_may_die_is_a_setting(store, eventually, monkeypatch):
    monkeypatch.setenv("BITDIAL_TRIES", "1")
    run_id = create_run(store, SHORT)
    one = Supervisor(store, command=lambda *_: ["sh", "-c", "exit 9"], tick_s=0.05, gpus=())
    one.start()
    eventually(lambda: run(store, run_id).state == "failed")
    one.stop()
    assert run(store, run_id).attempt == 1


@on_sqlite
def test_power_cuts_are_not_the_runs_fault(store, supervisor, eventually):
    run_id = create_run(store, SHORT)
    for _ in range(5):
        # worker and server go at once: the run stays marked as running, and nobody works on it
        lease.claim(store, lease.host_name(store))
        with store.write() as connection:
            connection.exec_driver_sql("UPDATE runs SET pid = 999999999")
        one = Supervisor(store, command=lambda *_: ["sh", "-c", "kill -TERM $$"], tick_s=0.05)
        one.gpus = ()
        before = run(store, run_id).attempt
        one.start()
        # and what tells all processes of the machine to end is no fault of its either
        eventually(lambda seen=before: run(store, run_id).attempt >= seen + 1)
        one.stop()
        eventually(lambda: run(store, run_id).state == "queued")
    supervisor()
    eventually(lambda: run(store, run_id).state == "done")
    assert run(store, run_id).attempt > 10


@on_sqlite
def test_a_database_that_cannot_be_written_is_not_the_runs_fault(store, eventually, monkeypatch):
    monkeypatch.setattr(rests, "FIRST_S", 0.1)
    monkeypatch.setattr(rests, "LONGEST_S", 0.2)
    run_id = create_run(store, SHORT)
    away = ["sh", "-c", f"echo the disk is full; exit {children.UNAVAILABLE}"]
    one = Supervisor(
        store,
        command=lambda number, attempt: away if attempt < 6 else command(number, attempt),
        tick_s=0.05,
        gpus=(),
        tries=1,
    )
    one.start()
    eventually(lambda: run(store, run_id).state == "done")
    one.stop()
    assert run(store, run_id).attempt == 6
    said = [event.text for event in events(store, run_id) if event.kind == "requeued"]
    assert said == ["its worker ended (the disk is full); queued again"] * 5


@on_sqlite
def test_a_worker_that_cannot_be_started_is_a_failed_run(store, eventually):
    run_id = create_run(store, SHORT)
    one = Supervisor(store, command=lambda *_: ["/no/such/program"], tick_s=0.05, gpus=())
    one.start()
    eventually(lambda: run(store, run_id).state == "failed")
    one.stop()
    assert "could not be started" in run(store, run_id).error


@on_sqlite
def test_every_card_has_a_worker_that_sees_no_other(store, supervisor, eventually, monkeypatch):
    monkeypatch.setenv("BITDIAL_WORKERS", "")
    spec = dataclasses.replace(SHORT, data="talkative toys")
    ids = [create_run(store, spec) for _ in range(2)]
    one = supervisor(cap=None, gpus=("0", "5"))
    eventually(lambda: all(run(store, i).state == "done" for i in ids))
    assert one.cap >= 2
    slots = {run(store, i).device: files.log_file(store, i, 1).read_text() for i in ids}
    for device, said in slots.items():
        assert f"card {device.removeprefix('cuda:')}\n" in said


@on_sqlite
def test_the_databases_address_is_on_no_command_line(store):
    assert store.url not in " ".join(worker_command(1, 1))


@on_sqlite
def test_a_database_that_is_away_for_a_moment_ends_no_supervision(
    store, supervisor, eventually, monkeypatch, caplog
):
    open_runs, tries = lease.open_runs, []

    def away(store):
        tries.append(store)
        if len(tries) < 5:
            raise DatabaseUnavailable("the server is away")
        return open_runs(store)

    monkeypatch.setattr(lease, "open_runs", away)
    run_id = create_run(store, SHORT)
    with caplog.at_level(logging.ERROR, "bitdial"):
        supervisor()
        eventually(lambda: run(store, run_id).state == "done")
    assert [r.message for r in caplog.records].count(
        "supervisor: DatabaseUnavailable: the server is away"
    ) == 1


@on_sqlite
def test_what_deleted_runs_left_is_swept_away(store, supervisor, eventually, monkeypatch):
    gone, kept = create_run(store, SHORT), create_run(store, SHORT)
    for run_id in (gone, kept):
        files.log_file(store, run_id, 1).touch()
        request_cancel(store, run_id)
    monkeypatch.setattr(queue, "remove_files", lambda *_: None)
    delete_run(store, gone)
    assert files.leftovers(store) == {gone, kept}
    numbers, tries = queue.run_ids, []

    def away(store):
        tries.append(store)
        if len(tries) == 1:
            raise DatabaseUnavailable("the server is away")
        return numbers(store)

    monkeypatch.setattr(queue, "run_ids", away)
    supervisor()
    eventually(lambda: files.leftovers(store) == {kept})


@on_sqlite
def test_stopping_the_server_stops_its_workers_and_queues_their_runs(store, supervisor, eventually):
    run_id = create_run(store, SLOW)
    one = supervisor()
    eventually(lambda: run(store, run_id).evaluations > 2)
    pid = pids(one)[run_id]
    one.stop()
    assert run(store, run_id).state == "queued"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@on_sqlite
def test_a_second_server_stands_by_and_takes_over(store, supervisor, eventually):
    first = supervisor()
    eventually(lambda: first.leading)
    second = supervisor()
    run_id = create_run(store, SHORT)
    eventually(lambda: run(store, run_id).state == "done")
    assert not second.leading
    first.stop()
    eventually(lambda: second.leading)
    again = create_run(store, SHORT)
    eventually(lambda: run(store, again).state == "done")
    with pytest.raises(Timeout):
        FileLock(files.leader_lock(store), timeout=0).acquire()
