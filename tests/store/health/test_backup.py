"""Backups hold what was stored, restoring loses nothing, and damaged rows are set aside whole."""

import json
import os
import sqlite3
import threading
from contextlib import closing

import pytest
from sqlalchemy import text

from qcore.errors import DatabaseUnavailable, InvalidParams, StoreError
from store import all_runs, create_run, open_store, points_of
from store.__main__ import main
from store.health import backup, doctor
from store.health.repair import repair
from store.runs import points, queue
from tests.store.fake import SPEC, FakePrepared

DAY_S = 86_400


def a_run(store):
    run_id = create_run(store, SPEC)
    attempt = queue.claim(store, "here", run_id=run_id)[1]
    prepared = FakePrepared()
    point = next(prepared.score([prepared.float_point.allocation]))
    points.add_point(store, run_id, attempt, point)
    return run_id


def verdicts(location):
    return {(found.subject, found.verdict) for found in doctor.findings(location)}


def test_a_backup_made_while_others_write_is_whole_and_restores(sqlite_store, tmp_path):
    store, copy = sqlite_store, tmp_path / "copy"
    run_id = a_run(store)
    with store.write() as connection:
        connection.exec_driver_sql("UPDATE runs SET message = 'not yet said'")
        assert backup.back_up(store, copy) > 0
    assert [path.name for path in tmp_path.iterdir() if "copy" in path.name] == ["copy"]
    assert copy.stat().st_mode & 0o077 == 0
    create_run(store, SPEC)
    store.engine.dispose()
    aside = backup.restore(store.url, copy)
    again = open_store(store.url)
    assert [run.id for run in all_runs(again)] == [run_id]
    assert all_runs(again)[0].message != "not yet said"
    assert len(points_of(again, [run_id])) == 1
    # what was there is kept, with what was stored last
    with closing(sqlite3.connect(aside)) as before:
        assert before.execute("SELECT count(*) FROM runs").fetchone() == (2,)
    again.engine.dispose()


