"""Entries come back whole, or are worked out again; names hold all that they depend on."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from qcore import cache as module
from qcore.cache import NO_CACHE, Cache, damaged, entries, read, write

MADE = {
    "layer/..": np.array([[-2, 1]], np.int8),
    "steps": np.array([0.25, -1], np.float32),
    "none": np.zeros((0, 3), np.float64),
    "one": np.array(7, np.int64),
}


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache", 10**6)


def same(found, made=MADE):
    return list(found) == list(made) and all(
        found[name].dtype == made[name].dtype and np.array_equal(found[name], made[name])
        for name in made
    )


@pytest.mark.parametrize("packed", [False, True])
def test_an_entry_comes_back_by_what_it_depends_on(cache, packed):
    assert cache.get("codes", "gptq", 3) is None
    cache.put("codes", MADE, "gptq", 3, packed=packed)
    found = cache.get("codes", "gptq", 3)
    assert same(found)
    found["steps"][0] = 1  # it is the caller's own
    assert same(cache.get("codes", "gptq", 3))
    others = [("codes", "gptq", 4), ("codes", 3, "gptq"), ("codes", "gptq"), ("ranges", "gptq", 3)]
    assert all(cache.get(*other) is None for other in others)
    assert cache.about("weights").get("codes", "gptq", 3) is None
    assert same(cache.about("gptq").get("codes", 3))
    assert [path.name[:6] for path in entries(cache.folder)] == ["codes-"]


def test_other_code_another_machine_or_more_threads_lead_to_other_names(cache, monkeypatch):
    cache.put("ranges", MADE)
    for name, value in (("code_digest", "other"), ("machine_words", ["other"])):
        with monkeypatch.context() as patched:
            patched.setattr(module, name, lambda value=value: value)
            assert cache.get("ranges") is None
    assert cache.get("ranges") is not None


def test_every_source_file_of_the_core_is_in_the_digest_of_the_code(tmp_path, monkeypatch):
    places = {"cache/__init__.py": "a", "ptq/layer.py": "b"}
    for place, text in places.items():
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text(text)
    monkeypatch.setattr(module, "__file__", str(tmp_path / "cache" / "__init__.py"))
    seen = {module.code_digest.__wrapped__()}
    for place in places:
        (tmp_path / place).write_text("changed")
        seen.add(module.code_digest.__wrapped__())
    assert len(seen) == 3


def test_a_damaged_entry_is_told_removed_and_made_again(cache, capsys):
    cache.put("codes", MADE)
    (path,) = entries(cache.folder)
    whole = path.read_bytes()
    middle = len(whole) // 2
    for content in (whole[:middle], b"", b"PK", whole[:-1] + bytes([whole[-1] ^ 1]), whole + b"x"):
        path.write_bytes(content)
        assert [found for found, _ in damaged(cache.folder)] == [path]
        assert cache.get("codes") is None
        assert "could not read" in capsys.readouterr().err
        assert not path.exists()
    cache.put("codes", MADE)
    assert same(cache.get("codes"))
    assert list(damaged(cache.folder)) == []


def test_where_nothing_can_be_written_one_goes_on(tmp_path, capsys):
    (tmp_path / "cache").write_text("in the way")
    cache = Cache(tmp_path / "cache", 10**6)
    cache.put("codes", MADE)
    assert "could not keep" in capsys.readouterr().err
    assert cache.get("codes") is None
    assert entries(tmp_path / "cache") == []


def test_no_cache_makes_everything_and_keeps_nothing():
    made = []
    for _ in range(2):
        NO_CACHE.found("x", lambda: made.append(1), lambda value: MADE, lambda arrays: None)
    assert made == [1, 1]
    NO_CACHE.put("x", MADE)
    assert NO_CACHE.get("x") is None


def test_what_cannot_be_kept_without_loss_is_made_each_time(cache):
    made = []
    for _ in range(2):
        cache.found("x", lambda: made.append(1), lambda value: None, lambda arrays: None)
    assert made == [1, 1]
    assert entries(cache.folder) == []


def test_of_too_many_the_longest_unused_go(cache):
    for at, kind in enumerate("abc"):
        cache.put(kind, MADE)
        for path in entries(cache.folder):
            if path.stat().st_mtime > 1e6:
                os.utime(path, (at, at))
    assert cache.get("a") is not None  # which is a use
    size = entries(cache.folder)[0].stat().st_size
    small = Cache(cache.folder, 3 * size + 10)
    small.put("d", MADE)
    assert [small.get(kind) is not None for kind in "abcd"] == [True, False, True, True]
    assert sum(path.stat().st_size for path in entries(cache.folder)) <= small.most_bytes


def test_an_entry_that_would_fill_most_of_it_is_not_kept(cache):
    large = {"a": np.zeros(cache.most_bytes // module.SHARE + 1, np.int8)}
    cache.put("large", large)
    assert entries(cache.folder) == []


def test_files_that_were_never_finished_go_once_nobody_writes_them(cache):
    cache.put("a", MADE)
    old, new = cache.folder / "a-1.tmp", cache.folder / "a-2.tmp"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 2 * module.FORGOTTEN_S,) * 2)
    cache.put("b", MADE)
    assert (old.exists(), new.exists()) == (False, True)


WRITER = """
import sys
from pathlib import Path
import numpy as np
from qcore.cache import write
print("ready", flush=True)
while True:
    for value in range(100):
        write(Path(sys.argv[1]), {"a": np.full(50_000, value, np.int64)})
"""


def test_two_writers_killed_at_any_moment_leave_a_whole_entry(tmp_path):
    path = tmp_path / "entry.cached"
    command = [sys.executable, "-c", WRITER, str(path)]
    writers = [
        subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3])
        for _ in range(2)
    ]
    try:
        for writer in writers:
            assert writer.stdout.readline() == b"ready\n"
        seen = 0
        while seen < 30:
            try:
                found = read(path)["a"]
            except FileNotFoundError:
                continue
            assert len(found) == 50_000
            assert (found == found[0]).all()
            seen += 1
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
            writer.stdout.close()
    assert (read(path)["a"] == read(path)["a"][0]).all()


def test_an_entry_may_be_written_over_itself(tmp_path):
    path = tmp_path / "entry.cached"
    for value in (1, 2):
        write(path, {"a": np.array([value])})
        assert read(path)["a"] == [value]
    assert [each.name for each in tmp_path.iterdir()] == ["entry.cached"]
