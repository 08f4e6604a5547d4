"""A database moves to a new schema whole or not at all, and with everything in it."""

import dataclasses
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, create_engine, inspect, select

from qcore.allocation import BitAllocation
from qcore.errors import DatabaseTooNew, DatabaseUnavailable
from store import (
    all_runs,
    config_text,
    configs,
    create_run,
    events,
    float_point,
    model_spec,
    open_store,
    points_of,
    tables,
)
from store.database import connect
from store.database.locations import database_url
from store.database.schema import Base
from store.database.upgrade import SCRIPTS, bring_up_to_date, newest_revision
from tests.store.fake import SPEC

ROOT = Path(__file__).parents[2]
RELEASES = sorted((Path(__file__).parent / "releases").glob("schema-*.sqlite"))


def revision_of(path):
    return path.stem.removeprefix("schema-")


@pytest.fixture(params=RELEASES, ids=revision_of)
def release(request):
    """A database of an earlier release: one run done, one waiting, points, a table, a file."""
    return request.param


@pytest.fixture
def old(release, empty_location, backend):
    """The same in each kind of database."""
    if backend == "sqlite":
        shutil.copy(release, empty_location)
    else:
        copy_into(empty_location, release)
    return empty_location


def copy_into(url, release):
    target, source = connect(url), create_engine(f"sqlite:///{release}")
    bring_up_to_date(target, url, lambda config, _: command.upgrade(config, revision_of(release)))
    kept = MetaData()
    kept.reflect(source)
    made = MetaData()
    made.reflect(target)
    with source.connect() as there, target.begin() as here:
        for table in made.sorted_tables:
            if table.name == "alembic_version":
                continue
            rows = [dict(row._mapping) for row in there.execute(select(kept.tables[table.name]))]
            if rows:
                here.execute(table.insert(), rows)
            if "id" in table.c:
                here.exec_driver_sql(
                    f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), "
                    f"greatest(1, (SELECT max(id) FROM {table.name})))"
                )
    source.dispose()
    target.dispose()


def facts(url):
    """Revision, number of runs and of points, whatever the schema."""
    engine = connect(url)
    with engine.begin() as connection:
        counts = [
            connection.exec_driver_sql(f"SELECT {what}").scalar()
            for what in (
                "version_num FROM alembic_version", "count(*) FROM runs", "count(*) FROM points",
                "count(*) FROM events",
            )
        ]  # fmt: skip
    names = sorted(inspect(engine).get_table_names())
    engine.dispose()
    return counts, names


def test_the_migrations_make_exactly_the_tables_of_the_schema(store):
    found = inspect(store.engine)
    names = set(found.get_table_names()) - {"alembic_version"}
    assert names == set(Base.metadata.tables)
    for name, table in Base.metadata.tables.items():
        columns = {c["name"]: c["nullable"] for c in found.get_columns(name)}
        assert columns == {c.name: c.nullable for c in table.columns}
        unique = {tuple(u["column_names"]) for u in found.get_unique_constraints(name)}
        wanted = [c for c in table.constraints if type(c).__name__ == "UniqueConstraint"]
        assert unique == {tuple(column.name for column in c.columns) for c in wanted}


def test_a_database_of_an_earlier_release_keeps_everything(old):
    store = open_store(old)
    assert facts(store.url)[0] == [newest_revision(), 2, 5, 6]
    waiting, kept = all_runs(store)
    # runs of then were corrected layer after layer: nothing else was there
    assert kept.spec == dataclasses.replace(SPEC, correction="sequential")
    assert (kept.name, kept.state, kept.evaluations) == ("kept", "done", 4)
    assert (waiting.name, waiting.state, waiting.attempt) == ("waiting", "queued", 1)
    stored = points_of(store, [kept.id])
    layers = model_spec(store, kept.spec.model).layers
    assert [s.point.allocation for s in stored] == [
        BitAllocation.uniform(layers, bits) for bits in (2, 3, 4, 8)
    ]
    assert [s.has_config for s in stored] == [False, False, False, True]
    assert stored[-1].point.test is not None
    assert "bitdial-allocation" in config_text(store, stored[-1].id)
    kinds = [event.kind for event in events(store, waiting.id)]
    assert kinds == ["submitted", "claimed", "requeued"]
    model = model_spec(store, kept.spec.model)
    assert float_point(store, "toy", "toys").test is not None
    assert [key for key, _ in tables(store, model.digest)] == ["kl/toy"]
    assert [(c.name, c.note) for c in configs(store)] == [("small", "for the camera")]
    assert create_run(store, SPEC) == 3
    store.engine.dispose()


def test_a_copy_of_the_old_file_is_kept(release, tmp_path):
    path = tmp_path / "bitdial.db"
    shutil.copy(release, path)
    open_store(path).engine.dispose()
    [copy] = tmp_path.glob(f"bitdial.db.{revision_of(release)}.*.bak")
    counts, _ = facts(f"sqlite:///{copy}")
    assert counts == [revision_of(release), 2, 5, 6]


