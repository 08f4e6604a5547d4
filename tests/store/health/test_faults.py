"""One damaged cell harms itself alone: every command answers, and untouched runs go on."""

import random
import shutil
from contextlib import suppress
from uuid import uuid4

import pytest
from sqlalchemy import make_url

from qcore.errors import QcoreError
from store import __main__ as cli
from store import open_store
from store.health import doctor
from store.health.repair import repair
from store.runs import configurations, files, points, queue
from store.runs.checkpoints import FileCheckpoints
from store.runs.lease import FIGURES
from store.workers.supervisor import Supervisor
from tests import faults
from tests.pages import sample
from tests.postgres import new_database

SOME = 20
"""Damaged cells that the quick test tries; every one is tried by the slow one."""

SOME_ON_SERVER = 12
"""The same on PostgreSQL, whose copies take longer; of what it does not refuse."""

STAGE, STATES = "round-0/weights", {1: b"weights", 2: b"better weights"}
ROWS = {"sensitivity_tables": "kl/test", "checkpoints": 2}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A database with rows in every table; the last run waits."""
    path = tmp_path_factory.mktemp("whole") / "bitdial.db"
    return path, fill(open_store(path))


@pytest.fixture(scope="module")
def whole_on_server(template, tmp_path_factory):
    """The same on PostgreSQL: the name of a database to copy."""
    with new_database(template) as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("BITDIAL_DATA", str(tmp_path_factory.mktemp("whole")))
        states = fill(open_store(url))
        yield make_url(url).database, states


def fill(store):
    """Returns the folder of its training states."""
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
    states = FileCheckpoints(store, *held)
    for epoch in STATES:
        states.save(STAGE, epoch, STATES[epoch])
    store.engine.dispose()
    return files.checkpoint_folder(store, held[0])


CASES = [
    (table, column, how)
    for table, columns in {
        "runs": "name model spec state want attempt idle_attempts beat host pid device step total "
        "message error traceback created started finished origin",
        "points": "run_id stage images digest allocation search test device seconds config "
        "test_right checksum",
        "models": "name data digest spec float_point at",
        "sensitivity_tables": "key model_digest document at",
        "checkpoints": "run_id stage epoch attempt path bytes sha256 versions at",
        "events": "run_id at kind text attempt data",
        "configurations": "name note text at tags source verdict",
    }.items()
    for column in columns.split()
    for how in faults.DAMAGE
]


def test_every_column_of_every_table_is_among_them(whole):
    assert {case[:2] for case in CASES} == set(faults.cells(whole[0]))


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


def harms_itself_alone(location, states, capsys, case):
    store = open_store(location)
    shutil.copytree(states, files.checkpoint_folder(store, 4), dirs_exist_ok=True)
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
        # a damaged checkpoint costs the work since the one before, and nothing else
        newest, before = sorted(STATES.items(), reverse=True)
        held = (4, 1)
        assert FileCheckpoints(store, *held).load(STAGE) in (
            [newest, before] if case[0] == "checkpoints" else [newest]
        )
        is_repaired(store, named)
    finally:
        store.engine.dispose()


def is_repaired(store, named):
    """What the doctor names, and nothing else, is set aside; then nothing is left to name."""
    file = store.folder / f"aside-{uuid4()}.jsonl"
    taken = repair(store, file)
    assert bool(taken) == bool(named)
    assert {f"{each.reason} It is left out; all else is used." for each in taken} >= {
        found.words for found in named if "more." not in found.words
    }
    assert [found.verdict for found in doctor.damage(store)] == ["ok"]
    assert {run.id for run in queue.all_runs(store)} >= {2, 3, 5}
    assert len(points.points_of(store, [2])) == 20


@pytest.mark.parametrize("case", random.Random(1).sample(CASES, SOME), ids="-".join)
def test_a_damaged_cell_harms_itself_alone(whole, tmp_path, monkeypatch, capsys, case):
    on_sqlite(whole, tmp_path, monkeypatch, capsys, case)


def on_sqlite(whole, folder, monkeypatch, capsys, case):
    monkeypatch.setenv("BITDIAL_DATA", str(folder))
    path = shutil.copy(whole[0], folder / "bitdial.db")
    table, column, how = case
    faults.spoil(path, table, column, ROWS.get(table, 1), how)
    harms_itself_alone(path, whole[1], capsys, case)


@pytest.mark.slow
def test_every_damaged_cell_harms_itself_alone(whole, tmp_path, monkeypatch, capsys):
    for case in CASES:
        (tmp_path / "-".join(case)).mkdir()
        on_sqlite(whole, tmp_path / "-".join(case), monkeypatch, capsys, case)


def on_server(whole, folder, monkeypatch, capsys, case):
    """Whether the server took the damage; then it harmed itself alone."""
    monkeypatch.setenv("BITDIAL_DATA", str(folder))
    table, column, how = case
    with new_database(whole[0]) as url:
        taken = faults.spoil_on_server(url, table, column, ROWS.get(table, 1), how)
        if taken:
            harms_itself_alone(url, whole[1], capsys, case)
    return taken


def test_a_damaged_cell_of_a_server_harms_itself_alone(
    whole_on_server, tmp_path, monkeypatch, capsys
):
    cases = iter(random.Random(2).sample(CASES, len(CASES)))
    tried = 0
    while tried < SOME_ON_SERVER:
        tried += on_server(whole_on_server, tmp_path, monkeypatch, capsys, next(cases))


@pytest.mark.slow
def test_every_damaged_cell_of_a_server_harms_itself_alone(
    whole_on_server, tmp_path, monkeypatch, capsys
):
    tried = sum(on_server(whole_on_server, tmp_path, monkeypatch, capsys, case) for case in CASES)
    assert tried > len(CASES) / 4


def test_a_damaged_run_does_not_keep_others_from_being_worked_on(whole, tmp_path, monkeypatch):
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path))
    path = shutil.copy(whole[0], tmp_path / "bitdial.db")
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
