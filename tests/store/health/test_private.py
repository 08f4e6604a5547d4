"""What bitdial made in its own data folder is its owner's alone; nothing else is touched."""

import os
import stat

import pytest

from qcore.data_folder import data_folder
from store import create_run, open_store
from store.__main__ import main
from store.health import backup, private
from store.health.doctor import findings
from store.jobs import opening
from store.runs import files, queue
from store.runs.checkpoints import FileCheckpoints
from tests.store.fake import SPEC

pytestmark = pytest.mark.skipif(os.name != "posix", reason="other systems have other rights")


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def everything(folder):
    return [folder, *folder.rglob("*")]


@pytest.fixture
def folder(sqlite_store):
    """A data folder with some of all that bitdial keeps, open to everybody as once it was."""
    place = sqlite_store.folder
    run_id = create_run(sqlite_store, SPEC)
    files.leader_lock(sqlite_store).touch()
    files.run_lock(sqlite_store, run_id).touch()
    files.log_file(sqlite_store, run_id, 1).touch()
    assert queue.claim(sqlite_store, queue.host_name(sqlite_store)) == (run_id, 1)
    FileCheckpoints(sqlite_store, run_id, 1).save("a", 1, b"weights")
    opening.new_place(sqlite_store)
    backup.back_up_weekly(sqlite_store, 1)
    (place / "networks" / "mine").mkdir(parents=True)
    (place / "networks" / "mine" / "card.json").write_text("{}")
    (place / "costs").mkdir()
    for path in everything(place):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return place


def test_all_that_bitdial_makes_is_shut_and_counted_and_then_there_is_nothing_to_say(folder):
    assert all(map(private.ours, folder.iterdir()))
    count = len(everything(folder))
    assert f"could read {count} files and folders in {folder}" in private.shut(folder)
    assert {mode(path) for path in everything(folder)} == {0o700, 0o600}
    assert all(mode(path) == (0o700 if path.is_dir() else 0o600) for path in everything(folder))
    assert private.shut(folder) == ""


def test_one_open_file_in_a_shut_folder_is_shut(folder):
    private.shut(folder)
    (folder / "bitdial.db").chmod(0o644)
    assert "could read 1 file or folder" in private.shut(folder)
    assert mode(folder / "bitdial.db") == 0o600


def test_what_bitdial_did_not_make_stays_as_it_is(folder, tmp_path):
    mine, outside = folder / "thesis.tex", tmp_path.parent / f"{tmp_path.name}-outside"
    for path in (mine, outside):
        path.touch()
        path.chmod(0o644)
    (folder / "logs" / "link").symlink_to(outside)
    assert private.shut(folder)
    assert (mode(mine), mode(outside), mode(folder)) == (0o644, 0o644, 0o755)
    assert mode(folder / "bitdial.db") == 0o600
    assert mode(folder / "networks") == 0o700


def test_what_others_own_stays_as_it_is(folder, monkeypatch):
    before = [mode(path) for path in everything(folder)]
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert private.shut(folder) == ""
    assert [mode(path) for path in everything(folder)] == before


def test_a_folder_that_a_group_shares_on_purpose_stays_as_it_is(folder):
    folder.chmod(0o2770)
    before = [mode(path) for path in everything(folder)]
    assert private.shut(folder) == ""
    assert [mode(path) for path in everything(folder)] == before
    assert {f.subject: f.verdict for f in findings(folder / "bitdial.db")}["Privacy"] != "ok"


def test_the_command_line_says_what_it_shut_and_shuts_no_folder_of_somebody_elses(
    folder, capsys, tmp_path_factory
):
    assert data_folder() == folder
    assert main(["list"]) == 0
    assert "note: Other users of this machine could read" in capsys.readouterr().err
    assert main(["list"]) == 0
    assert capsys.readouterr().err == ""
    other = tmp_path_factory.mktemp("other")
    open_store(other / "a.db").engine.dispose()
    other.chmod(0o755)
    (other / "a.db").chmod(0o644)
    assert main(["list", "--database", str(other / "a.db")]) == 0
    assert (mode(other), mode(other / "a.db")) == (0o755, 0o644)


def test_a_new_data_folder_is_its_owners_alone(tmp_path):
    open_store(tmp_path / "new" / "bitdial.db").engine.dispose()
    assert mode(tmp_path / "new") == 0o700
