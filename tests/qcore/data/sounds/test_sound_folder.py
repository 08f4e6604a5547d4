"""Folders of WAV files as the data of networks: splits, labels, lengths, rates, masks, states."""

import numpy as np
import pytest
import torch

from qcore.add_network import add_network, check_network_on
from qcore.data import check_data_fits, load_data
from qcore.data.sounds.features import features
from qcore.errors import DataUnavailable, InvalidData, InvalidParams
from qcore.inputs import parse_input
from qcore.judges import parse_judge
from qcore.models.catalog import default_data, read_models
from qcore.models.new_network import NewNetwork
from qcore.models.sound import KEYWORDS, parse_sound
from qcore.models.zoo import load_model
from qcore.network.layers import find_layers
from qcore.prepare import prepare
from qcore.run_spec import RunSpec
from tests.sounds import sound, wav_bytes

torch.set_num_threads(1)
MODULE = "tests.typed_nets"


@pytest.fixture(autouse=True)
def allowed(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("BITDIAL_ALLOW_CODE", MODULE)
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path_factory.mktemp("bitdial")))


def added(build, *inputs, settings="", judge=""):
    new = NewNetwork(
        build.replace("_", "-"),
        "factory",
        f"{MODULE}:{build}",
        inputs=tuple(map(parse_input, inputs)),
        judge=parse_judge(judge) if judge else None,
        sound=parse_sound(settings) if settings else None,
        # other tests add the same network, told of another sound
        replace=True,
    )
    card, *_ = add_network(NewNetwork.from_json(new.to_json()))
    assert read_models()[new.name].card == card
    assert card.sound == new.sound
    return new.name


def tones(folder, classes=("yes", "no", "stop"), each=6, seconds=1.0, rate=16_000, **how):
    for at, name in enumerate(classes):
        for number in range(each):
            path = folder / name / f"{number}.wav"
            sound(path, seconds, rate, 200 * (at + 1) + 7 * number, **how)
    return folder


def loaded(folder, model, calibration=4, search=4, **how):
    return load_data(f"sounds:{folder}", calibration=calibration, search=search, model=model, **how)


def test_a_keyword_network_goes_from_wav_files_to_points(tmp_path):
    model = added("keywords", "x:float32:1x49x10", settings="keywords")
    name = f"sounds:{tones(tmp_path / 'words')}"
    report = check_network_on(model, name, 4, 4).report
    assert report["splits"] == {"calibration": 4, "search": 4, "test": 10}
    assert report["test"]["labelled"]
    assert default_data(model) == name
    prepared = prepare(RunSpec(model, name, "exact", calibration_images=4, search_images=4))
    point = next(prepared.score([prepared.float_point.allocation]))
    assert point.search.kl < 1e-6


def test_classes_are_folders_and_splits_are_drawn_by_the_seed(tmp_path):
    model = added("keywords", "x:float32:1x49x10", settings="keywords")
    data = loaded(tones(tmp_path / "words"), model)
    assert data.class_names == ("no", "stop", "yes")
    assert data.classes == 3
    assert data.digest == loaded(tmp_path / "words", model).digest
    assert data.digest != loaded(tmp_path / "words", model, seed=1).digest
    splits = (data.calibration, data.search, data.test)
    rows = [x.numpy().tobytes() for split in splits for x in split.columns["x"]]
    assert len(set(rows)) == len(rows) == 18
    assert torch.bincount(torch.cat([split.labels for split in splits])).tolist() == [6, 6, 6]


def test_features_are_made_of_the_samples_scaled_by_the_largest(tmp_path):
    model = added("keywords", "x:float32:1x49x10", settings="keywords")
    tones(tmp_path / "words")
    data = loaded(tmp_path / "words", model, 8, 8)
    expected = []
    for k in range(3):
        for number in range(6):
            tone = 0.5 * np.sin(
                2 * np.pi * (200 * (k + 1) + 7 * number) * np.arange(16_000) / 16_000
            )
            whole = torch.from_numpy(np.round(tone * 2**15) / 2**15).float()
            expected.append(features(whole / whole.max(), KEYWORDS))
    for row in data.test.columns["x"]:
        assert min(float((row[0] - e).abs().max()) for e in expected) < 0.01


