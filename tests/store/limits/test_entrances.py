"""Whatever opens a person's file does it within the bounds that are set, by whichever way it came.

What reads the file is replaced by something that looks at the limits of its own process.
"""

import signal
import sys
from dataclasses import replace

import pytest

import qcore.add_network
import qcore.models.zoo
import qcore.prepare
from qcore.errors import InvalidData
from qcore.formats.config import dump_bits, parse_bits
from qcore.models.new_network import NewNetwork
from qcore.pictures import serving
from qcore.scoring import verification
from store import __main__ as cli
from store import create_run, save_config
from store.bounds import LATER_S
from store.jobs import command_rules, opening_worker, reading, runtime
from store.jobs.export import render
from store.jobs.telling import Teller
from store.runs import points
from tests import configs as made
from tests.store.fake import SPEC, FakePrepared
from tests.store.test_points import a_point

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux")
GB, SECONDS = 3.0, 77.0


def address_space():
    import resource

    return resource.getrlimit(resource.RLIMIT_AS)[0]


@pytest.fixture
def seen(monkeypatch):
    """What readers of files saw of their bounds: seconds, and whether memory was limited."""
    monkeypatch.setenv("BITDIAL_OPEN_GB", str(GB))
    monkeypatch.setenv("BITDIAL_OPEN_S", str(SECONDS))
    found, before = [], address_space()

    def look(*args, **kwargs):
        found.append((signal.getitimer(signal.ITIMER_REAL)[0], address_space() != before))
        raise InvalidData("it was looked at")

    for module in (qcore.prepare, verification, serving):
        monkeypatch.setattr(module, "load_data", look)
    for module, name in (
        (qcore.add_network, "add_network"), (qcore.add_network, "change_judge"),
        (reading, "_read"), (reading, "read_gguf"), (cli, "load_rules"),
        (command_rules, "load_rules"), (qcore.models.zoo, "load_model"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, look)
    yield found
    assert address_space() == before
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


@pytest.fixture
def kept(sqlite_store):
    """A store with a kept configuration, and a run that may be asked for what it has trained."""
    save_config(sqlite_store, "kept", dump_bits(made.config()))
    create_run(sqlite_store, SPEC)
    return sqlite_store


@pytest.fixture
def trained(monkeypatch):
    monkeypatch.setattr(runtime, "missing", lambda store, run: "")
    point = a_point(FakePrepared())
    stored = points.StoredPoint(1, 1, point, has_config=False)
    monkeypatch.setattr(runtime, "measured", lambda store, run: [stored])
    monkeypatch.setattr(runtime, "trained_stage", lambda *_: b"stage")


def within(found):
    assert found
    for seconds, limited in found:
        assert SECONDS - 30 < seconds <= SECONDS + LATER_S
        assert limited


COMMANDS = {
    "run": ("run", "--search", "random", "--calibration-images", "8"),
    "run with rules": ("run", "--search", "random", "--rules", "rules.yaml"),
    "rules": ("rules", "rules.yaml"),
    "samples": ("samples", "1"),
    "verify": ("verify", "1"),
    "pace": ("pace", "resnet8"),
    "runtime": ("runtime", "1"),
    "add-model": ("add-model", "mine", "--source", "bundled", "--architecture", "resnet8"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_opens_files_within_the_bounds(kept, seen, trained, name, capsys):
    assert cli.main(["--database", kept.url, *COMMANDS[name]]) in (1, 2)
    said = capsys.readouterr()
    assert "it was looked at" in said.out + said.err
    within(seen)


def test_an_export_with_the_network_opens_it_within_the_bounds(seen):
    config = made.config()
    bare = replace(config, provenance={})
    with pytest.raises(InvalidData, match="looked at"):
        render(parse_bits(dump_bits(bare)), "onnx")
    within(seen)


MODEL = made.RESNET8
COUNTS = {"calibration": 8, "search": 8, "model": "resnet8", "data": "fashion-mnist"}
NEW = NewNetwork("mine", "bundled", "resnet8").to_json()
STEPS = {
    "add": {"new": NEW},
    "judge": {"model": "resnet8", "judge": {"name": "classes"}},
    "check": COUNTS,
    "sensitivity": {
        **COUNTS, "sensitivity": "kl", "weight_bits": [4], "activation_bits": [32],
    },
    "bits": {"model": MODEL.to_json(), "wanted": ""},
    "gguf": {"model": MODEL.to_json()},
    "samples": {"configuration": 1, "point": None},
    "runtime": {"run": 1},
    "pace": {"spec": replace(SPEC, model="resnet8", data="fashion-mnist", search="dq").to_json()},
    "verify": {"configuration": 1},
}  # fmt: skip


def test_every_kind_of_step_is_here():
    assert set(STEPS) == set(opening_worker.KINDS)


@pytest.mark.parametrize("kind", STEPS)
def test_a_step_of_a_page_opens_files_within_the_bounds_and_says_so(
    kept, seen, trained, monkeypatch, tmp_path, kind
):
    monkeypatch.setenv("BITDIAL_DATABASE_URL", kept.url)
    file = tmp_path / "given"
    file.write_bytes(b"{}")
    told = []
    teller = Teller(tmp_path)
    monkeypatch.setattr(teller, "_tell", lambda done, total: told.append(dict(teller._bounds)))
    request = {"kind": kind, "file": str(file), **STEPS[kind]}
    if kind == "verify":  # what cannot be measured is a verdict, too
        assert "it was looked at" in opening_worker.work(request, teller)["error"]
    else:
        with pytest.raises(InvalidData, match="it was looked at"):
            opening_worker.work(request, teller)
    within(seen)
    assert {"most_gb": GB, "most_s": SECONDS} in told
