"""The Settings page shows every setting, hides passwords, and says what is wrong."""

import subprocess
import sys
from pathlib import Path

import pytest

from pages.shared.text import literal
from store.settings import describe_settings

ROOT = Path(__file__).parents[2]


def frames(at):
    return [element.value for kind in (at.dataframe, at.table) for element in kind]


def table(at, column):
    """The table that has a column, as first column -> row."""
    [found] = [frame for frame in frames(at) if column in frame.columns]
    return found.set_index(found.columns[0])


def test_every_setting_is_shown_with_its_source(app, monkeypatch, place):
    monkeypatch.setenv("BITDIAL_WORKERS", "3")
    monkeypatch.delenv("BITDIAL_LEASE_S", raising=False)
    at = app("settings")
    shown = table(at, "Set it with")
    assert list(shown["Set it with"]) == [row.variable for row in describe_settings()]
    assert tuple(shown.loc["Searches at once", ["Value", "Comes from"]]) == ("3", "BITDIAL_WORKERS")
    assert tuple(shown.loc["Lease, seconds", ["Value", "Comes from"]]) == ("30", "default")
    assert shown.loc["Data folder", "Value"] == str(place)


def test_the_database_and_its_disk_are_described(app, store):
    now = table(app("settings"), "Now")["Now"]
    assert now["Database"].startswith("SQLite")
    assert now["Database"].endswith(str(store.folder / "bitdial.db"))
    assert now["Journal"] == "wal"
    assert "newest" in now["Schema"]
    assert now["Starts the searches"].startswith("nobody")


def test_a_password_is_on_no_page(app, monkeypatch):
    monkeypatch.setenv("BITDIAL_DATABASE_URL", "postgresql+psycopg://ann:geheim@127.0.0.1:1/x")
    at = app("settings")
    assert "ann:***@127.0.0.1" in table(at, "Set it with").loc["Database", "Value"]
    everything = [frame.to_string() for frame in frames(at)]
    everything += [
        element.value for kind in (at.error, at.markdown, at.caption) for element in kind
    ]
    assert any("no server answers" in text or "driver" in text for text in everything)
    assert not any("geheim" in text for text in everything)


@pytest.mark.parametrize("page", ["explore", "searches", "settings"])
def test_a_setting_that_is_nonsense_is_named_on_every_page(app, monkeypatch, page):
    monkeypatch.setenv("BITDIAL_EVALUATOR", "<b>magic</b>")
    at = app(page)
    [error] = at.error
    assert literal("BITDIAL_EVALUATOR cannot be used") in error.value
    assert literal("<b>magic</b>") in error.value
    if page == "searches":
        # the form is there, without the estimate that needs the settings
        assert any(button.label == "Start search" for button in at.button)
        assert not any(note.value.startswith("3 runs") for note in at.caption)
    if page == "settings":
        assert table(at, "Set it with").loc["Evaluator", "Value"] == "cannot be used"


def test_the_checks_run_when_asked_for(app, store, monkeypatch):
    at = app("settings")
    assert not at.success
    at.button(key="check").click().run()
    assert not at.exception
    assert not at.error
    found = table(at, "Verdict")
    assert found[found["Checked"] == "Integrity"].index.tolist() == ["ok"]
    monkeypatch.setenv("BITDIAL_GPUS", "9000")
    at.button(key="check").click().run()
    assert any("first rows" in error.value for error in at.error)
    assert table(at, "Verdict").iloc[0]["Checked"] == "GPUs"


def test_the_page_never_loads_torch(tmp_path):
    program = (
        "import sys\n"
        "from streamlit.testing.v1 import AppTest\n"
        "at = AppTest.from_file('app.py', default_timeout=60)\n"
        "at.switch_page('pages/views/settings.py').run()\n"
        "at.button(key='check').click().run()\n"
        "assert (len(at.table), len(at.dataframe)) == (1, 2), at\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
    )
    env = {"BITDIAL_DATA": str(tmp_path), "STREAMLIT_SERVER_ADDRESS": "localhost"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
