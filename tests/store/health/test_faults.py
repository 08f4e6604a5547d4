"""One damaged cell harms itself alone: every command answers, and untouched runs go on."""

import random
import shutil
from contextlib import suppress

import pytest

from qcore.errors import QcoreError
from store import __main__ as cli
from store import open_store
from store.health import doctor
from store.runs import configurations, points, queue
from store.runs.lease import FIGURES
from store.workers.supervisor import Supervisor
from tests import faults
from tests.pages import sample

SOME = 40
"""Damaged cells that the quick test tries; every one is tried by the slow one."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A database with rows in every table but those of checkpoints; the last run waits."""
    path = tmp_path_factory.mktemp("whole") / "bitdial.db"
    store = open_store(path)
    sample.fill(store)
    held = sample.add_run(store, "cmaes", [sample.point(sample.uniform(8), 900)])
    queue.progress(store, *held, 1, 2, "measured", {"generation": 1, "best": 0.1})
    configurations.save_config(
        store, "kept", sample.config_of(sample.point(sample.uniform(4), 800))
    )
    configurations.update_config(
        store, 1, check={"at": "2026-01-01T00:00:00+00:00", "passed": True, "wanted": 0.9,
                         "got": 0.9, "n": 100},
    )  # fmt: skip
    queue.create_run(store, sample.spec_of("random", seed=9), "waits")
    store.engine.dispose()
    return path


CASES = [
    (table, column, how)
    for table, columns in {
        "runs": "name model spec state want attempt idle_attempts beat host pid device step total "
        "message error traceback created started finished origin",
        "points": "run_id stage images digest allocation search test device seconds config "
        "test_right",
        "models": "name data digest spec float_point at",
        "sensitivity_tables": "model_digest document at",
        "events": "run_id at kind text attempt data",
        "configurations": "name note text at tags source verdict",
    }.items()
    for column in columns.split()
    for how in faults.DAMAGE
]


def test_every_column_of_every_table_is_among_them(whole):
    assert {case[:2] for case in CASES} == set(faults.cells(whole)) - {
        cell for cell in faults.cells(whole) if cell[0] == "checkpoints"
    }


def answers(store, capsys):
    """Ask everything that pages and commands ask; a command ends by itself, and in words."""
    runs = queue.all_runs(store)
    for run in runs:
        points.points_of(store, [run.id], windows=True)
        queue.events(store, run.id, [FIGURES])
        queue.events(store, run.id)
    for name in ("resnet8", "mine"):
        points.model_facts(store, name)
        points.float_point(store, name, "fashion-mnist")
    points.tables(store, sample.MODEL.digest)
    points.load_table(store, "kl/test")
    points.test_right(store, range(1, 60))
    points.config_text(store, 1)
    configurations.configs(store)
    queue.open_runs(store)
    for words in (
        ("list",),
        ("watch", "1"),
        ("export", "1", "--out", str(store.folder / "out.json")),
        ("pick", "--model", "resnet8", "--within", "50"),
        ("rules",),
        ("resume", "1"),
    ):
        asked = cli.parser().parse_args(words)
        with suppress(QcoreError):
            assert asked.function(store, asked) in (0, 1), words
    said, _ = capsys.readouterr()
    return said


def harms_itself_alone(path, capsys, table, column, how, seed=0):
    row = "kl/test" if table == "sensitivity_tables" else 1
    faults.spoil(path, table, column, row, how, seed)
    store = open_store(path)
    try:
        said = answers(store, capsys)
        kept = {run.id for run in queue.all_runs(store)}
        assert kept >= {2, 3, 5}
        aside = queue.damaged_runs(store)
        assert kept | set(aside) == {1, 2, 3, 4, 5}
        assert all(f"{number:5}  damaged" in said for number in aside)
        assert all(f"Run {number} cannot be read" in words for number, words in aside.items())
        assert len(points.points_of(store, [2])) == 20
        named = [found for found in doctor.damage(store) if found.verdict == "problem"]
        if aside:
            assert named
        assert all(len(found.words) < 1000 for found in named)
    finally:
        store.engine.dispose()


@pytest.mark.parametrize("case", random.Random(1).sample(CASES, SOME), ids="-".join)
def test_a_damaged_cell_harms_itself_alone(whole, tmp_path, monkeypatch, capsys, case):
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path))
    harms_itself_alone(shutil.copy(whole, tmp_path / "bitdial.db"), capsys, *case)


@pytest.mark.slow
def test_every_damaged_cell_harms_itself_alone(whole, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path))
    for case in CASES:
        harms_itself_alone(shutil.copy(whole, tmp_path / f"{'-'.join(case)}.db"), capsys, *case)


def test_a_damaged_run_does_not_keep_others_from_being_worked_on(whole, tmp_path, monkeypatch):
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path))
    path = shutil.copy(whole, tmp_path / "bitdial.db")
    store = open_store(path)
    queue.create_run(store, sample.spec_of("random", seed=10), "waits, too")
    faults.put(path, "runs", "spec", 5, '{"model": "resnet8", "data": "x", "search": "random"}')
    begun = []
    supervisor = Supervisor(
        store, cap=4, gpus=(), command=lambda run, attempt: begun.append(run) or ["true"]
    )
    supervisor._fill([run for run in queue.open_runs(store) if run.state == "queued"])
    supervisor._end_children()
    assert begun == [6]
    with store.read() as connection:
        [(state, error)] = connection.exec_driver_sql(
            "SELECT state, error FROM runs WHERE id = 5"
        ).all()
    assert state == "failed"
    assert "Run 5 cannot be read: weight_bits is missing" in error
    store.engine.dispose()
