"""Bits of any file are read within bounds: short texts in place, all else in a child."""

import json
import sys
import time

import pytest

from qcore.allocation import BitAllocation
from qcore.errors import InvalidAllocation, InvalidConfig
from qcore.formats.config import BitConfig, dump_bits
from qcore.formats.imports import IMPORTS, read_allocations
from qcore.formats.imports.own import read_config
from qcore.formats.imports.plain import from_plain, to_plain
from store import open_store
from store.jobs import opening, reading
from tests import configs

MODEL = configs.RESNET8
MIXED = BitAllocation.uniform(MODEL.layers, 4)
LONG = b" " * reading.SMALL


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("BITDIAL_DATABASE_URL", raising=False)
    yield open_store()
    assert not opening._CHILDREN


def text():
    return dump_bits(BitConfig(MODEL, MIXED)).encode()


def test_a_child_reads_what_is_read_in_place(store):
    told = []
    here = reading.read_bits(store, text(), MODEL)
    there = reading.read_bits(store, text() + LONG, MODEL, watch=told.append)
    assert (there.format, there.choices, there.notes) == (here.format, here.choices, here.notes)
    assert read_config(there.document, MODEL) == read_config(here.document, MODEL)
    assert told[-1].state == "running"
    assert not list(opening.folder_of(store).iterdir())


def test_what_a_child_refuses_is_refused_with_its_error(store, monkeypatch):
    with pytest.raises(InvalidConfig, match="nested too deeply"):
        reading.read_bits(store, b"[" * 100_000, MODEL)
    bits = {name: [4, 8] for name in MODEL.names[1:]}
    with pytest.raises(InvalidAllocation, match=MODEL.names[0]):
        reading.read_bits(store, json.dumps(bits).encode() + LONG, MODEL, reading.BY_LAYER)
    monkeypatch.setenv("BITDIAL_OPEN_GB", "0.1")
    with pytest.raises(ValueError, match=r"0\.1 GB of memory.*BITDIAL_OPEN_GB"):
        reading.read_bits(store, b"[" + b"[]," * 6_000_000 + b"[]]", MODEL)


def test_who_stops_waiting_ends_the_child(store, monkeypatch):
    sleeps = [sys.executable, "-c", "import time; time.sleep(600)"]
    monkeypatch.setattr(opening, "command", lambda place: sleeps)
    seen = []

    def leave(look):
        seen.append(*opening._CHILDREN.values())
        raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        reading.read_bits(store, text() + LONG, MODEL, watch=leave)
    assert seen[0].process.poll() is not None
    assert time.monotonic() - began < 60


def test_a_path_that_is_no_file_is_said_at_once(store, tmp_path):
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / ("a" * 300)):
        with pytest.raises(InvalidConfig):
            reading.read_bits(store, path, MODEL)


@pytest.mark.parametrize("content", [text(), str([[4, 8]] * len(MODEL.layers)).encode()])
def test_plain_data_say_the_same(content):
    found = read_allocations(content, MODEL)
    again = from_plain(json.loads(json.dumps(to_plain(found, MODEL))))
    assert again.format in IMPORTS
    assert (again.choices, again.notes) == (found.choices, found.notes)