def test_parts_of_a_folder_are_its_splits(tmp_path):
    model = added("waveform", "x:float32:1x400")
    tones(tmp_path / "d" / "train", ("a", "b"), 5, 0.025)
    tones(tmp_path / "d" / "test", ("a", "b"), 3, 0.025)
    data = loaded(tmp_path / "d", model, training=True)
    assert (len(data.calibration), len(data.search), len(data.test)) == (4, 4, 6)
    assert len(data.training) == 2
    assert any("--sound" in note and "16,000 Hz" in note for note in data.notes)


def test_a_folder_of_files_alone_has_no_labels(tmp_path):
    model = added("waveform", "x:float32:1x400", settings="rate=16000")
    for number in range(6):
        sound(tmp_path / "d" / f"{number}.WAV", 0.025, pitch=100 * number + 50)
    (tmp_path / "d" / "notes.txt").write_text("x")
    (tmp_path / "d" / "papers").mkdir()
    data = loaded(tmp_path / "d", model, 2, 2)
    assert data.test.labels is None
    assert data.notes == ()
    tones(tmp_path / "d", ("a",), 2, 0.025)
    mixed = loaded(tmp_path / "d", model, 2, 2)
    assert mixed.test.labels is None
    assert any("beside its folders" in note for note in mixed.notes)


def test_parts_of_files_alone_have_no_labels(tmp_path):
    model = added("waveform", "x:float32:1x400", settings="rate=16000")
    for part, count in (("Train", 6), ("test", 3)):
        for number in range(count):
            sound(tmp_path / part / f"{number}.wav", 0.025, pitch=99 * number + 50)
    data = loaded(tmp_path, model, 3, 3)
    assert (len(data.search), len(data.test)) == (3, 3)
    assert data.test.labels is None


def test_lists_of_files_are_parts_and_noise_is_no_class(tmp_path):
    model = added("waveform", "x:float32:1x400", settings="rate=16000")
    tones(tmp_path, ("go", "stop"), 6, 0.025)
    sound(tmp_path / "_background_noise_" / "hum.wav", 1)
    plain = loaded(tmp_path, model, 3, 3)
    assert plain.class_names == ("go", "stop")
    assert sum(map(len, (plain.calibration, plain.search, plain.test))) == 12
    assert any("_background_noise_ begins with _" in note for note in plain.notes)
    (tmp_path / "testing_list.txt").write_text("go/0.wav\nstop/1.wav\nstop/2.wav\n")
    (tmp_path / "validation_list.txt").write_text("go/3.wav\nstop/4.wav\n")
    data = loaded(tmp_path, model, 3, 2, training=True)
    assert [len(s) for s in (data.calibration, data.search, data.test, data.training)] == [
        3,
        2,
        3,
        4,
    ]
    assert sorted(data.test.labels.tolist()) == [0, 1, 1]
    assert sorted(data.search.labels.tolist()) == [0, 1]
    (tmp_path / "testing_list.txt").write_text("of/another.wav\n")
    assert len(loaded(tmp_path, model, 3, 3).test) == 6


def test_sounds_are_cut_and_filled_and_that_is_said(tmp_path):
    model = added("waveform", "x:float32:1x400", settings="rate=16000")
    ramp = np.linspace(-0.5, 0.5, 1000)
    for number, length in enumerate((399, 400, 401, 1000, 1)):
        (tmp_path / f"{number}.wav").write_bytes(wav_bytes(ramp[:length]))
    data = loaded(tmp_path, model, 2, 2)
    every = torch.cat([s.columns["x"] for s in (data.calibration, data.search, data.test)])
    whole = torch.from_numpy(np.round(ramp[:400] * 2**15) / 2**15).float()
    for row in every[:, 0]:
        there = int((row != 0).nonzero().max()) + 1
        assert there in (1, 399, 400)
        assert torch.equal(row[:there], whole[:there])
    words = " ".join(data.notes)
    assert "2 sounds are shorter than 0.025 s and were filled up with zeros" in words
    assert "2 sounds are longer than 0.025 s; their beginning was read" in words


