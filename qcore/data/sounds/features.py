"""Log-mel bands and MFCCs of a sound, as TensorFlow's `tf.signal` makes them, in torch.

With `qcore.models.sound.KEYWORDS` they are the inputs of MLPerf Tiny's keyword spotting.
"""

import math

import torch
from torch import Tensor

from qcore.models.sound import Sound

_LEAST = 1e-6
"""Added before the logarithm."""


def features(samples: Tensor, sound: Sound) -> Tensor:
    """Features of a sound, (windows, numbers of a window), float32.

    Each window is weighted by a periodic Hann window and filled up with zeros to the next power of
    two; the magnitudes of its spectrum are summed under triangles that are even on the mel scale.

    Args:
        samples: In -1..1, (samples,), at least one window.
        sound: Its rate, and which features.
    """
    width, step = sound.window_samples, sound.step_samples
    length = 1 << (width - 1).bit_length()
    windows = samples.double().unfold(0, width, step) * torch.hann_window(width, dtype=torch.double)
    spectrum = torch.fft.rfft(windows, n=length).abs()
    logs = (spectrum @ mel_matrix(sound, length // 2 + 1) + _LEAST).log()
    if sound.features == "mfcc":
        logs = logs @ _cosines(sound.bands, sound.coefficients)
    return logs.float()


def mel_matrix(sound: Sound, bins: int) -> Tensor:
    """What each bin of a spectrum gives to each mel band, (bins, bands), float64; the first none.

    Args:
        sound: Its rate, bands and their edges.
        bins: Of the spectrum, from 0 to half of the rate.
    """
    at = _mel(torch.linspace(0, sound.rate / 2, bins, dtype=torch.double))
    low, high = (_mel(torch.tensor(edge, dtype=torch.double)) for edge in (sound.low, sound.high))
    edges = torch.linspace(float(low), float(high), sound.bands + 2, dtype=torch.double)
    below, centre, above = edges[:-2], edges[1:-1], edges[2:]
    rising = (at[:, None] - below) / (centre - below)
    falling = (above - at[:, None]) / (above - centre)
    weights = torch.minimum(rising, falling).clamp_min(0)
    weights[0] = 0
    return weights


def _mel(hertz: Tensor) -> Tensor:
    return 1127.0 * torch.log1p(hertz / 700.0)


def _cosines(bands: int, kept: int) -> Tensor:
    """Cosine transform (type 2), scaled as in HTK, (bands, kept)."""
    places = torch.arange(bands, dtype=torch.double)[:, None] + 0.5
    orders = torch.arange(kept, dtype=torch.double)
    return (places * orders * (math.pi / bands)).cos() * math.sqrt(2.0 / bands)
