"""Samples to look at are computed by a process of their own and kept beside the other files."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qcore.allocation import BitAllocation
from qcore.errors import InvalidConfig, InvalidData, InvalidParams
from qcore.formats.config import dump_bits
from qcore.judges import CLASSES
from qcore.pictures.record import Panel, SampleRecord, dump_record
from qcore.prepare import prepare
from qcore.run_spec import RunSpec
from store import open_store, save_config
from store.__main__ import main
from store.database.locations import URL_VARIABLE
from store.jobs import opening, samples
from store.workers.children import Child
from tests import configs as made

ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path))
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    return open_store()


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Images, and a configuration of resnet8 that was measured on them."""
    file = tmp_path_factory.mktemp("images") / "small.npz"
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (96, 1, 28, 28), np.uint8), rng.integers(0, 10, 96)
    np.savez(file, x=x, y=y)
    spec = RunSpec(
        "resnet8", f"tensors:{file}", "given", calibration_images=16, search_images=24, device="cpu"
    )
    prepared = prepare(spec)
    bits = BitAllocation.uniform(prepared.model.layers, 3, 8)
    point = prepared.report(next(prepared.score([bits])))
    told = {"data": spec.data, "calibration_images": 16, "search_images": 24}
    return x, y, prepared.config(point, told)


def small_record():
    """A record of two made-up samples."""
    return SampleRecord(
        "resnet8", "x", CLASSES, np.array([0.1, 0.2]), 2, np.arange(2),
        (Panel("", "planes", np.zeros((2, 1, 3, 3), np.uint8), (1, 3, 3)),), (),
    )  # fmt: skip


def test_what_is_computed_is_kept_and_is_of_the_samples_that_scored(store, measured, capsys):
    x, y, config = measured
    text = dump_bits(config)
    number = save_config(store, "kept", text)
    assert samples.read_record(store, text) is None
    assert main(["--database", store.url, "samples", str(number)]) == 0
    said = capsys.readouterr().out
    record = samples.read_record(store, text)
    assert len(record.divergence) == len(record.numbers) == record.total == 24
    assert record.divergence.mean() == pytest.approx(config.search.kl, rel=1e-4)
    # each picture is one of the file, with its own label
    known = {image.tobytes(): label for image, label in zip(x, y, strict=True)}
    for image, label in zip(record.inputs[0].values, record.labels, strict=True):
        assert known[image.tobytes()] == label
    assert record.answers[0].arrays["float"].sum(1) == pytest.approx(1, abs=1e-5)
    assert "no test sample was looked at" in said
    assert str(samples.record_path(store, text)) in said


def test_a_page_starts_it_once_and_is_told_how_it_ended(store, measured):
    text = dump_bits(measured[2])
    number = save_config(store, "kept", text)
    assert samples.look(store, text) is None
    samples.start(store, text, [str(number)])
    (child,) = opening._CHILDREN.values()
    samples.start(store, text, [str(number)])
    assert list(opening._CHILDREN.values()) == [child]
    assert samples.look(store, text).state == "running"
    assert store.url not in " ".join(map(str, child.process.args))
    assert child.process.wait(timeout=120) == 0
    assert samples.look(store, text).state == "done"
    assert samples.look(store, text) is None
    record = samples.read_record(store, text)
    assert record.divergence.mean() == pytest.approx(measured[2].search.kl, rel=1e-4)


def test_what_cannot_be_shown_ends_in_words(store):
    text = dump_bits(made.config(state=False))
    number = save_config(store, "alone", text)
    samples.start(store, text, [str(number)])
    (child,) = opening._CHILDREN.values()
    child.process.wait(timeout=120)
    told = samples.look(store, text)
    assert told.state == "failed"
    assert "bits alone: measure it first" in told.words
    assert samples.read_record(store, text) is None


def test_not_more_than_two_are_computed_at_once(store, monkeypatch):
    class Running:
        returncode = None

        def poll(self):
            return None

    busy = {str(n): Child(0, Running(), Path("log"), "") for n in range(2)}
    monkeypatch.setattr(opening, "_CHILDREN", busy)
    monkeypatch.setattr(opening, "_POOLS", dict.fromkeys(busy, samples.SAMPLES))
    with pytest.raises(InvalidParams, match="2 other records of samples are being made"):
        samples.start(store, "text", ["1"])


def test_a_damaged_record_is_said_once_and_computed_anew(store):
    path = samples.record_path(store, "text")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\xff\xfe not text")
    with pytest.raises(InvalidData, match="cannot be read"):
        samples.read_record(store, "text")
    assert samples.read_record(store, "text") is None


def test_a_record_of_deep_brackets_is_damaged_like_any_other(store):
    path = samples.record_path(store, "text")
    path.parent.mkdir(parents=True)
    path.write_text("[" * 100_000)
    with pytest.raises(InvalidData, match="have it computed again"):
        samples.read_record(store, "text")
    assert not path.exists()


def test_the_oldest_records_go_first(store, monkeypatch):
    monkeypatch.setattr(samples, "MOST_RECORDS", 3)
    monkeypatch.setattr("qcore.pictures.look.look_at", lambda config, **_: small_record())
    config = made.config()
    texts = [dump_bits(replace(config, provenance={"data": str(n)})) for n in range(5)]
    for age, text in enumerate(texts):
        _, path = samples.compute(store, text)
        os.utime(path, (age, age))
    kept = [text for text in texts if samples.read_record(store, text) is not None]
    assert kept == texts[2:]
    assert dump_record(samples.read_record(store, texts[4])) == dump_record(small_record())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["samples"], "Say which configuration"),
        (["samples", "1", "--point", "2"], "Say which configuration"),
        (["samples", "7"], "no saved configuration 7"),
        (["samples", "--point", "7"], "no reported point 7"),
    ],
)
def test_the_command_line_says_what_it_needs(store, words, said, capsys):
    assert main(words) == 2
    assert said in capsys.readouterr().err


def test_nothing_is_kept_of_what_is_refused(store):
    with pytest.raises(InvalidConfig):
        samples.compute(store, dump_bits(made.config(state=False)))
    assert not samples.record_path(store, "").parent.exists()
