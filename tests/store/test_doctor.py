"""The doctor finds what is wrong, says what to do, and changes nothing."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from qcore.cache import NO_CACHE
from qcore.errors import EvaluatorFailed
from store import create_run, open_store
from store.__main__ import main
from store.health import checks, doctor
from store.health.status import health
from store.runs import queue
from store.runs.files import cache_of, leader_lock, run_lock
from store.settings import read_settings
from tests.store.fake import SPEC

RELEASE = Path(__file__).parent / "releases" / "schema-0001.sqlite"


def look(location, **env):
    """Subject -> (verdict, words) of everything the doctor finds."""
    env = {"BITDIAL_DATA": os.environ["BITDIAL_DATA"], **env}
    return {f.subject: (f.verdict, f.words) for f in doctor.findings(location, env)}


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path))
    for variable in ("DATABASE_URL", "WORKERS", "LEASE_S", "EVALUATOR", "GPUS"):
        monkeypatch.delenv(f"BITDIAL_{variable}", raising=False)


def test_a_healthy_installation_has_no_problem(store):
    said = []
    assert doctor.command(store.url, said.append) == 0
    verdicts = {line[:8].strip() for line in said}
    assert "problem" not in verdicts
    found = look(store.url)
    for subject in ("Database", "Schema", "Writing", "Disk", "Folder", "torch", "sqlalchemy"):
        assert found[subject][0] == "ok", found[subject]


def test_it_is_a_command(tmp_path, capsys):
    assert main(["--database", str(tmp_path / "bitdial.db"), "doctor"]) == 0
    assert "is made at the first start" in capsys.readouterr().out
    (tmp_path / "bitdial.db").write_text("my diary " * 1000)
    assert main(["--database", str(tmp_path / "bitdial.db"), "doctor"]) == 1


def test_a_damaged_entry_of_the_cache_is_named_and_left(store, monkeypatch):
    assert look(store.url)["Cache"] == ("ok", f"0 entries of 0.0 MB in {store.folder}/cache")
    kept = cache_of(store)
    for kind in ("ranges", "answers"):
        kept.put(kind, {"a": np.zeros(1000)})
    assert look(store.url)["Cache"][0] == "ok"
    path = next(kept.folder.glob("ranges-*"))
    path.write_bytes(path.read_bytes()[:-1])
    verdict, words = look(store.url)["Cache"]
    assert verdict == "warning"
    assert words.startswith(f"1 of 2 entries in {kept.folder} cannot be read: {path.name} (")
    assert path.exists()
    monkeypatch.setenv("BITDIAL_CACHE_GB", "0")
    assert cache_of(store) == NO_CACHE


def test_codes_of_older_releases_go_when_the_cache_is_opened(store):
    (store.folder / "rounded").mkdir()
    (store.folder / "rounded" / "a.npz").write_bytes(b"codes")
    cache_of(store)
    assert not (store.folder / "rounded").exists()


def test_it_creates_and_changes_nothing(tmp_path):
    found = look(tmp_path / "new" / "bitdial.db")
    assert found["Database"] == ("ok", f"{tmp_path}/new/bitdial.db is made at the first start")
    assert not list(tmp_path.iterdir())
    old = tmp_path / "bitdial.db"
    shutil.copy(RELEASE, old)
    before = old.read_bytes()
    assert look(old)["Schema"][0] == "warning"
    assert "0001 becomes" in look(old)["Schema"][1]
    assert old.read_bytes() == before
    assert not list(tmp_path.glob("*.bak"))


def test_a_damaged_file_is_a_problem(tmp_path):
    path = tmp_path / "bitdial.db"
    store = open_store(path)
    for _ in range(50):
        create_run(store, SPEC)
    with store.read() as connection:
        connection.exec_driver_sql("PRAGMA page_size")
    store.engine.dispose()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size - 3 * 4096)
        file.write(b"\xff" * 4096)
    said = []
    assert doctor.command(path, said.append) == 1
    assert any(line.startswith("problem") and "damaged" in line for line in said)


def test_a_file_that_is_no_database_is_a_problem(tmp_path):
    (tmp_path / "bitdial.db").write_text("my diary " * 1000)
    verdict, words = look(tmp_path / "bitdial.db")["Database"]
    assert verdict == "problem"
    assert "not a database" in words


def test_a_later_schema_is_a_problem(store):
    with store.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    verdict, words = look(store.url)["Schema"]
    assert verdict == "problem"
    assert "Update bitdial" in words


def test_a_database_that_cannot_be_written_is_a_problem(postgres_store):
    store = postgres_store
    name = store.engine.url.database
    with store.write() as connection:
        connection.exec_driver_sql(f'ALTER DATABASE "{name}" SET default_transaction_read_only=on')
    verdict, words = look(store.url)["Writing"]
    assert verdict == "problem"
    assert "read-only" in words


def test_a_server_out_of_reach_is_a_problem_without_its_password():
    pytest.importorskip("psycopg")
    verdict, words = look("postgresql+psycopg://ann:geheim@127.0.0.1:1/x")["Database"]
    assert verdict == "problem"
    assert "no server answers" in words
    assert "geheim" not in words


def test_who_leads_is_named(store):
    assert "none runs" in look(store.url)["Server"][1]
    with FileLock(leader_lock(store), timeout=0):
        words = look(store.url)["Server"][1]
    assert "starts searches here" in words
    if Path("/proc/locks").read_text():
        assert str(os.getpid()) in words


def test_a_run_that_nobody_works_on_is_a_warning(store):
    run_id = create_run(store, SPEC)
    queue.claim(store, queue.host_name(store))
    run_lock(store, run_id)
    assert look(store.url)["Runs"][0] == "warning"
    with FileLock(run_lock(store, run_id), timeout=0):
        assert "Runs" not in look(store.url)


def test_files_of_runs_that_are_gone_are_a_warning(store):
    run_lock(store, 77).touch()
    assert look(store.url)["Locks"][0] == "warning"


@pytest.mark.parametrize(
    ("free", "verdict"), [(10 << 20, "problem"), (500 << 20, "warning"), (5 << 30, "ok")]
)
def test_disk_space(tmp_path, free, verdict):
    assert checks.check_disk(tmp_path, lambda folder: free).verdict == verdict


@pytest.mark.parametrize(
    ("kind", "verdict"), [("nfs4", "problem"), ("9p", "warning"), ("ext4", "ok"), (None, "ok")]
)
def test_file_systems(tmp_path, kind, verdict):
    table = f"1 0 0:1 / / rw - {kind} x rw\n" if kind else None
    url = f"sqlite:///{tmp_path}/a.db"
    assert checks.check_file_system(url, tmp_path, lambda: table).verdict == verdict


def test_a_folder_that_cannot_be_is_a_problem(tmp_path):
    (tmp_path / "file").write_text("")
    assert checks.check_folder(tmp_path / "file" / "data").verdict == "problem"
    assert checks.check_folder(tmp_path).verdict == "ok"
    assert checks.check_folder(tmp_path / "new" / "er").verdict == "ok"


TWO = "GPU 0: NVIDIA H200 (UUID: GPU-1)\nGPU 1: NVIDIA H200 (UUID: GPU-2)\n"


@pytest.mark.parametrize(
    ("listed", "wanted", "verdicts"),
    [
        ("", "", {"ok", "warning"}),
        (TWO, "3", {"problem"}),
        (TWO, "0", {"ok"}),
        (TWO, "", {"ok", "warning"}),
    ],
)
def test_gpus(listed, wanted, verdicts):
    settings = read_settings({"BITDIAL_GPUS": wanted})
    finding = checks.check_gpus(settings, lambda: listed)
    assert finding.verdict in verdicts
    assert "UUID" not in finding.words


def test_an_evaluator_that_is_nonsense_is_a_problem(store):
    found = look(store.url, BITDIAL_EVALUATOR="magic")
    verdict, words = found["Evaluator"]
    assert verdict == "problem"
    assert "BITDIAL_EVALUATOR" in words


def test_local_evaluators_need_nothing():
    assert checks.check_evaluator("inline").verdict == "ok"
    assert checks.check_evaluator("procs:2").verdict == "ok"


@contextmanager
def away(address, prepared, *, on_progress, should_stop):
    """A cluster out of reach, as evaluators wait for one."""
    while not should_stop():
        on_progress(f"cluster {address} not reachable, retrying in 1 s (refused)")
    yield None


def test_a_cluster_out_of_reach_is_a_problem(monkeypatch):
    monkeypatch.setattr(checks, "open_evaluator", away)
    finding = checks.check_evaluator("tcp://10.0.0.5:8786", 0.01)
    assert finding.verdict == "problem"
    assert "tcp://10.0.0.5:8786 not reachable" in finding.words
    assert "Start its scheduler" in finding.words


def test_a_cluster_with_other_versions_is_a_problem(monkeypatch):
    def refuse(*args, **callbacks):
        raise EvaluatorFailed("Worker w has torch 1.0 (here: 2.13).")

    monkeypatch.setattr(checks, "open_evaluator", refuse)
    finding = checks.check_evaluator("tcp://127.0.0.1:1")
    assert (finding.verdict, finding.words) == ("problem", "Worker w has torch 1.0 (here: 2.13).")


def test_packages_are_compared_with_the_requirements(tmp_path):
    (tmp_path / "requirements.txt").write_text(
        "sqlalchemy>=2\nfilelock<1  # old\nno-such-package\n"
    )
    (tmp_path / "requirements-cluster.txt").write_text("no-such-cluster\n")
    found = {f.subject: f for f in checks.check_packages(tmp_path)}
    assert found["sqlalchemy"].verdict == "ok"
    assert found["filelock"].verdict == "warning"
    assert found["no-such-package"].verdict == "problem"
    assert found["no-such-cluster"].verdict == "ok"
    assert "only needed for cluster" in found["no-such-cluster"].words


def test_health_is_what_holds(store, backend):
    found = health(store)
    assert found.revision == found.newest
    assert found.size > 10_000
    assert found.free > 0
    assert found.product.startswith("SQLite" if backend == "sqlite" else "PostgreSQL 1")
    assert found.leader == ""


def test_what_others_may_read_is_named_and_a_shut_folder_is_enough(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    for name in ("bitdial.db", "bitdial.db-wal", "logs"):
        (folder / name).touch(mode=0o644)
        (folder / name).chmod(0o644)
    look_at = checks.check_private
    assert look_at(folder, folder / "bitdial.db").verdict == "ok"
    folder.chmod(0o755)
    found = look_at(folder, folder / "bitdial.db")
    assert (found.verdict, f"3 files and folders in {folder}" in found.words) == ("warning", True)
    assert f"chmod 700 '{folder}'" in found.words
    # among files of somebody else only the database's own are looked at
    found = look_at(folder, folder / "bitdial.db", ours=False)
    assert "2 files and folders" in found.words
    assert f"chmod 600 '{folder}/bitdial.db'*" in found.words
    for path in folder.iterdir():
        path.chmod(0o600)
    assert look_at(folder, folder / "bitdial.db").verdict == "ok"
    assert look_at(tmp_path / "none", None).verdict == "ok"