def test_a_migration_that_fails_in_the_middle_changes_nothing(old, backend, tmp_path):
    url = database_url(old)
    before = facts(url)
    engine = connect(url, foreign_keys=False)

    def fail(config, revision):
        command.upgrade(config, revision)
        config.attributes["connection"].exec_driver_sql("DELETE FROM points")
        raise RuntimeError("the power of two is gone")

    with pytest.raises(DatabaseUnavailable) as caught:
        bring_up_to_date(engine, url, fail)
    words = str(caught.value)
    assert "the power of two is gone. Nothing was changed." in words
    assert facts(url) == before
    if backend == "sqlite":
        [copy] = tmp_path.glob("bitdial.db.*.bak")
        assert str(copy) in words
        assert facts(f"sqlite:///{copy}") == before
    engine.dispose()
    store = open_store(old)
    assert len(all_runs(store)) == 2
    store.engine.dispose()


KILLED = """
import os, sys
from alembic import command
from store.database import connect
from store.database.upgrade import bring_up_to_date

def die(config, revision):
    command.upgrade(config, revision)
    os.kill(os.getpid(), 9)

bring_up_to_date(connect(sys.argv[1], foreign_keys=False), sys.argv[1], die)
"""


oldest = pytest.mark.parametrize("release", RELEASES[:1], ids=revision_of, indirect=True)
"""For what happens around the migrations, however many there are: the most of them."""


def python(code, *words):
    return subprocess.Popen(
        [sys.executable, "-c", code, *words], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )


@oldest
def test_a_process_killed_in_mid_migration_changes_nothing(old):
    url = database_url(old)
    before = facts(url)
    killed = python(KILLED, url)
    killed.communicate()
    assert killed.returncode == -9
    assert facts(url) == before
    store = open_store(old)
    assert [run.evaluations for run in all_runs(store)] == [1, 4]
    store.engine.dispose()


def test_rows_that_a_migration_would_orphan_stop_it(tmp_path):
    url = f"sqlite:///{tmp_path / 'bitdial.db'}"
    shutil.copy(RELEASES[0], tmp_path / "bitdial.db")
    before = facts(url)
    engine = connect(url, foreign_keys=False)

    def careless(config, revision):
        config.attributes["connection"].exec_driver_sql("DELETE FROM runs")

    with pytest.raises(DatabaseUnavailable, match="would belong to nothing"):
        bring_up_to_date(engine, url, careless)
    assert facts(url) == before
    engine.dispose()


OPEN = "import sys; from store import open_store; open_store(sys.argv[1])"


@oldest
def test_two_servers_may_upgrade_at_once(old):
    openers = [python(OPEN, old) for _ in range(2)]
    assert [opener.communicate()[1] for opener in openers] == ["", ""]
    assert facts(database_url(old))[0] == [newest_revision(), 2, 5, 6]


def test_two_servers_may_create_the_database_at_once(empty_location):
    openers = [python(OPEN, empty_location) for _ in range(2)]
    assert [opener.communicate()[1] for opener in openers] == ["", ""]
    assert facts(database_url(empty_location))[0] == [newest_revision(), 0, 0, 0]


def test_a_later_schema_is_refused_and_left_alone(store):
    with store.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(DatabaseTooNew, match=r"9999.*Update bitdial"):
        open_store(store.url)
    assert facts(store.url)[0][0] == "9999"


def test_another_programs_database_is_left_alone(empty_location):
    engine = connect(database_url(empty_location))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE photos (id INTEGER)")
    with pytest.raises(DatabaseUnavailable, match="another program"):
        open_store(empty_location)
    assert inspect(engine).get_table_names() == ["photos"]
    engine.dispose()


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "a.db"
    path.write_bytes(b"my diary, page one" * 100)
    with pytest.raises(DatabaseUnavailable, match="not a database"):
        open_store(path)
    assert path.read_bytes().startswith(b"my diary")


def test_a_damaged_database_is_explained(tmp_path):
    path = tmp_path / "a.db"
    shutil.copy(RELEASES[0], path)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 8192)
    with pytest.raises(DatabaseUnavailable, match="damaged"):
        open_store(path)


def test_every_migration_is_named_by_its_revision():
    """What is new is told by the names alone, without loading a migration."""
    scripts = ScriptDirectory(str(SCRIPTS))
    for script in scripts.walk_revisions():
        assert Path(script.path).name.startswith(f"{script.revision}_")
    assert newest_revision() == scripts.get_current_head()


def test_the_newest_release_has_its_file():
    assert RELEASES
    with sqlite3.connect(RELEASES[-1]) as connection:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    connection.close()
    assert row == (revision_of(RELEASES[-1]),)
