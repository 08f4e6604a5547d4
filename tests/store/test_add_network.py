"""Steps of adding a network run in a process of their own, are followed, and can be cancelled."""

import sys
import time

import pytest

from qcore.errors import DataUnavailable, InvalidParams, StoreError
from qcore.models.new_network import NewNetwork
from store import open_store
from store.jobs import add_network, opening

# as the real worker does: what others read is written beside and renamed
HEAD = """
import json, pathlib, sys, time
place = pathlib.Path(sys.argv[1])
def say(name, document):
    (place / "new").write_text(json.dumps(document))
    (place / "new").replace(place / name)
"""
SLEEPS = (
    HEAD
    + "say('progress.json', {'words': 'Counting', 'done': 3, 'total': 9})\n"
    + "time.sleep(600)"
)
SAYS = HEAD + "say('result.json', {'report': json.loads((place / 'request.json').read_text())})"
FAILS = HEAD + "say('result.json', {'error': 'no weights'}); sys.exit(1)"
CRASHES = "import sys; sys.stderr.write('Segmentation fault\\n'); sys.exit(139)"


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("BITDIAL_DATABASE_URL", raising=False)
    opened = open_store()
    yield opened
    for step in list(opening._CHILDREN):
        opening.cancel(opened, step)


@pytest.fixture
def worker(monkeypatch):
    def use(program):
        monkeypatch.setattr(
            opening, "command", lambda place: [sys.executable, "-c", program, str(place)]
        )

    return use


def until(store, step, done, seconds=60):
    """Look until it is so."""
    limit = time.monotonic() + seconds
    while not done(look := opening.look(store, step)):
        assert time.monotonic() < limit, look
        time.sleep(0.02)
    return look


def ended(store, step):
    return until(store, step, lambda look: look.state != "running")


def test_a_step_is_asked_and_answers(store, worker):
    worker(SAYS)
    step = add_network.start_check(store, "resnet8", "fashion-mnist", 10, 20)
    look = ended(store, step)
    assert look.state == "done"
    assert look.report["model"] == "resnet8"
    assert (look.report["calibration"], look.report["search"]) == (10, 20)
    assert opening.look(store, step).report == look.report


@pytest.mark.parametrize(("program", "words"), [(FAILS, "no weights"), (CRASHES, "Segmentation")])
def test_a_step_that_fails_says_why(store, worker, program, words):
    worker(program)
    look = ended(store, add_network.start_check(store, "resnet8", "fashion-mnist", 1, 1))
    assert (look.state, look.report) == ("failed", None)
    assert words in look.words


def test_progress_is_shown_and_cancel_kills(store, worker):
    worker(SLEEPS)
    step = add_network.start_check(store, "resnet8", "fashion-mnist", 1, 1)
    look = until(store, step, lambda look: look.total)
    assert (look.state, look.words, look.done, look.total) == ("running", "Counting", 3, 9)
    process = opening._CHILDREN[step].process
    opening.cancel(store, step)
    assert process.poll() is not None
    assert opening.look(store, step).state == "cancelled"


def test_only_two_steps_run_at_once(store, worker):
    worker(SLEEPS)
    steps = [add_network.start_check(store, "resnet8", "fashion-mnist", 1, 1) for _ in range(2)]
    with pytest.raises(InvalidParams, match="2 networks are being worked on"):
        add_network.start_check(store, "resnet8", "fashion-mnist", 1, 1)
    for step in steps:
        opening.cancel(store, step)


def test_a_step_ends_with_its_server(store, tmp_path):
    place = tmp_path / "step"
    place.mkdir()
    opening.write_json(place / "request.json", {"kind": "nothing"})
    program = "import time, store.jobs.opening_worker as w; w.work = lambda *a: time.sleep(600);"
    program += f"w.main({str(place)!r})"
    child = opening.children.start(
        [sys.executable, "-c", program], dict(opening.os.environ), tmp_path / "log", 0, "cpu"
    )
    child.close()
    assert child.process.wait(60) == 0


def test_an_upload_is_written_under_a_name_of_ours(store, worker):
    worker(SAYS)
    new = NewNetwork("mine", "bundled", "resnet8")
    step = add_network.start_adding(store, new, ("../../../evil.safetensors", b"abc"))
    look = ended(store, step)
    written = opening.folder_of(store) / step / "upload.safetensors"
    assert look.report["new"]["weights"] == str(written)
    assert written.read_bytes() == b"abc"
    assert not list(store.folder.parent.rglob("evil*"))


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"name": "resnet20"}, InvalidParams, "comes with bitdial"),
        ({"name": "../x"}, InvalidParams, "A network's name"),
        ({"source": "pickle"}, InvalidParams, "Unknown source"),
        ({"architecture": " "}, InvalidParams, "Name the architecture, for example resnet8"),
        ({"source": "onnx"}, InvalidParams, r"Give the \.onnx file"),
        ({"weights": "/nowhere/w.pt"}, DataUnavailable, "There is no file"),
        ({"weights": "/nowhere/w.py"}, InvalidParams, "should end in"),
        ({"classes": 1}, InvalidParams, "2 to 100,000 classes"),
    ],
)
def test_what_cannot_be_starts_nothing(store, worker, change, kind, message):
    worker(SAYS)
    fields = {"name": "mine", "source": "bundled", "architecture": "resnet8"} | change
    with pytest.raises(kind, match=message):
        add_network.start_adding(store, NewNetwork(**fields))
    assert not opening._CHILDREN


@pytest.mark.parametrize("step", ["", "..", "nowhere", "../data"])
def test_an_unknown_step_is_refused(store, step):
    with pytest.raises(StoreError, match="no longer known"):
        opening.look(store, step)
