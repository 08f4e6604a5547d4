"""How a sound becomes a network's input: its rate, and the features made of it. Torch-free.

A network that takes samples of the sound itself needs the rate alone. Others take spectra: the
logarithm of the energy in mel bands, or its cosine transform (MFCC), window by window.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from qcore.errors import InvalidParams
from qcore.inputs import Input

FEATURES = ("waveform", "logmel", "mfcc")
SCALES = ("full", "loudest", "standard")
RATES = (1, 768_000)
MOST_SECONDS = 600.0
_PRESET = "keywords"


@dataclass(frozen=True, slots=True)
class Sound:
    """How the file of a sound becomes the input of a network.

    Attributes:
        rate: Samples a second that the network was trained with, Hz.
        features: "waveform" gives the samples; "logmel" the logarithm of the mel bands of each
            window; "mfcc" its first cosine coefficients.
        seconds: Length that a sound is cut or filled with zeros to before features are made, s; 0
            is as long as the network's windows reach. A waveform is as long as the input.
        bands: Mel bands.
        coefficients: Cosine coefficients kept of "mfcc".
        window: Length of a window, ms.
        step: From one window to the next, ms.
        low: Lower edge of the first band, Hz.
        high: Upper edge of the last band, Hz.
        scale: "full": the largest number a file can hold becomes 1. "loudest": the largest sample
            of the sound becomes 1. "standard": its mean becomes 0 and its deviation 1, as wav2vec 2
            and networks like it want.
        resample: True where sounds of another rate are resampled; else they are refused.
    """

    rate: int = 16_000
    features: str = "waveform"
    seconds: float = 0.0
    bands: int = 40
    coefficients: int = 10
    window: float = 30.0
    step: float = 20.0
    low: float = 20.0
    high: float = 4_000.0
    scale: str = "full"
    resample: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data; `Sound.from_json` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Sound":
        """Read what `to_json` wrote.

        Raises:
            InvalidParams: an unknown setting, or one that cannot be; says which.
        """
        known: dict[str, Any] = {each.name: each.default for each in fields(cls)}
        given: dict[str, Any] = {}
        for name, value in data.items():
            if name not in known:
                raise InvalidParams(f"Sounds have no setting {name!r}; known: {', '.join(known)}.")
            kind = type(known[name])
            whole = kind is int and isinstance(value, float) and value.is_integer()
            if not (isinstance(value, kind) or whole or (kind is float and type(value) is int)):
                raise InvalidParams(f"{name} of a sound cannot be {str(value)[:40]!r}.")
            given[name] = kind(value)
        found = cls(**given)
        found.check()
        return found

    def check(self) -> None:
        """Raise where a setting cannot be.

        Raises:
            InvalidParams: says which, and what it may be.
        """
        for what, value, known in (
            ("features", self.features, FEATURES),
            ("scale", self.scale, SCALES),
        ):
            if value not in known:
                raise InvalidParams(
                    f"{what} of a sound is {value[:40]!r}; known: {', '.join(known)}."
                )
        lowest, highest = RATES
        if not lowest <= self.rate <= highest:
            raise InvalidParams(f"The rate of a sound is {lowest} to {highest:,} Hz: {self.rate}.")
        if not 0 <= self.seconds <= MOST_SECONDS:
            raise InvalidParams(
                f"A sound is cut to 0 to {MOST_SECONDS:g} s; got {self.seconds:g} s."
            )
        if self.features == "waveform":
            return
        if not 1 <= self.coefficients <= self.bands <= 1024 and self.features == "mfcc":
            raise InvalidParams(
                f"{self.coefficients} coefficients of {self.bands} mel bands cannot be: at least "
                "1, at most as many as bands, of which there are at most 1,024."
            )
        if not 1 <= self.bands <= 1024:
            raise InvalidParams(f"There are 1 to 1,024 mel bands; got {self.bands}.")
        if not (0 <= self.low < self.high <= self.rate / 2):
            raise InvalidParams(
                f"Mel bands from {self.low:g} to {self.high:g} Hz cannot be: they end at half of "
                f"the rate, {self.rate / 2:g} Hz, at most."
            )
        if self.window_samples < 2 or self.step_samples < 1 or self.window > 10_000:
            raise InvalidParams(
                f"Windows of {self.window:g} ms every {self.step:g} ms cannot be at {self.rate:,} "
                "Hz: a window has at least 2 samples, a step 1."
            )

    @property
    def window_samples(self) -> int:
        """Samples in a window."""
        return int(self.rate * self.window / 1000) if math.isfinite(self.window) else 0

    @property
    def step_samples(self) -> int:
        """Samples from one window to the next."""
        return int(self.rate * self.step / 1000) if math.isfinite(self.step) else 0

    @property
    def values(self) -> int:
        """Numbers of one window."""
        return self.coefficients if self.features == "mfcc" else self.bands

    @property
    def words(self) -> str:
        """It in a few words, with units."""
        if self.features == "waveform":
            return f"sounds of {self.rate:,} Hz"
        kept = f", {self.coefficients} coefficients" if self.features == "mfcc" else ""
        return (
            f"{self.features} of sounds of {self.rate:,} Hz: {self.bands} mel bands from "
            f"{self.low:g} to {self.high:g} Hz{kept}, windows of {self.window:g} ms every "
            f"{self.step:g} ms"
        )


KEYWORDS = Sound(features="mfcc", seconds=1.0, scale="loudest")
"""MLPerf Tiny's keyword spotting: 1 s at 16 kHz, 49 windows of 30 ms every 20 ms, 40 mel bands from
20 to 4000 Hz, 10 coefficients, each sound scaled by its largest sample."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How a sound's numbers lie in an input.

    Attributes:
        samples: Samples of the sound that are read, one channel.
        channels: Channels that are read.
        frames: Windows; 0 for a waveform.
        turned: True where the numbers of a window come before the windows.
    """

    samples: int
    channels: int = 1
    frames: int = 0
    turned: bool = False


def layout(sound: Sound, wanted: Input) -> Layout:
    """How sounds are laid out for an input; dimensions of size 1 do not count.

    Raises:
        InvalidParams: the input is no sound of these settings; says both.
    """
    sizes = [size for size in wanted.shape if size != 1]
    if sound.features == "waveform":
        if len(sizes) > 2 or (len(sizes) == 2 and wanted.shape[-2:] != tuple(sizes)):
            raise InvalidParams(_no_waveform(wanted))
        channels, length = (1, *sizes)[-2:] if sizes else (1, 1)
        if channels > 32:
            raise InvalidParams(_no_waveform(wanted))
        return Layout(length, channels)
    fitting = _windows(sound, wanted.shape)
    if fitting is None:
        raise InvalidParams(
            f"Input {wanted.name!r} takes {wanted.shape}, and {sound.features} gives "
            f"{sound.values} numbers a window. Set "
            f"{'coefficients' if sound.features == 'mfcc' else 'bands'} to what it takes."
        )
    frames, turned = fitting
    reach = (frames - 1) * sound.step_samples + sound.window_samples
    samples = round(sound.seconds * sound.rate) or reach
    found = 1 + (samples - sound.window_samples) // sound.step_samples
    if found != frames:
        raise InvalidParams(
            f"A sound of {samples / sound.rate:g} s has {max(0, found)} windows of "
            f"{sound.window:g} ms every {sound.step:g} ms; input {wanted.name!r} of shape "
            f"{wanted.shape} takes {frames}. Change seconds, window or step."
        )
    return Layout(samples, 1, frames, turned)


def _windows(sound: Sound, shape: Sequence[int]) -> tuple[int, bool] | None:
    """(windows, whether they come last) of an input; None where it has no such numbers."""
    sizes = [size for size in shape if size != 1]
    for order, turned in ((sizes, False), (sizes[::-1], True)):
        if len(order) == 2 and order[1] == sound.values:
            return order[0], turned
    if len(sizes) == 1 and sizes[0] == sound.values:
        return 1, False
    if len(sizes) == 1 and sound.values == 1:
        return sizes[0], False
    return None


def _no_waveform(wanted: Input) -> str:
    return (
        f"Input {wanted.name!r} takes {wanted.shape}, which is no sound: samples are (length,) or "
        "(channels, length). Say which features it takes, as --sound features=mfcc or "
        f"features=logmel; --sound {_PRESET} is the 49x10 of MLPerf Tiny's keyword spotting."
    )


def proposed(wanted: Input) -> Sound:
    """What an input is fed with where nothing was said: samples at 16 kHz, or KEYWORDS."""
    sizes = tuple(size for size in wanted.shape if size != 1)
    return KEYWORDS if sizes == (49, 10) else Sound()


def parse_sound(words: str) -> Sound:
    """Read "rate=16000:features=mfcc", as the command line takes it.

    Example:
        >>> parse_sound("rate=8000:resample=true").rate
        8000
        >>> parse_sound("keywords:resample=true").coefficients
        10

    Raises:
        InvalidParams: an unknown setting, or a value that cannot be.
    """
    first, *rest = words.split(":")
    document: dict[str, Any] = {}
    if first.strip().lower() == _PRESET:
        document = KEYWORDS.to_json()
    else:
        rest = [first, *rest]
    for pair in rest:
        key, equals, value = pair.partition("=")
        if not equals:
            raise InvalidParams(
                f"Write sounds as rate=16000:features=mfcc, or {_PRESET}; got {words[:60]!r}."
            )
        document[key.strip()] = _value(value.strip())
    return Sound.from_json(document)


def _value(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
