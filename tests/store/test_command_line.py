"""`python -m store` says what it did, and mistakes in one plain line."""

import json
import re

import pytest

from qcore.errors import InvalidData
from qcore.judges import read_judge
from qcore.judges.embedding import Embedding
from qcore.models.catalog import judge_of
from store import __main__ as cli
from store import all_runs, create_run, points_of, run
from store.runs import queue
from store.workers import worker
from tests.store.fake import SPEC, prepare

words_alone = pytest.mark.parametrize(
    "backend", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)
"""For how words are read, whichever database is asked afterwards."""


@pytest.fixture
def call(store, capsys):
    def run_command(*words):
        code = cli.main(["--database", store.url, *words])
        return code, *capsys.readouterr()

    return run_command


def test_a_detached_run_is_queued_with_what_was_asked(call, store):
    code, out, _ = call(
        "run", "--model", "resnet20", "--search", "random", "--param", "evaluations=12",
        "--limit", "weight_bytes=90000", "--weight-bits", "2,4", "--pin", "8", "--detach",
        "--quantizer", "absmax", "--rounding", "gptq",
    )  # fmt: skip
    assert (code, out) == (0, "run 1 queued\n")
    spec = run(store, 1).spec
    assert (spec.model, spec.search, spec.params) == ("resnet20", "random", {"evaluations": 12})
    assert (spec.limits, spec.weight_bits, spec.pin_first_last) == (
        {"weight_bytes": 90000}, (2, 4), 8,
    )  # fmt: skip
    assert (spec.quantizer, spec.rounding) == ("absmax", "gptq")


@pytest.mark.parametrize(
    ("words", "seeds"),
    [
        ((), (0, 0)),
        (("--seed", "4"), (4, 4)),
        (("--seed", "4", "--images-seed", "0"), (4, 0)),
        (("--images-seed", "2"), (0, 2)),
    ],
)
def test_images_are_drawn_by_the_seed_unless_another_is_given(call, store, words, seeds):
    assert call("run", "--search", "random", *words, "--detach")[0] == 0
    spec = run(store, 1).spec
    assert (spec.seed, spec.images_seed) == seeds


def test_widths_nobody_asked_for_are_the_usual_ones_of_such_a_network(call, store, monkeypatch):
    assert call("run", "--search", "uniform", "--detach")[0] == 0
    monkeypatch.setattr(cli, "judge_of", lambda model: Embedding())
    assert call("run", "--search", "uniform", "--detach")[0] == 0
    assert run(store, 1).spec.weight_bits == (2, 3, 4, 8)
    assert run(store, 2).spec.weight_bits == (2, 3, 4, 5, 6, 8)


def test_a_run_in_the_foreground_ends_with_its_front(call, store, monkeypatch):
    monkeypatch.setattr(worker, "default_prepare", prepare)
    code, out, _ = call("run", "--model", "toy", "--search", "random", "--param", "evaluations=10")
    assert code == 0
    assert "run 1 done" in out
    assert out.count(" % (") == sum(s.has_config for s in points_of(store, [1]))
    assert call("watch", "1")[0] == 0
    code, out, _ = call("export", "1", "--out", str(store.folder / "x.json"))
    assert json.loads((store.folder / "x.json").read_text())["format"] == "bitdial-allocation"
    code, out, _ = call("pick", "--model", "toy", "--within", "100")
    assert code == 0
    assert "export --point" in out
    assert re.search(r"; \d+\.\dx smaller than float, .* 8 bits\n", out)
    code, out, _ = call("pick", "--model", "toy", "--within", "0")
    assert code == 1
    assert "shown to lose at most 0 points" in out


@words_alone
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "--search", "magic"), "Unknown search 'magic'"),
        (("run", "--quantizer", "worst"), "Unknown quantizer 'worst'; known: mse, absmax"),
        (("run", "--rounding", "up"), "Unknown rounding 'up'; known: nearest, gpfq, gptq"),
        (("run", "--weight-bits", "two"), "whole numbers"),
        (("run", "--param", "evaluations"), "name=value"),
        (("run", "--search", "random", "--param", "evaluations=0"), "between"),
        (("run", "--limit", "weight_bytes=abc"), "a number above 0; got 'abc'"),
        (("run", "--limit", "weight_bytes=40KX"), "'KX' is no unit of it"),
        (("run", "--limit", "weight_bytes=40kb"), "Did you mean kB"),
        (("run", "--limit", "weight_bytes=3,5 kB"), "with a point: 3.5 kB"),
        (("run", "--limit", "weight_bytes=10-20 kB"), "no interval"),
        (("run", "--limit", "bit_ops=3.5 bits"), "how large weights are"),
        (("run", "--limit", "bit_ops=40kB"), "Its unit is bit-ops"),
        (("run", "--limit", "weight_bytes=50%", "--model", "other"), "not known yet"),
        (("run", "--limit", "weight_bytes=4", "--limit", "weight_bytes=5"), "is given twice"),
        (("run", "--limit", "weight_bytes=1%"), "the smallest possible is 19,268 B"),
        (("pick", "--within", "1", "--limit", "weight_bytes=4 apples"), "'apples' is no unit"),
        (("run", "--limit", "weight_bytes=100"), "the smallest possible is 19,268 B"),
        (("run", "--limit", "weight_byte=90000"), "Unknown cost 'weight_byte'"),
        (("run", "--weight-bits", "0,9"), "got '0'"),
        (("run", "--pin", "17"), "got '17'"),
        (("run", "--seed", "-5"), "got -5"),
        (("run", "--images-seed", "-5"), "got -5"),
        (("run", "--reported", "0"), "got 0"),
        (("run", "--data", "imagenet"), "Unknown data set 'imagenet'"),
        (("cancel", "77"), "There is no run 77"),
        (("export", "77"), "There is no run 77"),
    ],
)
def test_a_mistake_is_one_plain_line_and_stores_nothing(call, store, words, message):
    code, _, err = call(*words)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert all_runs(store) == []


