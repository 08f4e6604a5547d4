"""FLAC and Ogg files are read where soundfile is installed, and refused in words elsewhere."""

import sys

import numpy as np
import pytest

from qcore.data.sounds.packed import read_sound
from qcore.data.sounds.wav import read_wav
from qcore.errors import DataUnavailable, InvalidData
from tests.sounds import wav_bytes

VALUES = 0.9 * np.sin(np.arange(2 * 4000).reshape(2, -1) / 9)


@pytest.fixture
def library():
    return pytest.importorskip("soundfile")


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("subtype", "bits"), [("PCM_16", 16), ("PCM_24", 24), ("PCM_S8", 8)])
def test_a_flac_file_gives_what_the_same_wav_gives(library, tmp_path, channels, subtype, bits):
    (tmp_path / "a.wav").write_bytes(wav_bytes(VALUES[:channels], 22_050, bits))
    plain = read_wav(tmp_path / "a.wav")
    path = tmp_path / "[b](x).FLAC"
    library.write(path, plain.samples.T, 22_050, subtype=subtype, format="FLAC")
    found = read_sound(path)
    assert np.array_equal(found.samples, plain.samples)
    assert (found.rate, found.total, found.cut) == (22_050, plain.total, False)
    begun = read_sound(path, 0.05)
    assert begun.total == plain.total
    assert np.array_equal(begun.samples, plain.samples[:, : begun.samples.shape[1]])
    assert 1102 <= begun.samples.shape[1] <= 1104


@pytest.mark.parametrize(
    ("ending", "subtype", "rate"), [(".ogg", "VORBIS", 16_000), (".opus", "OPUS", 48_000)]
)
def test_an_ogg_file_sounds_like_what_was_written(library, tmp_path, ending, subtype, rate):
    path = tmp_path / f"a{ending}"
    library.write(path, VALUES[0], rate, subtype=subtype, format="OGG")
    found = read_sound(path)
    assert (found.rate, found.total, found.samples.shape) == (rate, 4000, (1, 4000))
    assert np.corrcoef(found.samples[0], VALUES[0])[0, 1] > 0.95
    assert np.abs(found.samples).max() <= 1


def test_what_is_damaged_is_named_with_the_reason(library, tmp_path):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 40_000)
    path = tmp_path / "a.flac"
    library.write(path, noise, 16_000)
    whole = path.read_bytes()
    for content in (b"", b"fLaC" + bytes(40), b"RIFF", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(InvalidData, match=r"a\.flac (cannot be read as FLAC|is cut short)"):
            read_sound(path)
    path.unlink()
    with pytest.raises(InvalidData, match="No such file"):
        read_sound(path)


def test_without_the_package_the_command_that_installs_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    (tmp_path / "a.flac").write_bytes(b"fLaC")
    with pytest.raises(DataUnavailable, match=r"pip install -r requirements-models\.txt"):
        read_sound(tmp_path / "a.flac")
    (tmp_path / "a.wav").write_bytes(wav_bytes(VALUES[0]))
    assert read_sound(tmp_path / "a.wav").total == 4000
