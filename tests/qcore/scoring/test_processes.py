import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from qcore.errors import EvaluatorFailed, InvalidData
from qcore.scoring.executors import open_evaluator
from tests.helpers import toy_problem
from tests.qcore.scoring.toy_evaluator import ToyPrepared, at_point, search

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def wanted(tmp_path_factory):
    """The points of the search, scored here."""
    prepared = ToyPrepared(tmp_path_factory.mktemp("here"))
    return search(prepared, prepared.score)


def some(count):
    return toy_problem().all_allocations()[:count]


def test_processes_give_the_same_points_and_build_once_each(tmp_path, wanted):
    prepared = ToyPrepared(tmp_path, 0.01)
    with open_evaluator("procs:2", prepared) as score:
        assert search(prepared, score) == wanted
        assert search(prepared, score) == wanted
        window = [p.search.n for p in score(some(3), "ptq", (7, 40))]
        assert len(multiprocessing.active_children()) == 2
    assert window == [40, 40, 40]
    assert prepared.count("built") == 2
    assert prepared.recipes == 1
    assert multiprocessing.active_children() == []


def test_a_killed_process_is_replaced_and_no_point_lost(tmp_path, wanted):
    prepared, said = ToyPrepared(tmp_path, 0.03), []

    def kill_one():
        multiprocessing.active_children()[0].kill()

    with open_evaluator("procs:2", prepared, on_progress=said.append) as score:
        assert search(prepared, score, on_event=at_point(5, kill_one)) == wanted
    assert any("died (exit code -9)" in words for words in said)
    assert len(wanted) <= prepared.count("begun") <= len(wanted) + 1


def test_all_processes_killed(tmp_path, wanted):
    prepared = ToyPrepared(tmp_path, 0.03)

    def kill_all():
        for child in multiprocessing.active_children():
            child.kill()

    with open_evaluator("procs:2", prepared) as score:
        assert search(prepared, score, on_event=at_point(7, kill_all)) == wanted


def test_an_allocation_that_kills_every_process_ends_the_search_in_words(tmp_path):
    prepared, asked = ToyPrepared(tmp_path), some(4)
    prepared.doom("deadly", asked[2])
    came = []
    with open_evaluator("procs:1", prepared) as score:
        with pytest.raises(EvaluatorFailed, match=r"3 processes died .* want of memory"):
            came.extend(score(asked, "ptq", None))
        assert [p.allocation for p in came] == asked[:2]
        assert len(list(score(asked[:1], "ptq", None))) == 1


def test_errors_of_a_process_are_raised_here_after_the_points_before_them(tmp_path):
    prepared, asked = ToyPrepared(tmp_path), some(4)
    prepared.doom("wrong", asked[2])
    prepared.doom("bug", asked[1])
    came = []
    with open_evaluator("procs:2", prepared) as score:
        with pytest.raises(EvaluatorFailed, match="RuntimeError: a bug"):
            came.extend(score(asked, "ptq", None))
        assert [p.allocation for p in came] == asked[:1]
        with pytest.raises(InvalidData, match="outputs are NaN"):
            list(score(asked[2:], "ptq", None))


def test_batches_left_early_do_not_leak_into_the_next(tmp_path):
    prepared, asked = ToyPrepared(tmp_path, 0.02), some(12)
    with open_evaluator("procs:2", prepared) as score:
        points = score(asked[:6], "ptq", None)
        assert next(points).allocation == asked[0]
        points.close()
        assert [p.allocation for p in score(asked[6:], "ptq", None)] == asked[6:]


def test_waiting_for_a_slow_process_ends_when_told_to_stop(tmp_path):
    prepared, stop = ToyPrepared(tmp_path, 600.0), []

    def should_stop():
        if prepared.count("begun"):
            stop.append(True)
        return bool(stop)

    with open_evaluator("procs:1", prepared, should_stop=should_stop) as score:
        assert list(score(some(3), "ptq", None)) == []
    assert stop
    assert multiprocessing.active_children() == []


def test_processes_keep_the_two_newest_stages(tmp_path):
    prepared = ToyPrepared(tmp_path)
    with open_evaluator("procs:1", prepared) as score:
        for stage in ("a", "b", "a", "b", "c", "b", "a"):
            (point,) = score(some(1), stage, None)
            assert point.stage == stage
    assert prepared.count("built") == 4  # a, b, c and a again
    assert prepared.recipes == 4


PARENT = """
import sys
sys.path.insert(0, {root!r})
if __name__ == "__main__":
    from qcore.scoring.executors import open_evaluator
    from tests.helpers import toy_problem
    from tests.qcore.scoring.toy_evaluator import ToyPrepared
    with open_evaluator("procs:2", ToyPrepared({folder!r}, 600.0)) as score:
        list(score(toy_problem().all_allocations()[:9], "ptq", None))
"""


def test_processes_end_with_a_killed_parent(tmp_path):
    script = tmp_path / "parent.py"
    (tmp_path / "notes").mkdir()
    script.write_text(PARENT.format(root=str(ROOT), folder=str(tmp_path / "notes")))
    parent = subprocess.Popen([sys.executable, str(script)], cwd=ROOT, env=os.environ)
    until = time.monotonic() + 60
    while len(list((tmp_path / "notes").glob("begun-*"))) < 2:
        assert time.monotonic() < until
        assert parent.poll() is None
        time.sleep(0.05)
    children = psutil.Process(parent.pid).children(recursive=True)
    assert len(children) >= 2
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []
