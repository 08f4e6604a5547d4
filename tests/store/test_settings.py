"""Settings have defaults, name their source, and refuse nonsense by their name."""

import dataclasses

import pytest

from qcore.errors import InvalidParams
from store.database.locations import shown_url
from store.settings import describe_settings, read_settings


def test_every_setting_has_a_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = read_settings({})
    assert found.folder == tmp_path / "bitdial-data"
    assert found.database_url == f"sqlite:///{tmp_path}/bitdial-data/bitdial.db"
    assert 1 <= found.workers <= 4
    assert (found.lease_s, found.evaluator, found.gpus) == (30.0, "inline", None)
    assert {row.source for row in describe_settings({})} == {"default"}


def test_every_setting_can_be_set(tmp_path):
    env = {
        "BITDIAL_DATA": str(tmp_path),
        "BITDIAL_DATABASE_URL": "postgresql+psycopg://ann:geheim@host/results",
        "BITDIAL_WORKERS": " 7 ",
        "BITDIAL_LEASE_S": "2.5",
        "BITDIAL_EVALUATOR": "procs:3",
        "BITDIAL_GPUS": "0",
        "BITDIAL_RECORDINGS": "no",
        "BITDIAL_ALLOW_CODE": "mine.nets, pt2",
        "BITDIAL_BACKUPS": "0",
        "BITDIAL_TRIES": "9",
        "BITDIAL_CACHE_GB": "0",
        "BITDIAL_OPEN_GB": "2.5",
        "BITDIAL_OPEN_S": "60",
        "BITDIAL_TOKEN": "a-secret-of-23-letters.",
    }
    found = read_settings(env)
    assert found.folder == tmp_path
    assert found.database_url == env["BITDIAL_DATABASE_URL"]
    assert (found.workers, found.lease_s, found.evaluator, found.gpus) == (7, 2.5, "procs:3", 0)
    assert found.recordings is False
    assert found.allow_code == ("mine.nets", "pt2")
    assert (found.backups, found.tries) == (0, 9)
    assert (found.cache_gb, found.open_gb, found.open_s) == (0, 2.5, 60)
    assert found.token == env["BITDIAL_TOKEN"]
    assert found.token not in f"{found} {describe_settings(env)}"
    rows = describe_settings(env)
    assert [row.source for row in rows] == [row.variable for row in rows]
    assert {row.variable for row in rows} == set(env)
    assert len(rows) == len(dataclasses.fields(found))


def test_an_empty_variable_is_no_setting():
    names = [row.variable for row in describe_settings({})]
    assert read_settings(dict.fromkeys(names, "")) == read_settings({})


def test_the_folder_of_a_user_is_understood(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_settings({"BITDIAL_DATA": "~/results"}).folder == tmp_path / "results"


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        ("BITDIAL_WORKERS", "0"),
        ("BITDIAL_WORKERS", "many"),
        ("BITDIAL_WORKERS", "-1"),
        ("BITDIAL_WORKERS", "2.5"),
        ("BITDIAL_WORKERS", "257"),
        ("BITDIAL_WORKERS", "²"),
        ("BITDIAL_LEASE_S", "0"),
        ("BITDIAL_LEASE_S", "nan"),
        ("BITDIAL_LEASE_S", "inf"),
        ("BITDIAL_LEASE_S", "soon"),
        ("BITDIAL_EVALUATOR", "magic:3"),
        ("BITDIAL_EVALUATOR", "procs:0"),
        ("BITDIAL_GPUS", "-1"),
        ("BITDIAL_GPUS", "all"),
        ("BITDIAL_RECORDINGS", "maybe"),
        ("BITDIAL_BACKUPS", "-1"),
        ("BITDIAL_TRIES", "0"),
        ("BITDIAL_CACHE_GB", "-1"),
        ("BITDIAL_OPEN_GB", "0"),
        ("BITDIAL_OPEN_S", "soon"),
        ("BITDIAL_ALLOW_CODE", "/home/me/nets.py"),
    ],
)
def test_nonsense_is_refused_by_its_name(variable, words):
    with pytest.raises(InvalidParams, match=variable) as caught:
        read_settings({variable: words})
    assert words in str(caught.value)
    [row] = [row for row in describe_settings({variable: words}) if row.problem]
    assert (row.variable, row.value, row.problem) == (variable, "", str(caught.value))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:////home/ann/bitdial.db", "sqlite:////home/ann/bitdial.db"),
        ("postgresql+psycopg://ann@h/x", "postgresql+psycopg://ann@h/x"),
        ("postgresql+psycopg://ann:geheim@h:5/x", "postgresql+psycopg://ann:***@h:5/x"),
        ("postgresql+psycopg://h/x?password=geheim&a=b", "postgresql+psycopg://h/x?a=b"),
        ("postgresql+psycopg://ann:geheim@h:port/x", "postgresql+psycopg://..."),
    ],
)
def test_addresses_are_shown_without_their_password(url, shown):
    assert shown_url(url) == shown
