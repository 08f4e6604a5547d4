"""WAV files of every usual coding, and what cannot be read of them."""

import struct
import warnings

import numpy as np
import pytest
from scipy.io import wavfile

from qcore.data.sounds.wav import read_wav
from qcore.errors import InvalidData
from tests.sounds import wav_bytes

VALUES = np.random.default_rng(0).uniform(-1, 1, (3, 501))
CODINGS = [(8, 1), (16, 1), (24, 1), (32, 1), (32, 3), (64, 3)]


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize(("bits", "code"), CODINGS)
def test_every_coding_gives_the_values_that_were_written(
    bits, code, channels, extensible, tmp_path
):
    path = tmp_path / "a.wav"
    extra = b"LIST" + struct.pack("<I", 5) + b"INFOx\x00"  # of odd length, so padded
    path.write_bytes(wav_bytes(VALUES[:channels], 22_050, bits, code, extensible, extra))
    found = read_wav(path)
    assert (found.rate, found.total, found.cut) == (22_050, 501, False)
    assert found.samples.dtype == np.float32
    assert found.samples.shape == (channels, 501)
    step = 2.0 ** (1 - bits) if code == 1 else 0
    assert np.abs(found.samples - VALUES[:channels]).max() <= step + 1e-6


@pytest.mark.parametrize(("bits", "code", "one"), [(8, 1, 128), (16, 1, 2**15), (32, 1, 2**31)])
def test_values_are_those_of_another_reader(bits, code, one, tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes(VALUES[:2], 8_000, bits, code))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rate, theirs = wavfile.read(path)
    found = read_wav(path)
    assert rate == found.rate
    expected = (theirs.T.astype(float) - (128 if bits == 8 else 0)) / one
    assert np.abs(found.samples - expected).max() < 1e-7


def test_only_the_beginning_is_read_where_that_is_enough(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes(np.tile(VALUES[:1], 100), 1_000))
    found = read_wav(path, 0.2)
    assert found.total == 50_100
    assert 200 <= found.samples.shape[1] <= 202
    assert np.array_equal(found.samples, read_wav(path).samples[:, : found.samples.shape[1]])


def test_a_length_that_was_not_known_when_written_is_the_rest_of_the_file(tmp_path):
    whole = wav_bytes(VALUES[0])
    for length in (0, 0xFFFFFFFF):
        at = whole.index(b"data") + 4
        (tmp_path / "a.wav").write_bytes(whole[:at] + struct.pack("<I", length) + whole[at + 4 :])
        # a byte that fills up to an even length is no sound
        assert read_wav(tmp_path / "a.wav").total == 501


def test_floats_a_little_beyond_one_are_cut(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes([0.5, 1.2, -1.2], bits=32, code=3))
    found = read_wav(path)
    assert found.cut
    assert found.samples.tolist() == [[0.5, 1.0, -1.0]]


GOOD = wav_bytes(VALUES[0], 16_000)
WRONG = {
    "nothing in it": (b"", "is no WAV file: it is empty"),
    "an MP3": (b"ID3\x04" + bytes(40), "is no WAV file: it begins with b'ID3"),
    "a FLAC": (b"fLaC" + bytes(40), "Save it as WAV"),
    "cut short": (GOOD[:-400], "is cut short: 0.0188 s of 0.0313 s are there"),
    "cut in its header": (GOOD[:30], "header"),
    "cut before the sound": (GOOD[: GOOD.index(b"data")], "ends before its sound"),
    "no format": (b"RIFF\x00\x00\x00\x00WAVE", "ends before its format"),
    "no samples": (wav_bytes(np.zeros(0)), "holds no sound"),
    "mu-law": (GOOD.replace(struct.pack("<HH", 1, 1), struct.pack("<HH", 7, 1), 1), "mu-law"),
    "12 bits": (wav_bytes(VALUES[0], bits=16).replace(b"\x02\x00\x10\x00", b"\x02\x00\x0c\x00", 1),
                "coded as 12 bits"),
    "no channels": (GOOD.replace(struct.pack("<HH", 1, 1), struct.pack("<HH", 1, 0), 1),
                    "cannot be"),
    "NaN": (wav_bytes([0.1, np.nan], bits=32, code=3), "NaN or infinity"),
    "floats of 16 bits' range": (wav_bytes([0.1, 3e4], bits=32, code=3), "floats up to 30000"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_file_that_cannot_be_read_is_named_with_the_reason(case, tmp_path):
    data, words = WRONG[case]
    path = tmp_path / "[b](x).wav"
    path.write_bytes(data)
    with pytest.raises(InvalidData) as caught:
        read_wav(path)
    assert words in str(caught.value)
    assert path.name in str(caught.value)
