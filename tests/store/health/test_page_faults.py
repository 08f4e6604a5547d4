"""Every page answers where many stored things are damaged, and shows those that are not."""

import pytest

from pages.shared.notes.left_out import points_words
from store import all_runs, create_run, damaged_runs, open_store, points_of, save_config
from store.__main__ import main
from tests import faults
from tests.pages import sample
from tests.pages.conftest import opened

PAGES = ("explore", "searches", "compare", "workbench", "models", "configs", "settings")


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory):
    """A data folder in which every column of every table is damaged in one row or another."""
    place = tmp_path_factory.mktemp("spoiled")
    path = place / "bitdial.db"
    store = open_store(path)
    sample.fill(store)
    for at in range(12):
        allocation = sample.point(sample.uniform(8), 900)
        save_config(store, f"kept {at}", sample.config_of(allocation))
    cells, at = faults.cells(path), 0
    for how in faults.DAMAGE:
        for table, column in cells:
            at += 1
            if table == "runs":
                row = create_run(store, sample.spec_of("random", seed=at), f"number {at}")
            elif table == "points":
                row = 5 + at % 29  # those of the runs 2 and 3
            elif table == "configurations":
                row = 2 + at % 11
            elif table == "events":
                row = 1 + at % 9
            else:
                continue
            faults.spoil(path, table, column, row, how)
    for name in ("card.json", "spec.json"):
        for number, content in enumerate(
            (b"", b"[" * 200_000, b"\xff", b'{"classes": 1e400}', b"null")
        ):
            folder = place / "networks" / f"mine{number}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
            (place / "costs").mkdir(exist_ok=True)
            (place / "costs" / f"t{number}.csv").write_bytes(content)
    head = "layer,weight_bits,activation_bits,latency_us\na,"
    (place / "costs" / "digits.csv").write_text(f"{head}{'1' * 5000},8,1")
    store.engine.dispose()
    return place


@pytest.mark.parametrize("page", PAGES)
def test_a_page_answers(spoiled, monkeypatch, page):
    monkeypatch.delenv("BITDIAL_DATABASE_URL", raising=False)
    monkeypatch.setenv("BITDIAL_DATA", str(spoiled))
    at = opened(page, model="resnet8")
    shown = " ".join(str(error.value) for error in at.error)
    if page == "searches":
        assert "cannot be read" in shown
        assert "more cannot be read" in shown
    if page == "models":
        assert all(f"mine{number} cannot be used" in shown for number in range(5))
    if page == "configs":
        assert "Configuration" in shown


def test_what_is_whole_is_all_there(spoiled, monkeypatch):
    monkeypatch.setenv("BITDIAL_DATA", str(spoiled))
    store = open_store(spoiled / "bitdial.db")
    assert {run.id for run in all_runs(store)} >= {1, 2, 3}
    assert len(damaged_runs(store)) > 100
    assert len(points_of(store, [1])) == 4
    assert list(store.costs.broken) == ["digits.csv", *(f"t{number}.csv" for number in range(5))]
    store.engine.dispose()


@pytest.fixture(scope="module")
def holed(tmp_path_factory):
    """A data folder in which three points of run 2, a line of its history and a table are bad."""
    place = tmp_path_factory.mktemp("holed")
    path = place / "bitdial.db"
    store = open_store(path)
    sample.fill(store)
    numbers = [stored.id for stored in points_of(store, [2])]
    for number, column, value in (
        (numbers[0], "allocation", "{"),
        (numbers[1], "images", "rotten"),
        (numbers[2], "seconds", "rotten"),
    ):
        faults.put(path, "points", column, number, value)
    with store.read() as connection:
        [line] = connection.exec_driver_sql("SELECT min(id) FROM events WHERE run_id = 2").one()
    faults.put(path, "events", "at", line, "rotten")
    faults.put(path, "sensitivity_tables", "document", "kl/test", "[")
    store.engine.dispose()
    return place


@pytest.mark.parametrize("page", ["explore", "compare", "workbench", "searches"])
def test_a_page_says_what_it_leaves_out(holed, monkeypatch, page):
    monkeypatch.delenv("BITDIAL_DATABASE_URL", raising=False)
    monkeypatch.setenv("BITDIAL_DATA", str(holed))
    at = opened(page, model="resnet8", **({"run": "2"} if page == "searches" else {}))
    said = " ".join(str(warning.value) for warning in at.warning)
    assert "3 of 20 points of run 2 are damaged and left out." in said
    assert "run 1" not in said
    assert ("1 line of its history" in said) == (page == "searches")
    shown = " ".join(str(error.value) for error in at.error)
    assert ("The sensitivity table" in shown) == (page in ("explore", "workbench"))


def test_commands_say_what_they_leave_out(holed, monkeypatch, capsys):
    monkeypatch.setenv("BITDIAL_DATA", str(holed))
    file = str(holed / "bitdial.db")
    assert main(["list", "--database", file]) == 0
    [line] = [each for each in capsys.readouterr().out.splitlines() if "damaged" in each]
    assert line.startswith("    2 ")
    assert "20 points  3 of 20 points are damaged and left out." in line
    assert main(["watch", "2", "--database", file]) == 0
    assert "note: 3 of 20 points are damaged and left out." in capsys.readouterr().out


def test_of_many_runs_the_first_are_named_and_the_others_counted():
    runs = [sample.run_of(number, "random") for number in range(1, 9)]
    assert points_words([(runs[0], 1)]) == "1 of 3 points of run 1 is damaged and left out."
    words = points_words([(run, 2) for run in runs])
    assert words.endswith(
        "2 of 3 points of run 5, 6 of 9 points of 3 runs are damaged and left out."
    )
