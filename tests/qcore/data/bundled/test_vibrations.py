"""Windows of a made-up machine: the same everywhere, split so that training sees no fault."""

import hashlib
import pickle

import numpy as np
import pytest
import torch

from qcore.add_network import add_network, check_network_on
from qcore.allocation import BitAllocation
from qcore.data import check_data_fits, load_data
from qcore.data.bundled.vibrations import (
    CODES,
    COUNTS,
    FULL_SCALE,
    LENGTH,
    RATE,
    WINDOW,
    Chance,
    make_windows,
)
from qcore.errors import InvalidData, InvalidParams
from qcore.models.catalog import MODELS, bundled_facts, bundled_spec, default_data, judge_of
from qcore.models.new_network import NewNetwork
from qcore.models.zoo import load_model
from qcore.prepare import prepare
from qcore.run_spec import RunSpec

torch.set_num_threads(1)


def load(calibration=64, search=64, **more):
    return load_data("vibrations", calibration=calibration, search=search, model="bearing", **more)


def test_windows_are_the_same_on_every_machine():
    windows, kinds = make_windows(3, 6, seed=5)
    codes = windows * CODES / (2 * FULL_SCALE)
    assert np.array_equal(codes, codes.round())
    assert kinds.tolist() == [0, 0, 0, 1, 2, 3, 1, 2, 3]
    digest = hashlib.sha256(codes.astype("<i2").tobytes()).hexdigest()
    assert digest == "3ed5042a30b758845337e9c8dab34661db6e95271a953d204f163b67e2e4ea92"
    assert not np.array_equal(make_windows(3, 6, seed=6)[0], windows)


def test_chance_is_uniform_and_normal():
    uniform = Chance(1).uniform(2, 5, 20_000)
    assert (uniform.min() >= 2, uniform.max() < 5) == (True, True)
    assert uniform.mean() == pytest.approx(3.5, abs=5 * 3 / np.sqrt(12 * 20_000))
    normal = Chance(2).normal(20_000)
    assert normal.mean() == pytest.approx(0, abs=5 / np.sqrt(20_000))
    assert normal.std() == pytest.approx(1, abs=5 / np.sqrt(2 * 20_000))
    assert np.mean(np.abs(normal) < 1.959964) == pytest.approx(0.95, abs=0.01)


def test_each_fault_adds_power_where_it_should():
    windows, kinds = make_windows(400, 1200, seed=3)
    power = np.abs(np.fft.rfft(windows[:, 0] * np.hanning(LENGTH))) ** 2
    bands = np.fft.rfftfreq(LENGTH, 1 / RATE)

    def mean(kind, low, high):
        inside = (bands >= low) & (bands < high)
        return power[kinds == kind][:, inside].sum(1).mean()

    assert mean(1, 780, 1020) > 5 * mean(0, 780, 1020)  # a resonance rings
    assert mean(2, 15, 45) > 3 * mean(0, 15, 45)  # the turning frequency
    assert mean(2, 780, 1020) == pytest.approx(mean(0, 780, 1020), rel=0.1)
    assert mean(3, 5, 20) > 2 * mean(0, 5, 20)  # half orders


def test_training_and_calibration_see_no_fault_and_the_rest_sees_both():
    data = load(search=500, training=True)
    assert data.calibration.labels is None is data.training.labels
    assert len(data.calibration) + len(data.training) == sum(COUNTS["training"])
    assert set(data.search.labels.tolist()) == {0, 1} == set(data.test.labels.tolist())
    assert int(data.test.labels.sum()) == COUNTS["test"][1] == len(data.test) // 2
    rows = [
        {row.numpy().tobytes() for row in split.columns["x"]}
        for split in (data.calibration, data.training, data.search, data.test)
    ]
    assert sum(map(len, rows)) == len(set.union(*rows))