def test_sounds_are_scaled_to_mean_0_and_deviation_1_without_what_is_filled_up(tmp_path):
    model = added("waveform", "x:float32:1x400", settings="scale=standard")
    ramp = np.linspace(-0.2, 0.5, 300)
    for number in range(5):
        (tmp_path / f"{number}.wav").write_bytes(wav_bytes(ramp if number else np.zeros(300)))
    data = loaded(tmp_path, model, 2, 2)
    silent = 0
    for split in (data.calibration, data.search, data.test):
        for row in split.columns["x"][:, 0]:
            own = row[:300].double()
            assert not bool(row[300:].any())
            assert abs(float(own.mean())) < 1e-5
            silent += not bool(own.any())
            assert not bool(own.any()) or float(own.std(correction=0)) == pytest.approx(1, abs=1e-4)
    assert silent == 1
    assert any("1 sounds are silent" in note for note in data.notes)


def test_another_rate_is_refused_with_both_and_resampled_where_that_is_allowed(tmp_path):
    model = added("waveform", "x:float32:1x400", settings="rate=16000")
    tones(tmp_path, ("a", "b"), 4, 0.2, rate=44_100)
    with pytest.raises(InvalidData) as caught:
        loaded(tmp_path, model, 2, 2)
    assert "has 44,100 Hz, and the network takes sounds of 16,000 Hz" in str(caught.value)
    assert "resample=true" in str(caught.value)
    model = added("waveform", "x:float32:1x400", settings="rate=16000:resample=true")
    data = loaded(tmp_path, model, 2, 2)
    assert any("8 sounds of another rate were resampled to 16,000 Hz" in n for n in data.notes)
    at = np.arange(400) / 16_000
    tones_there = [
        0.5 * np.sin(2 * np.pi * (200 * k + 7 * n) * at) for k in (1, 2) for n in range(4)
    ]
    for row in data.test.columns["x"][:, 0].numpy():
        # the first samples feel that the file begins there
        assert min(np.abs(row[30:] - tone[30:]).max() for tone in tones_there) < 0.01


@pytest.mark.parametrize("rate", [8_000, 11_025, 48_000, 16_001])
def test_resampling_keeps_length_and_pitch(rate, tmp_path):
    model = added("waveform", "x:float32:1x400", settings="resample=true")
    tones(tmp_path, ("a", "b"), 3, 1.0, rate=rate)
    data = loaded(tmp_path, model, 1, 1)
    assert "sounds are longer" in " ".join(data.notes)
    spectrum = np.abs(np.fft.rfft(data.test.columns["x"][:, 0].numpy(), 16_000))
    assert all(190 <= peak <= 450 for peak in spectrum.argmax(1))


def test_several_channels(tmp_path):
    mono = added("waveform", "x:float32:1x400", settings="rate=16000")
    tones(tmp_path / "stereo", ("a", "b"), 3, 0.025, channels=2)
    tones(tmp_path / "mono", ("a", "b"), 3, 0.025)
    one, two = (loaded(tmp_path / kind, mono, 2, 2) for kind in ("mono", "stereo"))
    assert torch.equal(one.test.columns["x"], two.test.columns["x"])
    assert any("6 sounds have several channels; the first was read" in n for n in two.notes)
    wide = added("waveform", "x:float32:1x400", settings="rate=16000")
    assert wide
    from qcore.data.sounds.folder import sound_data

    both = parse_input("x:float32:2x400")
    how = {"most": 100, "training": False}
    stereo = sound_data("s", tmp_path / "stereo", (both,), None, (2, 2), 0, **how)
    assert torch.equal(stereo.test.columns["x"][:, :1], two.test.columns["x"])
    assert not torch.equal(stereo.test.columns["x"][:, 1], stereo.test.columns["x"][:, 0])
    with pytest.raises(InvalidData, match=r"has 1 channel\(s\); the network takes 2"):
        sound_data("s", tmp_path / "mono", (both,), None, (2, 2), 0, **how)


