"""`python -m store doctor`: looks at all that a search needs, changes nothing, says what to do."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from sqlalchemy import Engine, func, inspect, select
from sqlalchemy.exc import SQLAlchemyError

from qcore.data_folder import data_folder
from qcore.errors import InvalidParams, QcoreError
from qcore.models.catalog import read_models
from store.database import Store, connect
from store.database.errors_explained import explained
from store.database.locations import database_url, sqlite_file
from store.database.schema import Base, PointRow, RunRow
from store.database.upgrade import known_revisions, newest_revision, revision_of
from store.health import checks
from store.health.checks import OK, PROBLEM, WARNING, Finding
from store.health.damage import bad_rows
from store.health.status import health, is_held, leader
from store.runs import queue
from store.runs.files import cache_folder, files_folder, leftovers, run_lock
from store.runs.lease import host_name
from store.settings import Env, read_settings

MOST_NAMED = 20
"""Damaged things of one kind that are named one by one."""

SUBJECTS = {
    "runs": "Runs",
    **dict.fromkeys(("points", "models", "sensitivity_tables"), "Results"),
    "events": "Histories",
    "checkpoints": "Checkpoints",
    "configurations": "Configurations",
}
"""What the rows of each table are called."""

PUT_BACK = "put back a backup with `python -m store restore FILE`"

QUICK_FROM = 1 << 30
"""Bytes from which on a file is only looked through, without comparing its indexes."""


def command(location: str | Path | None, say: Callable[[str], object]) -> int:
    """Say every finding, one a line; 1 if one of them is a problem, else 0.

    Args:
        location: The database, as `open_store` takes it.
        say: Writes a line.
    """
    worst = 0
    for finding in findings(location):
        say(f"{finding.verdict:8} {finding.subject}: {finding.words}")
        worst = max(worst, int(finding.verdict == PROBLEM))
    return worst


def findings(location: str | Path | None = None, env: Env | None = None) -> Iterator[Finding]:
    """Check packages, settings, folder, disk, cache, database, locks, GPUs and evaluator.

    In this order. Nothing is created, upgraded or repaired.
    """
    env = os.environ if env is None else env
    yield from checks.check_packages()
    yield from checks.check_settings(env)
    url = database_url(location, env)
    file = sqlite_file(url)
    folder = data_folder(env) if file is None else file.parent
    yield checks.check_folder(folder)
    yield checks.check_private(folder, file, folder == data_folder(env))
    yield checks.check_disk(folder)
    yield checks.check_file_system(url, folder)
    yield checks.check_cache(cache_folder(folder))
    yield from _database(url, folder)
    try:
        settings = read_settings(env)
    except InvalidParams:
        return  # said above
    yield checks.check_gpus(settings)
    yield checks.check_evaluator(settings.evaluator)


def _database(url: str, folder: Path) -> Iterator[Finding]:
    file = sqlite_file(url)
    if file is not None and not file.exists():
        yield Finding(OK, "Database", f"{file} is made at the first start")
        return
    try:
        engine = connect(url)
        try:
            yield from _open_database(Store(engine, url, folder))
        finally:
            engine.dispose()
    except (QcoreError, SQLAlchemyError) as error:
        yield Finding(PROBLEM, "Database", " ".join(str(error).split()))


def _open_database(store: Store) -> Iterator[Finding]:
    with store.read() as connection:
        revision = revision_of(connection)
        tables = inspect(connection).get_table_names()
    newest = newest_revision()
    if revision is None and tables:
        words = f"{store.shown} has tables such as {tables[0]!r} and does not say of which schema"
        yield Finding(PROBLEM, "Database", f"{words}: it is another program's, or {PUT_BACK}.")
        return
    if revision is None:
        words = f"{store.shown} has no tables of bitdial; an empty one gets them at the first start"
        yield Finding(WARNING, "Database", words)
        return
    found = health(store)
    yield Finding(OK, "Database", f"{found.product}, {found.size / 1e6:.1f} MB, {found.address}")
    if revision == newest:
        yield Finding(OK, "Schema", revision)
    elif revision in known_revisions():
        words = f"{revision} becomes {newest} at the next start; a SQLite file is copied before"
        yield Finding(WARNING, "Schema", words)
    else:
        words = f"{revision!r} is none that is known here, the newest is {newest}. Update bitdial."
        yield Finding(PROBLEM, "Schema", words)
    yield from _whole(store, found.size)
    yield _writable(store.engine, store.url)
    if revision == newest:
        yield from _tables(store)
        yield _checksums(store)
        yield from damage(store)
        yield from _locks(store)


def damage(store: Store) -> Iterator[Finding]:
    """Everything stored that cannot be read, each with the reason; or that all can.

    Raises:
        DatabaseUnavailable: the database does not answer.
    """
    reasons: dict[str, list[str]] = {subject: [] for subject in SUBJECTS.values()}
    with store.read() as connection:
        for bad in bad_rows(connection):
            reasons[SUBJECTS[bad.table]].append(bad.reason)
    reasons["Networks"] = [f"{name}: {words}" for name, words in read_models().broken.items()]
    reasons["Cost tables"] = list(store.costs.broken.values())
    for subject, found in reasons.items():
        found = list(dict.fromkeys(found))
        for words in found[:MOST_NAMED]:
            yield Finding(PROBLEM, subject, f"{words} It is left out; all else is used.")
        if len(found) > MOST_NAMED:
            yield Finding(PROBLEM, subject, f"and {len(found) - MOST_NAMED:,} more.")
    if not any(reasons.values()):
        yield Finding(OK, "Stored things", "every run, result, configuration and file can be read")


def _tables(store: Store) -> Iterator[Finding]:
    """Every column is there that will be asked for, and runs can be listed."""
    with store.read() as connection:
        looking = inspect(connection)
        there = {
            name: {column["name"] for column in looking.get_columns(name)}
            for name in looking.get_table_names()
        }
    missing = [
        f"{table.name}.{column.name}"
        for table in Base.metadata.sorted_tables
        for column in table.columns
        if column.name not in there.get(table.name, ())
    ]
    if missing:
        words = f"{', '.join(missing[:5])} of {len(missing)} missing columns: somebody changed the"
        yield Finding(PROBLEM, "Tables", f"{words} tables. Stop bitdial and {PUT_BACK}.")
        return
    try:
        queue.all_runs(store)
    except QcoreError as error:
        yield Finding(PROBLEM, "Tables", str(error))
    else:
        yield Finding(OK, "Tables", "every column is there, and runs can be listed")


def _checksums(store: Store) -> Finding:
    """How many points have a checksum; that each is right is seen when points are read."""
    with store.read() as connection:
        counts = select(func.count(), func.count(PointRow.checksum)).select_from(PointRow)
        total, having = connection.execute(counts).one()
    words = f"{having:,} of {total:,} points have one"
    if having < total:
        words += f"; {total - having:,} of an older bitdial have none and cannot be checked"
    return Finding(OK, "Checksums", words)


def _whole(store: Store, size: int) -> Iterator[Finding]:
    if sqlite_file(store.url) is None:
        return
    pragma = "quick_check" if size >= QUICK_FROM else "integrity_check"
    with store.read() as connection:
        said = [str(row[0]) for row in connection.exec_driver_sql(f"PRAGMA {pragma}(5)")]
    said = [line for line in said if line != "ok"]
    if not said:
        yield Finding(OK, "Integrity", f"{pragma} found nothing wrong")
    else:
        words = f"the file is damaged: {'; '.join(said)}. Stop bitdial, and {PUT_BACK} beside it "
        words += "(*.bak), or keep what can be read with `python -m store repair`."
        yield Finding(PROBLEM, "Integrity", words)


def _writable(engine: Engine, url: str) -> Finding:
    """Really write, then take it back."""
    try:
        with explained(url), engine.execution_options(write=True).connect() as connection:
            connection.exec_driver_sql("CREATE TABLE bitdial_doctor (x INTEGER)")
            connection.rollback()
    except QcoreError as error:
        return Finding(PROBLEM, "Writing", str(error))
    return Finding(OK, "Writing", "works")


def _locks(store: Store) -> Iterator[Finding]:
    who = leader(store)
    if who:
        yield Finding(OK, "Server", f"{who} starts searches here")
    else:
        words = "none runs on this data folder; searches wait until `streamlit run app.py` does"
        yield Finding(OK, "Server", words)
    if not files_folder(store).exists():
        return
    with store.read() as connection:
        known = {
            row.id: row for row in connection.execute(select(RunRow.id, RunRow.state, RunRow.host))
        }
    here = host_name(store)
    lost = [
        number
        for number, row in known.items()
        if row.state == "running" and row.host == here and not is_held(run_lock(store, number))
    ]
    if lost and not who:
        words = f"runs {', '.join(map(str, lost))} are marked running, but no process works on them"
        yield Finding(WARNING, "Runs", f"{words}. Start bitdial; they go on from where they were.")
    stale = sorted(leftovers(store) - known.keys())
    if stale:
        words = f"files of {len(stale)} deleted runs lie in {files_folder(store)}"
        yield Finding(WARNING, "Locks", f"{words}. The next start removes them.")
    else:
        yield Finding(OK, "Locks", "no lock or log of a run that is gone")
