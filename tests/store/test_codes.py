"""Codes that a rounding chose come back whole or are made again."""

import os

import numpy as np

from store.runs import codes

MADE = {
    "layer/..": (np.array([[-2, 1]], np.int8), np.array([0.5], np.float32)),
    "b": (np.array([[1], [0]], np.int8), np.array([0.25, -1], np.float32)),
}


def test_codes_come_back_by_their_key(store):
    assert codes.load(store, "v1/a") is None
    codes.save(store, "v1/a", MADE)
    found = codes.load(store, "v1/a")
    assert list(found) == list(MADE)
    for name, (whole, steps) in MADE.items():
        assert found[name][0].dtype == np.int8
        assert np.array_equal(found[name][0], whole)
        assert np.array_equal(found[name][1], steps)
    assert codes.load(store, "v1/b") is None
    assert [path.suffix for path in codes.codes_folder(store).iterdir()] == [".npz"]


def test_a_damaged_file_is_told_and_made_again(store, capsys):
    codes.save(store, "v1/a", MADE)
    (path,) = codes.codes_folder(store).iterdir()
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"PK", whole.replace(b"codes-0", b"codes-9")):
        path.write_bytes(content)
        assert codes.load(store, "v1/a") is None
        assert "could not read the codes" in capsys.readouterr().err
    codes.save(store, "v1/a", MADE)
    assert codes.load(store, "v1/a") is not None


def test_where_nothing_can_be_written_a_run_goes_on(store, capsys):
    codes.codes_folder(store).write_text("in the way")
    codes.save(store, "v1/a", MADE)
    assert "could not keep the codes" in capsys.readouterr().err
    assert codes.load(store, "v1/a") is None


def test_of_too_many_the_longest_unused_go(store, monkeypatch):
    for number, key in enumerate("abc"):
        codes.save(store, key, MADE)
        for path in codes.codes_folder(store).iterdir():
            if path.stat().st_mtime > 1e6:
                os.utime(path, (number, number))
    size = next(codes.codes_folder(store).iterdir()).stat().st_size
    monkeypatch.setattr(codes, "MOST_BYTES", 3 * size)
    codes.save(store, "d", MADE)
    assert [codes.load(store, key) is not None for key in "abcd"] == [False, True, True, True]
