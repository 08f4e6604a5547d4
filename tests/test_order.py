"""Files of tests are mixed: each once, in the order of its folder, the longest early."""

from pathlib import PurePath

from hypothesis import given
from hypothesis import strategies as st

from tests.order import LONGEST, mixed

FOLDERS = ("e2e", "engine", "pages", "qcore", "store")


def files_of(counts):
    return [PurePath(name, f"test_{at:03}.py") for name in counts for at in range(counts[name])]


@given(counts=st.dictionaries(st.sampled_from(FOLDERS), st.integers(1, 40)))
def test_every_file_comes_once_and_in_the_order_of_its_folder(counts):
    files = files_of(counts)
    found = mixed(files)
    assert sorted(found) == sorted(files)
    for folder in counts:
        held = [file for file in found if file.parts[0] == folder]
        assert held == sorted(held)


def test_what_takes_longest_begins_while_there_is_enough_to_do_beside_it():
    counts = {"e2e": 14, "engine": 6, "pages": 60, "qcore": 130, "store": 25}
    found = mixed(files_of(counts))
    long = [file.parts[0] in LONGEST for file in found]
    assert not any(long[2 * len(found) // 3 :])
    # after the first of each folder at most two of them follow one another
    rest = long[len(counts) :]
    assert not any(all(rest[at : at + 3]) for at in range(len(rest)))
