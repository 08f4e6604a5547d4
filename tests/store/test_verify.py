"""A kept configuration is measured again by a process that knows nothing but its file."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qcore.allocation import BitAllocation
from qcore.errors import DataUnavailable, StoreError
from qcore.formats.config import dump_bits, parse_bits
from qcore.prepare import prepare
from qcore.problem import Scores
from qcore.run_spec import RunSpec
from qcore.scoring import verification
from store import configs, open_store, save_config
from store.database.locations import URL_VARIABLE
from store.jobs import opening, verify
from tests import configs as made

ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path))
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    return open_store()


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A configuration of resnet8 as its measurement on 96 small images left it."""
    file = tmp_path_factory.mktemp("images") / "small.npz"
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (96, 1, 28, 28), np.uint8)
    np.savez(file, x=images, y=rng.integers(0, 10, 96))
    spec = RunSpec(
        "resnet8", f"tensors:{file}", "given", calibration_images=16, search_images=16, device="cpu"
    )
    prepared = prepare(spec)
    bits = BitAllocation.uniform(prepared.model.layers, 4, 8)
    point = prepared.report(next(prepared.score([bits])))
    told = {"data": spec.data, "calibration_images": 16, "search_images": 16}
    return prepared.config(point, told)


def run_verify(store, number):
    command = [sys.executable, "-m", "store", "--database", store.url, "verify", str(number)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_true_configuration_passes_in_a_new_process(store, measured):
    number = save_config(store, "true", dump_bits(measured))
    done = run_verify(store, number)
    assert done.returncode == 0, done.stderr
    check = configs(store)[0].check
    assert check["passed"] is True
    assert check["got"] == pytest.approx(measured.test.headline, abs=1e-9)
    assert check["n"] == measured.test.n
    assert verify.words(check) in done.stdout


def test_images_are_drawn_again_by_the_seed_that_the_file_names(measured):
    drawn = replace(measured, provenance={**measured.provenance, "images_seed": 0})
    assert verify.compare(drawn)["passed"]
    with pytest.raises(DataUnavailable, match="not those it was measured on"):
        verify.compare(replace(measured, provenance={**measured.provenance, "images_seed": 5}))


def test_a_false_claim_fails(store, measured):
    wrong = replace(measured.test, accuracy=min(1.0, measured.test.headline + 0.1))
    number = save_config(store, "lie", dump_bits(replace(measured, test=wrong)))
    found = verify.verify(store, number)
    assert found["passed"] is False
    assert found["got"] == pytest.approx(measured.test.headline, abs=1e-9)
    assert verify.words(found).startswith("not as saved: ")
    assert configs(store)[0].check == found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"state": {}}, "bits alone"),
        ({"test": None}, "bits alone"),
        ({"provenance": {}}, "on which data"),
        ({"provenance": {"data": "imagefolder:/nowhere"}}, "nowhere"),
        ({"provenance": {"data": "unknown"}}, "unknown"),
    ],
)
def test_what_cannot_be_measured_says_why_and_keeps_it(store, measured, change, said):
    number = save_config(store, "odd", dump_bits(replace(measured, **change)))
    found = verify.verify(store, number)
    assert found["passed"] is False
    assert found["got"] is None
    assert said in found["error"]
    assert said in verify.words(configs(store)[0].check)


def test_other_images_and_other_weights_are_noticed(store, measured):
    told = {**measured.provenance, "data_digest": "0" * 64}
    number = save_config(store, "images", dump_bits(replace(measured, provenance=told)))
    assert "not those it was measured on" in verify.verify(store, number)["error"]
    model = replace(measured.model, digest="0" * 64)
    number = save_config(store, "weights", dump_bits(replace(measured, model=model)))
    assert "not those that were measured" in verify.verify(store, number)["error"]
    fewer = replace(measured.test, n=measured.test.n + 1)
    number = save_config(store, "count", dump_bits(replace(measured, test=fewer)))
    assert "the data has changed" in verify.verify(store, number)["error"]


def test_a_broken_file_is_a_verdict_too(store):
    number = save_config(store, "broken", "{")
    assert "not valid JSON" in verify.verify(store, number)["error"]


def test_there_must_be_such_a_configuration(store):
    with pytest.raises(StoreError, match="no saved configuration 7"):
        verify.verify(store, 7)


@pytest.mark.parametrize(("off", "passes"), [(0.0, True), (0.001, True), (0.0011, False)])
def test_one_image_in_a_thousand_may_come_out_differently(monkeypatch, off, passes):
    config = made.config()
    got = Scores(10_000, 0.1, 0.9, config.test.accuracy - off, 0.3)
    monkeypatch.setattr(verification, "measure", lambda config, opening: got)
    assert verify.compare(config)["passed"] is passes


def test_the_process_a_page_starts_leaves_its_verdict(store):
    number = save_config(store, "bits alone", dump_bits(made.config(state=False)))
    step = verify.start(store, number)
    assert verify.start(store, number) == step
    child = opening._CHILDREN[step]
    assert child.process.wait(timeout=120) == 0
    assert opening.told(store, step).state == "done"
    assert opening.told(store, step) is None
    assert "bits alone" in configs(store)[0].check["error"]
    assert store.url not in " ".join(map(str, child.process.args))
    assert json.loads(dump_bits(parse_bits(configs(store)[0].text)))
