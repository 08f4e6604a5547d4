"""Log-mel bands and MFCCs against a reference that is written out, loop by loop."""

import math

import numpy as np
import pytest
import torch
from scipy.fft import dct

from qcore.data.sounds.features import features, mel_matrix
from qcore.errors import InvalidParams
from qcore.inputs import Input
from qcore.models.sound import KEYWORDS, Sound, layout, parse_sound, proposed

torch.set_num_threads(1)


def reference(samples, rate, window, step, bands, low, high, kept):
    """Features window by window and bin by bin; `kept` 0 leaves them log-mel."""
    length = 2 ** math.ceil(math.log2(window))
    hann = [0.5 - 0.5 * math.cos(2 * math.pi * i / window) for i in range(window)]
    mel = lambda hertz: 1127 * math.log(1 + hertz / 700)  # noqa: E731
    edges = [mel(low) + k * (mel(high) - mel(low)) / (bands + 1) for k in range(bands + 2)]
    rows = []
    for start in range(0, len(samples) - window + 1, step):
        part = np.zeros(length)
        part[:window] = samples[start : start + window] * hann
        size = np.abs(np.fft.fft(part))[: length // 2 + 1]
        row = []
        for band in range(bands):
            left, middle, right = edges[band : band + 3]
            total = 0.0
            for bin_ in range(1, length // 2 + 1):
                at = mel(bin_ * rate / length)
                if left < at < right:
                    up = (at - left) / (middle - left)
                    total += size[bin_] * min(up, (right - at) / (right - middle))
            row.append(math.log(total + 1e-6))
        rows.append(dct(row, type=2) / math.sqrt(2 * bands) if kept else row)
    found = np.array(rows)
    return found[:, :kept] if kept else found


NOISE = np.random.default_rng(0).normal(size=4000) * 0.1


@pytest.mark.parametrize(
    "sound",
    [
        KEYWORDS,
        Sound(features="logmel"),
        Sound(8_000, "mfcc", bands=20, coefficients=20, window=25, step=10, low=0, high=4000),
        Sound(22_050, "logmel", bands=64, window=46.44, step=11.61, low=50, high=11_025),
    ],
)
def test_features_are_those_of_the_reference(sound):
    kept = sound.coefficients if sound.features == "mfcc" else 0
    expected = reference(
        NOISE, sound.rate, sound.window_samples, sound.step_samples,
        sound.bands, sound.low, sound.high, kept,
    )  # fmt: skip
    found = features(torch.from_numpy(NOISE).float(), sound)
    assert found.dtype == torch.float32
    assert np.abs(found.numpy() - expected).max() < 2e-4


def test_keyword_spotting_takes_what_mlperf_tiny_says():
    assert (KEYWORDS.rate, KEYWORDS.window_samples, KEYWORDS.step_samples) == (16_000, 480, 320)
    assert (KEYWORDS.bands, KEYWORDS.low, KEYWORDS.high, KEYWORDS.coefficients) == (
        40,
        20,
        4000,
        10,
    )
    plan = layout(KEYWORDS, Input("x", (1, 49, 10)))
    assert (plan.samples, plan.frames, plan.turned) == (16_000, 49, False)
    assert proposed(Input("x", (1, 49, 10))) == KEYWORDS
    assert proposed(Input("x", (16_000,))) == Sound()


def test_a_tone_is_loudest_in_the_band_around_it():
    at = torch.arange(16_000) / 16_000
    for hertz in (300.0, 1000.0, 3000.0):
        rows = features((2 * math.pi * hertz * at).sin(), Sound(features="logmel"))
        weights = mel_matrix(Sound(features="logmel"), 257)
        nearest = round(hertz / 16_000 * 512)
        assert int(rows.mean(0).argmax()) == int(weights[nearest].argmax())


@pytest.mark.parametrize(
    ("sound", "shape", "expected"),
    [
        (Sound(), (16_000,), (16_000, 1, 0, False)),
        (Sound(), (1, 512), (512, 1, 0, False)),
        (Sound(), (2, 512), (512, 2, 0, False)),
        (KEYWORDS, (49, 10), (16_000, 1, 49, False)),
        (KEYWORDS, (49, 10, 1), (16_000, 1, 49, False)),
        (KEYWORDS, (10, 49), (16_000, 1, 49, True)),
        (KEYWORDS, (1, 10, 49), (16_000, 1, 49, True)),
        (Sound(features="logmel", bands=64), (1, 64, 100), (99 * 320 + 480, 1, 100, True)),
        (Sound(features="logmel", bands=40), (40,), (480, 1, 1, False)),
    ],
)
def test_where_the_numbers_of_a_sound_lie(sound, shape, expected):
    plan = layout(sound, Input("x", shape))
    assert (plan.samples, plan.channels, plan.frames, plan.turned) == expected


@pytest.mark.parametrize(
    ("sound", "shape", "words"),
    [
        (Sound(), (1, 49, 12), "--sound features=mfcc"),
        (Sound(), (64, 100), "--sound features=mfcc"),
        (KEYWORDS, (1, 49, 13), "gives 10 numbers a window. Set coefficients"),
        (KEYWORDS, (1, 98, 10), "has 49 windows of 30 ms every 20 ms"),
        (Sound(features="logmel"), (1, 30, 30), "Set bands"),
    ],
)
def test_inputs_that_are_no_such_sound(sound, shape, words):
    with pytest.raises(InvalidParams) as caught:
        layout(sound, Input("x", shape))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("rate=0", "1 to 768,000 Hz"),
        ("rate=16 kHz", "rate of a sound cannot be '16 kHz'"),
        ("features=spectrogram", "known: waveform, logmel, mfcc"),
        ("features=mfcc:coefficients=41", "41 coefficients of 40 mel bands"),
        ("features=logmel:high=9000", "half of the rate, 8000 Hz"),
        ("features=logmel:window=0", "a window has at least 2 samples"),
        ("features=logmel:step=nan", "Windows of 30 ms every nan ms"),
        ("seconds=-1", "0 to 600 s"),
        ("colour=red", "no setting 'colour'"),
        ("mfcc", "Write sounds as rate=16000:features=mfcc"),
    ],
)
def test_settings_that_cannot_be(words, said):
    with pytest.raises(InvalidParams) as caught:
        parse_sound(words)
    assert said in str(caught.value)


def test_settings_are_read_back():
    sound = parse_sound("keywords:resample=true:rate=16000")
    assert sound.resample
    assert Sound.from_json(sound.to_json()) == sound
    assert parse_sound("rate=8000").features == "waveform"
