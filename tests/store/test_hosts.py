"""Several hosts on one database: no run is claimed twice, given back twice, or named twice."""

from concurrent.futures import ThreadPoolExecutor

from qcore.errors import InvalidParams
from store import all_runs, create_run, open_store
from store.runs import queue
from tests.store.fake import SPEC


def claim_all(url, host):
    store = open_store(url)
    claimed = []
    while (held := queue.claim(store, host)) is not None:
        claimed.append(held)
    store.engine.dispose()
    return claimed


def test_supervisors_of_several_hosts_share_the_queue_without_a_run_twice(store):
    ids = {create_run(store, SPEC) for _ in range(40)}
    with ThreadPoolExecutor(4) as hosts:
        shares = list(hosts.map(lambda host: claim_all(store.url, host), "abcd"))
    claimed = [held for share in shares for held in share]
    assert {run_id for run_id, _ in claimed} == ids
    assert len(claimed) == len(ids)
    assert {attempt for _, attempt in claimed} == {1}


def test_of_many_who_give_up_one_attempt_one_does(store):
    create_run(store, SPEC)
    held = queue.claim(store, "a")
    stores = [open_store(store.url) for _ in range(6)]
    with ThreadPoolExecutor(6) as hosts:
        done = list(hosts.map(lambda one: queue.requeue(one, *held, "lost"), stores))
    assert sorted(done) == [False] * 5 + [True]
    assert queue.claim(store, "b") == (held[0], 2)
    for one in stores:
        one.engine.dispose()


def test_of_two_runs_given_the_same_name_at_once_one_is_refused(store):
    stores = [open_store(store.url) for _ in range(6)]

    def create(one):
        try:
            return create_run(one, SPEC, "mine")
        except InvalidParams:
            return None

    with ThreadPoolExecutor(6) as users:
        made = [run_id for run_id in users.map(create, stores) if run_id is not None]
    assert len(made) == 1
    assert [run.name for run in all_runs(store)] == ["mine"]
    for one in stores:
        one.engine.dispose()
