"""A mistake on the command line is one plain line and exit code 2, whatever it is."""

import json
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store import __main__ as cli
from store import all_runs
from store.settings import describe_settings
from tests.pages import sample
from tests.variants import examples

BYTES = os.fsdecode(b"\xff\xfe")
DEEP = "[" * 100_000
DIGITS = "9" * 5_000
ADD = ("add-model", "mine", "--source", "onnx")


@pytest.fixture
def call(sqlite_store, capsys):
    sample.fill(sqlite_store)

    def run_command(*words):
        try:
            code = cli.main(["--database", sqlite_store.url, *words])
        except SystemExit as ended:  # argparse's way
            code = ended.code
        return code, capsys.readouterr().err

    return run_command


@pytest.mark.parametrize("number", [str(2**63), "-1", "0.5", DIGITS, BYTES, "\u0663", ""])
def test_a_number_that_no_run_has(call, number):
    for words in (
        *((name, number) for name in ("watch", "pause", "resume", "stop", "cancel", "export")),
        ("export", "--point", number),
        ("verify", number),
        ("samples", number),
        ("pick", "--within", "1", "--run", number),
    ):
        code, said = call(*words)
        assert code == 2, words
        assert "Traceback" not in said


@pytest.mark.parametrize(
    "words",
    [
        ("run", "--name", BYTES),
        ("run", "--model", BYTES),
        ("run", "--data", f"tensors:{BYTES}"),
        ("run", "--device", BYTES),
        ("run", "--param", f"evaluations={DEEP}"),
        ("run", "--param", f"{BYTES}=1"),
        ("run", "--limit", f"weight_bytes={DEEP}"),
        ("run", "--limit", f"weight_bytes={DIGITS}"),
        ("run", "--weight-bits", DIGITS),
        ("run", "--rules", f"/nowhere/{BYTES}"),
        ("run", "--rules", "/"),
        ("rules", "--model", BYTES),
        (*ADD, "--shape", DIGITS),
        (*ADD, "--input", f"x:float32:{DIGITS}"),
        (*ADD, "--input", "x:float32:4", "--argument", f"a={DEEP}"),
        ("export", "1", "--out", "/nowhere/at/all/x.json"),
        ("export", "1", "--out", "/"),
        ("export", "1", "--out", "/proc/nothing"),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_is_refused_in_words(call, sqlite_store, words):
    code, said = call(*words, *(["--detach"] if words[0] == "run" else []))
    assert code == 2
    assert 0 < len(said) < 5_000 + len(DIGITS)
    assert "Traceback" not in said
    assert len(all_runs(sqlite_store)) == 3


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--model", ""), "no network named ''"),
        (("--model", "../../etc/passwd"), "no network named '../../etc/passwd'"),
        (("--device", "/etc"), "No device '/etc'"),
        (("--device", "cpu;rm"), "No device 'cpu;rm'"),
        (("--data", "tensors:/etc/passwd"), "no file of tensors"),
        (("--data", "tensors:/etc"), "no file of tensors"),
        (("--data", "tensors:/nowhere.npz"), "nothing at /nowhere.npz"),
        (("--data", "texts:/etc/passwd"), "no file of texts"),
        (("--data", "imagefolder:/etc/passwd"), "no folder"),
        (("--data", "images:/nowhere"), "nothing at /nowhere"),
        (("--data", "pairs:" + "x" * 5000), "at most 900 are kept"),
    ],
)
def test_a_detached_run_is_refused_where_it_could_not_begin(call, sqlite_store, words, reason):
    code, said = call("run", "--search", "random", *words, "--detach")
    assert (code, len(all_runs(sqlite_store))) == (2, 3)
    assert reason in said


def test_a_detached_run_on_a_file_of_tensors_is_queued(call, sqlite_store, tmp_path):
    np.savez(tmp_path / "x.npz", x=np.zeros((4, 1, 28, 28), np.float32))
    code, _ = call(
        "run", "--search", "random", "--data", f"tensors:{tmp_path / 'x.npz'}", "--detach"
    )
    assert (code, len(all_runs(sqlite_store))) == (0, 4)


def test_an_exported_file_is_there_whole(call, tmp_path):
    (tmp_path / "x.json").write_text("before")
    assert call("export", "1", "--out", str(tmp_path / "x.json")) == (0, "")
    assert json.loads((tmp_path / "x.json").read_text())["format"] == "bitdial-allocation"
    assert not list(tmp_path.glob("*.tmp"))


WORDS = st.one_of(
    st.text(max_size=40),
    st.binary(max_size=8).map(os.fsdecode),
    st.recursive(st.none() | st.integers() | st.floats() | st.text(max_size=5),
                 lambda inner: st.lists(inner, max_size=3)
                 | st.dictionaries(st.text(max_size=4), inner, max_size=3),
                 max_leaves=6).map(json.dumps),
).map(lambda words: words.replace("\0", ""))  # fmt: skip


@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    option=st.sampled_from(
        ["--name", "--model", "--data", "--search", "--limit", "--param", "--weight-bits",
         "--activation-bits", "--pin", "--seed", "--device", "--quantizer", "--rounding"]
    ),
    words=WORDS,
    before=st.sampled_from(["", "weight_bytes=", "evaluations=", "tensors:"]),
)  # fmt: skip
def test_any_words_are_taken_or_refused_in_words(call, option, words, before):
    code, said = call("run", f"{option}={before}{words}", "--detach")
    assert code in (0, 2)
    assert "Traceback" not in said


@settings(max_examples=examples(60))
@given(words=st.text(max_size=30) | st.integers().map(str) | st.just(DIGITS))
def test_a_setting_is_used_or_named(words):
    env = {f"BITDIAL_{n}": words for n in ("WORKERS", "LEASE_S", "GPUS", "EVALUATOR", "RECORDINGS")}
    for row in describe_settings(env):
        assert row.value or row.problem
        assert len(row.problem) < 10_000
