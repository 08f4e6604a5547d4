import builtins
import threading

import pytest

import qcore
from qcore.errors import EvaluatorFailed, InvalidData
from qcore.scoring.executors import dask_session, open_evaluator
from tests.helpers import toy_problem
from tests.qcore.scoring.toy_cluster import ToyCluster
from tests.qcore.scoring.toy_evaluator import ToyPrepared, at_point, forget_contexts, search

pytest.importorskip("distributed", reason="the cluster is optional: requirements-cluster.txt")


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    cluster = ToyCluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.stop()


@pytest.fixture(scope="module")
def wanted(tmp_path_factory):
    """The points of the search, scored here."""
    prepared = ToyPrepared(tmp_path_factory.mktemp("here"))
    return search(prepared, prepared.score)


def some(count):
    return toy_problem().all_allocations()[:count]


def test_a_cluster_gives_the_same_points_and_leaves_nothing_behind(toys, tmp_path, wanted):
    before = {thread.name for thread in threading.enumerate()}
    prepared = ToyPrepared(tmp_path, 0.05)
    with open_evaluator(toys.ready().address, prepared) as score:
        assert search(prepared, score) == wanted
        assert [p.search.n for p in score(some(3), "ptq", (7, 40))] == [40, 40, 40]
    assert prepared.count("built") == 2  # once on each worker
    workers = {path.name.split("-")[1] for path in tmp_path.glob("begun-*")}
    assert len(workers) == 2
    assert {thread.name for thread in threading.enumerate()} <= before


def test_a_worker_that_lost_its_model_gets_it_again(toys, tmp_path, wanted):
    prepared = ToyPrepared(tmp_path, 0.01)

    def forget():
        with toys.client() as client:
            client.run(forget_contexts)

    with open_evaluator(toys.ready().address, prepared) as score:
        assert search(prepared, score, on_event=at_point(9, forget)) == wanted
    assert prepared.count("built") == 4


def test_errors_name_their_worker_and_come_in_turn(toys, tmp_path):
    prepared, asked, came = ToyPrepared(tmp_path), some(4), []
    prepared.doom("wrong", asked[1])
    prepared.doom("bug", asked[3])
    with open_evaluator(toys.ready().address, prepared) as score:
        with pytest.raises(InvalidData, match=r"outputs are NaN\. \(on worker toy-"):
            came.extend(score(asked[:3], "ptq", None))
        assert [p.allocation for p in came] == asked[:1]
        with pytest.raises(EvaluatorFailed, match=r"Worker toy-.* failed: RuntimeError: a bug"):
            list(score(asked[2:], "ptq", None))


def test_other_versions_are_refused_in_words(toys, tmp_path, monkeypatch):
    address = toys.ready().address
    monkeypatch.setattr(qcore, "__version__", "9.9")
    with (
        pytest.raises(EvaluatorFailed, match=r"has bitdial 0\.\S+ \(here: 9\.9\)\. Install"),
        open_evaluator(address, ToyPrepared(tmp_path)),
    ):
        pytest.fail("opened")


def test_a_killed_worker_is_replaced_by_the_others(toys, tmp_path, wanted):
    prepared = ToyPrepared(tmp_path, 0.02)
    with open_evaluator(toys.ready().address, prepared) as score:
        assert search(prepared, score, on_event=at_point(5, toys.kill_worker)) == wanted


def test_all_workers_gone_and_a_new_one_comes(toys, tmp_path, wanted):
    prepared, said = ToyPrepared(tmp_path, 0.02), []

    def all_gone():
        while toys.workers:
            toys.kill_worker()

    def hear(words):
        said.append(words)
        if "waiting for one" in words:
            toys.start_worker()

    with open_evaluator(toys.ready(1).address, prepared, on_progress=hear) as score:
        assert search(prepared, score, on_event=at_point(5, all_gone)) == wanted
    assert any("has no worker, waiting for one" in words for words in said)
    assert prepared.count("built") == 2


def test_a_graphics_card_is_asked_for_by_its_label(toys, tmp_path, wanted):
    prepared, said = ToyPrepared(tmp_path, device="cuda"), []

    def hear(words):
        said.append(words)
        if "with a GPU" in words:
            toys.start_worker("--resources", "GPU=1")

    with open_evaluator(toys.ready(1).address, prepared, on_progress=hear) as score:
        assert search(prepared, score) == wanted
    places = {path.name.split("-")[1] for path in tmp_path.glob("begun-*")}
    assert places == {str(toys.workers[-1].pid)}
    assert any("has no worker with a GPU" in words for words in said)


def test_a_model_that_kills_workers_ends_the_search_in_words(toys, tmp_path, monkeypatch):
    monkeypatch.setattr(dask_session, "MOST_DEATHS", 1)
    (tmp_path / "deadly-build").touch()
    with (
        open_evaluator(toys.ready(1).address, ToyPrepared(tmp_path)) as score,
        pytest.raises(EvaluatorFailed, match=r"died while unpacking .* want of memory"),
    ):
        list(score(some(2), "ptq", None))


def test_a_lost_scheduler_is_waited_for(toys, tmp_path, wanted, monkeypatch):
    monkeypatch.setattr(dask_session, "CONNECT_S", 1.0)
    prepared, said = ToyPrepared(tmp_path, 0.02), []

    def hear(words):
        said.append(words)
        if "not reachable" in words and toys.scheduler.poll() is not None:
            toys.stop()
            toys.start_scheduler()
            toys.start_worker()

    with open_evaluator(toys.ready(1).address, prepared, on_progress=hear) as score:
        assert search(prepared, score, on_event=at_point(9, toys.kill_scheduler)) == wanted
    assert any(f"cluster {toys.address} not reachable, retrying" in words for words in said)


def test_an_allocation_that_kills_workers_ends_the_search_in_words(tmp_path):
    prepared, asked = ToyPrepared(tmp_path), some(1)
    prepared.doom("deadly", asked[0])
    strict = ToyCluster(tmp_path, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0")
    try:
        with (
            open_evaluator(strict.ready(1).address, prepared) as score,
            pytest.raises(EvaluatorFailed, match=r"died, one after the other, .* want of memory"),
        ):
            list(score(asked, "ptq", None))
    finally:
        strict.stop()


def test_a_cluster_out_of_reach_is_tried_again_until_told_to_stop(tmp_path, monkeypatch):
    monkeypatch.setattr(dask_session, "CONNECT_S", 0.5)
    said, address = [], ToyCluster(tmp_path).address
    with open_evaluator(
        address, ToyPrepared(tmp_path), on_progress=said.append, should_stop=lambda: len(said) > 0
    ) as score:
        assert list(score(some(2), "ptq", None)) == []
    assert said[0].startswith(f"cluster {address} not reachable, retrying")


def test_certificates_are_asked_for(tmp_path):
    with (
        pytest.raises(EvaluatorFailed, match="certificates"),
        open_evaluator("tls://127.0.0.1:9", ToyPrepared(tmp_path)),
    ):
        pytest.fail("opened")


def test_without_the_package_the_way_to_it_is_named(tmp_path, monkeypatch):
    real = builtins.__import__

    def refuse(name, *rest):
        if name == "distributed":
            raise ModuleNotFoundError("No module named 'distributed'", name="distributed")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with (
        pytest.raises(EvaluatorFailed, match=r"pip install -r requirements-cluster\.txt"),
        open_evaluator("tcp://127.0.0.1:9", ToyPrepared(tmp_path)),
    ):
        pytest.fail("opened")
