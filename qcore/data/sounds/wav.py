"""WAV files: whole numbers of 8 to 32 bits and floats, as float32 in -1..1.

The standard library's `wave` reads neither floats nor the extensible header that many programs
write from 24 bits on, so the chunks are walked here.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from qcore.data.listing import shown
from qcore.errors import InvalidData

FLAT, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
_OTHERS = {2: "ADPCM", 6: "A-law", 7: "mu-law", 0x11: "ADPCM", 0x50: "MPEG", 0x55: "MP3"}
_TO_THE_END = (0, 0xFFFFFFFF)
"""Lengths that programs write which do not know the length yet."""

MOST_BYTES = 64 * 2**20
"""Of a sound, as it is stored, that are read as one sample."""

HAIR = 2.0
"""How far floats may leave -1..1 and still be sound that is cut to it."""


@dataclass(frozen=True, eq=False)
class Wav:
    """A WAV file, or its beginning.

    Attributes:
        samples: float32 in -1..1, (channels, samples).
        rate: Samples a second, Hz.
        total: Samples of the whole file, one channel.
        cut: True where samples lay outside -1..1 and were cut to it.
    """

    samples: np.ndarray
    rate: int
    total: int
    cut: bool = False


@dataclass(frozen=True, slots=True)
class _Format:
    code: int
    channels: int
    rate: int
    bits: int
    frame: int


def read_wav(path: Path, seconds: float | None = None) -> Wav:
    """Read a WAV file.

    Args:
        path: The file.
        seconds: How much of its beginning; None is all.

    Raises:
        InvalidData: it is no WAV file, damaged, cut short, or coded in a way that is not read;
            names it.
    """
    try:
        with path.open("rb") as stream:
            return _read(stream, path, seconds)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InvalidData(f"{shown(path)} cannot be read ({reason}); remove it.") from error


def _read(stream: BinaryIO, path: Path, seconds: float | None) -> Wav:
    size = stream.seek(0, 2)
    stream.seek(0)
    head = stream.read(12)
    if len(head) < 12 or head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
        what = "is empty" if not head else f"begins with {head[:4]!r}"
        raise InvalidData(
            f"{shown(path)} is no WAV file: it {what}. Save it as WAV (PCM), or remove it."
        )
    form: _Format | None = None
    while True:
        chunk = stream.read(8)
        if len(chunk) < 8:
            what = "format" if form is None else "sound"
            raise InvalidData(f"{shown(path)} ends before its {what}; copy it again, or remove it.")
        name, length = chunk[:4], struct.unpack("<I", chunk[4:])[0]
        if name == b"data":
            break
        if name == b"fmt ":
            form = _format(stream.read(min(length, 64)), path)
            stream.seek(length - min(length, 64) + length % 2, 1)
        else:
            stream.seek(length + length % 2, 1)
    if form is None:
        raise InvalidData(f"{shown(path)} holds sound before its format; save it anew.")
    there = size - stream.tell()
    if length in _TO_THE_END:
        length = there
    if length > there:
        rate = form.rate * form.frame
        raise InvalidData(
            f"{shown(path)} is cut short: {there / rate:.3g} s of {length / rate:.3g} s are there. "
            "Copy it again, or remove it."
        )
    total = length // form.frame
    if not total:
        raise InvalidData(f"{shown(path)} holds no sound; remove it.")
    wanted = total if seconds is None else min(total, int(seconds * form.rate) + 1)
    if wanted * form.frame > MOST_BYTES:
        raise InvalidData(
            f"{shown(path)} has {form.channels:,} channels of {form.rate:,} Hz: "
            f"{wanted / form.rate:.3g} s of it are {wanted * form.frame / 1e6:,.0f} MB, and at "
            f"most {MOST_BYTES / 1e6:,.0f} MB are read as one sample. Resample it, or remove it."
        )
    return _scaled(stream.read(wanted * form.frame), form, total, path)


def _format(data: bytes, path: Path) -> _Format:
    if len(data) < 16:
        raise InvalidData(f"The header of {shown(path)} is damaged; save it anew, or remove it.")
    code, channels, rate, _, frame, bits = struct.unpack("<HHIIHH", data[:16])
    if code == EXTENSIBLE and len(data) >= 26:
        code = struct.unpack("<H", data[24:26])[0]
    bits_read = (32, 64) if code == FLOAT else (8, 16, 24, 32)
    if code not in (FLAT, FLOAT) or bits not in bits_read:
        kind = _OTHERS.get(code, f"format {code}")
        what = f"{bits} bits" if code in (FLAT, FLOAT) else kind
        raise InvalidData(
            f"{shown(path)} is coded as {what}; 8, 16, 24 and 32 bits and floats are read. Save it "
            "as PCM of 16 bits."
        )
    if not channels or not rate or frame != channels * bits // 8:
        raise InvalidData(
            f"The header of {shown(path)} cannot be: {channels} channels, {rate} Hz, {bits} bits, "
            f"{frame} bytes a sample. Save it anew, or remove it."
        )
    return _Format(code, channels, rate, bits, frame)


def _scaled(data: bytes, form: _Format, total: int, path: Path) -> Wav:
    if form.code == FLOAT:
        values = np.frombuffer(data, f"<f{form.bits // 8}").astype(np.float32)
        if not np.isfinite(values).all():
            raise InvalidData(f"{shown(path)} holds NaN or infinity; save it anew, or remove it.")
        most = float(np.abs(values).max())
        if most > HAIR:
            raise InvalidData(
                f"{shown(path)} holds floats up to {most:g}; floats of sounds lie in -1..1. Divide "
                "them, or save it as PCM of 16 bits."
            )
        shaped = values.clip(-1, 1).reshape(-1, form.channels).T
        return Wav(np.ascontiguousarray(shaped), form.rate, total, most > 1)
    if form.bits == 8:  # the only width without a sign
        whole = np.frombuffer(data, np.uint8).astype(np.int16) - 128
    elif form.bits == 24:
        parts = np.frombuffer(data, np.uint8).reshape(-1, 3).astype(np.int32)
        whole = parts[:, 0] | (parts[:, 1] << 8) | (parts[:, 2] << 16)
        whole = np.where(whole >= 2**23, whole - 2**24, whole)
    else:
        whole = np.frombuffer(data, f"<i{form.bits // 8}")
    # exact: rounded once to 24 bits, and divided by a power of two
    values = whole.astype(np.float32) / np.float32(2 ** (form.bits - 1))
    return Wav(np.ascontiguousarray(values.reshape(-1, form.channels).T), form.rate, total)