@pytest.mark.parametrize("ruin", ["missing", "text", "half", "foreign", "empty version", "folder"])
def test_what_is_no_sound_backup_is_refused_and_nothing_is_changed(sqlite_store, tmp_path, ruin):
    file = tmp_path / "copy"
    if ruin == "text":
        file.write_text("dear diary " * 1000)
    elif ruin == "folder":
        file.mkdir()
    elif ruin == "foreign":
        with closing(sqlite3.connect(file)) as other:
            other.execute("CREATE TABLE birds (x)")
    elif ruin != "missing":
        backup.back_up(sqlite_store, file)
        if ruin == "half":
            os.truncate(file, file.stat().st_size // 2)
        else:
            with closing(sqlite3.connect(file)) as other:
                other.execute("DELETE FROM alembic_version")
                other.commit()
    sqlite_store.engine.dispose()
    before = (tmp_path / "bitdial.db").read_bytes()
    with pytest.raises(InvalidParams, match="cannot be put back"):
        backup.restore(sqlite_store.url, file)
    assert (tmp_path / "bitdial.db").read_bytes() == before


def test_a_database_in_use_is_not_replaced(sqlite_store, tmp_path):
    backup.back_up(sqlite_store, tmp_path / "copy")
    with sqlite_store.read() as connection:
        connection.exec_driver_sql("SELECT 1 FROM runs")
        with pytest.raises(DatabaseUnavailable, match="in use"):
            backup.restore(sqlite_store.url, tmp_path / "copy")
    create_run(sqlite_store, SPEC)


def test_a_ruined_database_comes_back_by_the_command(sqlite_store, tmp_path, capsys):
    a_run(sqlite_store)
    place = ["--database", str(tmp_path / "bitdial.db")]
    assert main([*place, "backup", str(tmp_path / "copy")]) == 0
    assert main([*place, "backup", str(tmp_path / "copy")]) == 2
    sqlite_store.engine.dispose()
    (tmp_path / "bitdial.db").write_text("dear diary " * 1000)
    assert main([*place, "restore", str(tmp_path / "copy")]) == 0
    assert "holds what" in capsys.readouterr().out
    assert main([*place, "list"]) == 0
    assert "random" in capsys.readouterr().out


def test_weekly_backups_are_bounded_and_outlive_clocks_that_jump(sqlite_store, tmp_path):
    file, start = tmp_path / "bitdial.db", 1_800_000_000
    make = backup.back_up_weekly
    assert make(sqlite_store, 0, lambda: start) is None
    made = [make(sqlite_store, 2, lambda day=day: start + day * DAY_S) for day in range(22)]
    # one in seven days
    assert [day for day, path in enumerate(made) if path] == [0, 7, 14, 21]
    assert backup.weekly(file) == [made[14], made[21]]
    # a clock that was years ahead, and is right again: its backup keeps nobody waiting
    ahead = make(sqlite_store, 2, lambda: start + 3000 * DAY_S)
    right = make(sqlite_store, 2, lambda: start + 28 * DAY_S)
    assert ahead
    assert right
    assert right.exists()
    assert len(backup.weekly(file)) == 2


def test_a_damaged_database_replaces_no_sound_backup(sqlite_store, tmp_path):
    file, start = tmp_path / "bitdial.db", 1_800_000_000
    for _ in range(200):
        create_run(sqlite_store, SPEC)
    kept = backup.back_up_weekly(sqlite_store, 1, lambda: start)
    sqlite_store.engine.dispose()
    data = bytearray(file.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 20_000] = bytes(20_000)
    file.write_bytes(data)
    with pytest.raises(StoreError, match="damaged"):
        backup.back_up_weekly(sqlite_store, 1, lambda: start + 8 * DAY_S)
    assert backup.weekly(file) == [kept]
    assert not list(tmp_path.glob("*.part"))


def test_a_stopping_server_ends_its_backups(sqlite_store, tmp_path):
    stopping = threading.Event()
    stopping.set()
    backup.keep_backups(sqlite_store, stopping)
    assert not backup.weekly(tmp_path / "bitdial.db")


def test_a_database_server_is_told_of_its_own_way(postgres_store, tmp_path):
    with pytest.raises(DatabaseUnavailable, match="pg_dump"):
        backup.back_up(postgres_store, tmp_path / "copy")
    with pytest.raises(DatabaseUnavailable, match="pg_restore"):
        backup.restore(postgres_store.url, tmp_path / "copy")
    assert backup.back_up_weekly(postgres_store, 4) is None


RUINS = {
    "runs": "UPDATE runs SET spec = '{}' WHERE id = 1",
    "points": "UPDATE points SET search = '[3]' WHERE run_id = 1",
}


@pytest.mark.parametrize("table", RUINS)
def test_damaged_rows_are_set_aside_and_the_others_stay(store, tmp_path, table):
    runs = [a_run(store), a_run(store)]
    aside = tmp_path / "aside.jsonl"
    assert repair(store, aside) == []
    assert not aside.exists()
    with store.write() as connection:
        before = connection.execute(text("SELECT * FROM points ORDER BY id")).all()
        connection.exec_driver_sql(RUINS[table])
    found = repair(store, aside)
    lines = [json.loads(line) for line in aside.read_text().splitlines()]
    assert [line["table"] for line in lines] == [each.table for each in found]
    whole = {"runs": [runs[1]], "points": runs}[table]
    assert sorted(run.id for run in all_runs(store)) == whole
    assert [stored.run_id for stored in points_of(store, runs)] == [runs[1]]
    # the point of a damaged run is in the file, too
    assert next(line["row"]["run_id"] for line in lines if line["table"] == "points") == runs[0]
    assert len(before) == 2
    with pytest.raises(InvalidParams, match="there already"):
        repair(store, aside)
    assert repair(store, tmp_path / "second.jsonl") == []


def test_text_that_is_no_json_is_set_aside_as_it_is(sqlite_store, tmp_path, capsys):
    run_id = a_run(sqlite_store)
    with sqlite_store.write() as connection:
        connection.exec_driver_sql("UPDATE points SET allocation = '{\"cut'")
    place = ["--database", str(tmp_path / "bitdial.db")]
    assert main([*place, "repair", "--aside", str(tmp_path / "aside")]) == 0
    assert "1 rows set aside" in capsys.readouterr().out
    [line] = map(json.loads, (tmp_path / "aside").read_text().splitlines())
    assert line["row"]["allocation"] == '{"cut'
    assert points_of(sqlite_store, [run_id]) == []


@pytest.mark.parametrize(
    ("ruin", "subject"),
    [
        ("DELETE FROM alembic_version", "Database"),
        ("UPDATE alembic_version SET version_num = ''", "Schema"),
        ("UPDATE alembic_version SET version_num = '0002x'", "Schema"),
        ("DROP TABLE alembic_version", "Database"),
        ("ALTER TABLE points DROP COLUMN seconds", "Tables"),
        ("ALTER TABLE runs DROP COLUMN message", "Tables"),
        ("DROP TABLE events", "Tables"),
    ],
)
def test_the_doctor_says_what_list_would_say(location, ruin, subject):
    store = open_store(location)
    with store.write() as connection:
        connection.exec_driver_sql(ruin)
    store.engine.dispose()
    assert (subject, "problem") in verdicts(location)
    refused = main(["--database", location, "list"])
    assert refused == 2 or subject == "Tables"