def test_states_masks_and_the_rate_are_made_beside_a_sound(tmp_path):
    inputs = ("sound:float32:64", "state:float32:8=zeros", "sr:int64:1", "mask:bool:64")
    model = added("listener", *inputs, settings="rate=16000")
    sound(tmp_path / "a" / "short.wav", 20 / 16_000)
    sound(tmp_path / "a" / "exact.wav", 64 / 16_000)
    sound(tmp_path / "a" / "long.wav", 640 / 16_000)
    for number in range(3):
        sound(tmp_path / "b" / f"{number}.wav", 64 / 16_000, pitch=300 + number)
    data = loaded(tmp_path, model, 2, 2)
    splits = (data.calibration, data.search, data.test)
    lengths = torch.cat([split.columns["mask"].sum(1) for split in splits])
    assert sorted(lengths.tolist()) == [20, 64, 64, 64, 64, 64]
    for split in splits:
        assert bool((split.columns["sr"] == 16_000).all())
        assert not bool(split.columns["state"].any())
        assert not bool(split.columns["sound"][~split.columns["mask"]].any())
    spec = RunSpec(model, f"sounds:{tmp_path}", "exact", calibration_images=2, search_images=2)
    assert prepare(spec).float_point.search.n == 2


def test_odd_sounds_are_told_from_usual_ones_by_the_names_of_their_classes(tmp_path):
    model = added("sound_autoencoder", "x:float32:64", judge="signal:measure=auc")
    tones(tmp_path, ("anomaly", "normal"), 5, 64 / 16_000)
    data = loaded(tmp_path, model, 2, 2)
    assert any("normal is usual (0), anomaly odd (1)" in note for note in data.notes)
    together = torch.cat([s.labels for s in (data.calibration, data.search, data.test)])
    assert together.tolist().count(1) == 5
    (tmp_path / "normal").rename(tmp_path / "ordinary")
    with pytest.raises(InvalidData, match="one of them is called normal"):
        loaded(tmp_path, model, 2, 2)


def test_damaged_files_are_left_out_up_to_a_share(tmp_path):
    model = added("waveform", "x:float32:1x400", settings="rate=16000")
    tones(tmp_path, ("a", "b"), 5, 0.025)
    whole = (tmp_path / "a" / "0.wav").read_bytes()
    (tmp_path / "a" / "0.wav").write_bytes(whole[:-100])
    data = loaded(tmp_path, model, 2, 2)
    assert sum(map(len, (data.calibration, data.search, data.test))) == 9
    assert any("left out" in note and "cut short" in note for note in data.notes)
    (tmp_path / "a" / "1.wav").write_bytes(b"")
    with pytest.raises(InvalidData, match="2 files cannot be used"):
        loaded(tmp_path, model, 2, 2)


def test_folders_and_networks_that_do_not_fit(tmp_path):
    model = added("waveform", "x:float32:1x400", settings="rate=16000")
    with pytest.raises(DataUnavailable, match="no folder"):
        loaded(tmp_path / "nowhere", model)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidData, match=r"holds no sound files \(.*\.wav, \.wave\)"):
        loaded(tmp_path / "empty", model)
    (tmp_path / "empty" / "a.mp3").write_bytes(b"x")
    with pytest.raises(InvalidData, match=r"passed over: 1 \.mp3"):
        loaded(tmp_path / "empty", model)
    tones(tmp_path / "words", each=3, seconds=0.025)
    with pytest.raises(InvalidParams, match="4 search sounds are asked for"):
        loaded(tmp_path / "words", model, 8, 4)
    data = loaded(tmp_path / "words", model, 2, 2)
    found = find_layers(load_model(model), data.test.columns["x"], model, data.inputs)
    with pytest.raises(InvalidData, match="has 2 outputs"):
        check_data_fits(data, found.spec)
    with pytest.raises(InvalidData, match="networks that take no images"):
        loaded(tmp_path / "words", "resnet8")
    with pytest.raises(InvalidData, match="one input of floats"):
        loaded(tmp_path / "words", added("encoder", "ids:int64:8<50=0", "mask:bool:8=0"))