@words_alone
@pytest.mark.parametrize(
    ("written", "limit"),
    [("40000", 40000), ("4e4", 40000), ("40kB", 40000), ("40 KiB", 40960), ("320kbit", 40000),
     ("50%", 38536), ("40 % of 8 bits", 30828), ("3.5 bits", 33719), ("3.5bpw", 33719),
     ("12.5% of float", 38536), ("8x smaller", 38536), ("2x smaller than 8 bits", 38536)],
)  # fmt: skip
def test_limits_are_written_with_units(call, store, written, limit):
    code, _, err = call("run", "--limit", f"weight_bytes={written}", "--detach")
    assert (code, err) == (0, "")
    assert all_runs(store)[0].spec.limits == {"weight_bytes": limit}


@pytest.mark.parametrize(
    ("model", "data"), [("resnet20", "fashion-mnist"), ("bearing", "vibrations")]
)
def test_a_run_takes_the_data_its_model_is_first_offered_with(call, store, model, data):
    call("run", "--model", model, "--search", "random", "--detach")
    (found,) = all_runs(store)
    assert found.spec.data == data
    assert read_judge(found.spec.judge) == judge_of(model)


def test_a_model_that_needs_a_folder_asks_for_it(call, store):
    code, _, err = call("run", "--model", "resnet18", "--detach")
    assert (code, all_runs(store)) == (2, [])
    assert "'imagefolder' needs a folder or file" in err


def test_cancel_and_list(call, store):
    create_run(store, SPEC)
    assert call("cancel", "1")[1] == "run 1: cancelled\n"
    assert "cancelled" in call("list")[1]


def test_pause_resume_and_stop_say_what_became_of_the_run(call, store):
    run_id = create_run(store, SPEC)
    assert call("pause", "1")[1] == "run 1: paused\n"
    assert call("resume", "1")[1] == "run 1: queued\n"
    queue.claim(store, "another host")
    assert call("pause", "1")[1] == "run 1: running, asked to pause\n"
    assert call("stop", "1")[1] == "run 1: running, asked to stop\n"
    assert run(store, run_id).want == "stop"


def test_a_setting_that_is_nonsense_starts_nothing(call, store, monkeypatch):
    monkeypatch.setenv("BITDIAL_LEASE_S", "soon")
    code, _, err = call("run", "--search", "random")
    assert code == 2
    assert "BITDIAL_LEASE_S" in err
    assert all_runs(store) == []


def test_a_run_that_failed_says_why_and_what_to_do_instead_of_an_empty_table(
    call, store, monkeypatch
):
    def broken(*_, **__):
        raise InvalidData("The images are gone; put them back.")

    monkeypatch.setattr(worker, "default_prepare", broken)
    code, out, _ = call("run", "--model", "toy", "--search", "random", "--param", "evaluations=3")
    assert code == 1
    assert "run 1 failed: The images are gone; put them back." in out
    assert "python -m store resume 1" in out
    assert "mean weight bits" not in out
    # its layers may be known from another run
    monkeypatch.setattr(worker, "default_prepare", prepare)
    assert call("run", "--model", "toy", "--search", "random", "--param", "evaluations=3")[0] == 0
    code, out, _ = call("watch", "1")
    assert code == 1
    assert "The images are gone" in out
    assert "mean weight bits" not in out
    assert "mean weight bits" in call("watch", "2")[1]


EVERY = {
    "pace": ("resnet8",),
    "runtime": ("1",),
    "planes": ("1",),
    "run": ("--search", "random"),
    **dict.fromkeys(("watch", "pause", "resume", "stop", "cancel", "verify"), ("1",)),
    **dict.fromkeys(("backup", "restore"), ("file",)),
    **dict.fromkeys(("list", "doctor", "repair", "export", "samples", "rules"), ()),
    "pick": ("--within", "1"),
    "add-model": ("mine", "--source", "onnx"),
    "worker": ("1", "1"),
}


def test_the_database_is_named_before_or_after_any_command():
    made = cli.parser()
    read = made.parse_args
    [commands] = made._subparsers._group_actions
    assert set(commands.choices) == set(EVERY)
    for name, words in EVERY.items():
        assert read([name, *words]).database is None
        assert read(["--database", "a.db", name, *words]).database == "a.db"
        assert read([name, *words, "--database", "a.db"]).database == "a.db"
        assert read(["--database", "a.db", name, "--database=b.db", *words]).database == "b.db"
