"""FLAC and Ogg files, as float32 in -1..1: read by the package soundfile, where it is installed."""

from pathlib import Path

import numpy as np

from qcore.data.listing import shown
from qcore.data.sounds.wav import MOST_BYTES, Wav, read_wav
from qcore.errors import InvalidData
from qcore.models.loading.packages import need

PLAIN = (".wav", ".wave")
"""Endings of files that need no package."""

WHAT = "to read FLAC and Ogg files"
_MOST_SAMPLES = 2**40
"""Of a length beyond this the file itself knows nothing."""


def read_sound(path: Path, seconds: float | None = None) -> Wav:
    """Read a WAV, FLAC or Ogg file, told by its ending.

    Args:
        path: The file.
        seconds: How much of its beginning; None is all.

    Raises:
        InvalidData: it is damaged, cut short, or no such file; names it.
        DataUnavailable: it is no WAV file, and soundfile is not installed; says what installs it.
    """
    return (read_wav if path.suffix.lower() in PLAIN else read_packed)(path, seconds)


def read_packed(path: Path, seconds: float | None = None) -> Wav:
    """Read a FLAC or Ogg file.

    Args:
        path: The file.
        seconds: How much of its beginning; None is all.

    Raises:
        InvalidData: it is damaged, cut short, or no such file; names it.
        DataUnavailable: soundfile is not installed; says what installs it.
    """
    library = need("soundfile", WHAT)
    try:
        with path.open("rb") as stream, library.SoundFile(stream) as file:
            rate, total = int(file.samplerate), int(file.frames)
            known = 0 <= total < _MOST_SAMPLES
            wanted = -1 if seconds is None else int(seconds * rate) + 1
            if known:
                wanted = total if wanted < 0 else min(total, wanted)
            if wanted * file.channels > MOST_BYTES:  # two bytes each, as WAV files have them
                raise InvalidData(
                    f"{shown(path)} has {file.channels:,} channels of {rate:,} Hz, more than is "
                    "read as one sample. Resample it, or remove it."
                )
            values = file.read(wanted, dtype="float32", always_2d=True)
    except InvalidData:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise InvalidData(f"{shown(path)} cannot be read ({reason}); remove it.") from error
    except RuntimeError as error:  # what soundfile's own error derives from
        reason = " ".join(str(getattr(error, "error_string", error)).split()).rstrip(".")
        raise InvalidData(
            f"{shown(path)} cannot be read as {path.suffix[1:].upper()} ({reason[:120]}). Save it "
            "as WAV (PCM), or remove it."
        ) from error
    if not len(values):
        raise InvalidData(f"{shown(path)} holds no sound; remove it.")
    if known and len(values) < wanted:
        raise InvalidData(
            f"{shown(path)} is cut short: {len(values) / rate:.3g} s of {wanted / rate:.3g} s can "
            "be read. Copy it again, or remove it."
        )
    if not np.isfinite(values).all():
        raise InvalidData(f"{shown(path)} holds NaN or infinity; save it anew, or remove it.")
    cut = bool(np.abs(values).max() > 1)
    samples = np.ascontiguousarray(values.clip(-1, 1).T)
    return Wav(samples, rate, total if known else len(values), cut)