def test_the_seed_draws_windows_and_leaves_the_test_windows():
    one, same, other = load(), load(), load(seed=1)
    assert one.digest == same.digest != other.digest
    assert torch.equal(one.test.columns["x"], other.test.columns["x"])
    assert not torch.equal(one.search.columns["x"], other.search.columns["x"])
    with pytest.raises(InvalidParams, match="Ask for fewer"):
        load(calibration=1 + sum(COUNTS["training"]))


def test_networks_that_take_something_else_are_told_what_there_is():
    with pytest.raises(InvalidData, match=r"resnet8 takes images; vibrations has x \(1, 256\)"):
        check_data_fits(load(), bundled_spec("resnet8"))
    with pytest.raises(InvalidData, match=r"takes x \(1, 256\) float32.*tensors:"):
        load_data("fashion-mnist", calibration=8, search=8, model="bearing")
    assert load_data("vibrations", calibration=8, search=8).inputs == (WINDOW,)


def test_the_network_finds_faults_as_well_as_stated():
    data, facts, judge = load(), bundled_facts("bearing"), MODELS["bearing"].judge
    network = load_model("bearing")
    with torch.inference_mode():
        marks = [judge.marks(judge.read(network(x), x), y) for x, y in data.test.batches(500)]
    placed = judge.marked(torch.cat(marks)).double()
    assert len(placed) == facts["test_samples"]
    assert float(placed.mean()) == pytest.approx(facts["test_score"], abs=1e-3)
    assert float(placed.std()) / len(placed) ** 0.5 == pytest.approx(facts["test_error"], rel=0.02)
    assert 0.9 < facts["test_score"] < 0.98


def test_fewer_bits_find_fewer_faults():
    spec = RunSpec(
        "bearing", "vibrations", "uniform", calibration_images=256, search_images=512,
        weight_bits=(2, 8), device="cpu",
    )  # fmt: skip
    prepared = prepare(spec)
    layers = prepared.model.layers
    low, high = prepared.score([BitAllocation.uniform(layers, bits, 32) for bits in (2, 8)])
    assert prepared.float_point.search.kl == 0
    assert 0 < high.search.kl < 0.01 < low.search.kl
    assert low.search.change > 2 * low.search.change_error
    assert prepared.report(high).test.n == sum(COUNTS["test"])


def test_another_process_scores_it_the_same_to_the_last_bit():
    spec = RunSpec(
        "bearing", "vibrations", "uniform", calibration_images=64, search_images=96, device="cpu"
    )  # fmt: skip
    prepared = prepare(spec)
    rebuilt = pickle.loads(pickle.dumps(prepared.recipe("ptq"))).context()
    asked = [BitAllocation.uniform(prepared.model.layers, bits, 8) for bits in (3, 4)]
    for images in (None, (16, 48)):
        here, there = (
            [point.search for point in one.score(asked, "ptq", images)]
            for one in (prepared, rebuilt)
        )
        assert here == there
        assert here[0].kl > here[1].kl


def test_weights_and_windows_of_the_users_go_in(tmp_path, monkeypatch):
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path / "data"))
    torch.save(load_model("bearing").state_dict(), tmp_path / "weights.pt")
    weights = str(tmp_path / "weights.pt")
    card, spec, _ = add_network(NewNetwork("pump", "bundled", "bearing", weights=weights))
    assert (card.inputs, card.judge) == ((WINDOW,), MODELS["bearing"].judge)
    assert default_data("pump") == "vibrations"
    assert judge_of("pump") == card.judge
    assert spec.layers == bundled_spec("bearing").layers
    windows, kinds = make_windows(120, 60, seed=8)
    np.savez(tmp_path / "mine.npz", x=windows, y=kinds > 0)
    for model in ("pump", "bearing"):
        report = check_network_on(model, f"tensors:{tmp_path / 'mine.npz'}", 60, 60).report
        assert report["splits"] == {"calibration": 60, "search": 60, "test": 60}
        assert report["test"]["value"] > 0.8
