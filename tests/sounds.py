"""WAV files for tests of sounds."""

import struct

import numpy as np


def wav_bytes(values, rate=16_000, bits=16, code=1, extensible=False, extra=b""):
    """A WAV file as bytes.

    Args:
        values: In -1..1, (samples,) or (channels, samples).
        rate: Hz.
        bits: A sample.
        code: 1 for whole numbers, 3 for floats.
        extensible: Write the longer header.
        extra: Further chunks before the sound.
    """
    rows = np.atleast_2d(np.asarray(values, float)).T
    channels = rows.shape[1]
    if code == 3:
        data = rows.astype(f"<f{bits // 8}").tobytes()
    else:
        whole = np.clip(np.round(rows * 2.0 ** (bits - 1)), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        if bits == 8:
            data = (whole + 128).astype(np.uint8).tobytes()
        elif bits == 24:
            data = whole.astype("<i4").reshape(-1, 1).view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
        else:
            data = whole.astype(f"<i{bits // 8}").tobytes()
    frame = channels * bits // 8
    head = struct.pack(
        "<HHIIHH", 0xFFFE if extensible else code, channels, rate, rate * frame, frame, bits
    )
    if extensible:
        head += struct.pack("<HHIH", 22, bits, 0, code)
        head += b"\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
    body = b"WAVE" + b"fmt " + struct.pack("<I", len(head)) + head + extra
    body += b"data" + struct.pack("<I", len(data)) + data + b"\x00" * (len(data) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def sound(path, seconds=1.0, rate=16_000, pitch=440.0, channels=1, **how):
    """Write a tone; each channel a fifth above the one before."""
    at = np.arange(round(seconds * rate)) / rate
    rows = [0.5 * np.sin(2 * np.pi * pitch * 1.5**number * at) for number in range(channels)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(wav_bytes(np.stack(rows), rate, **how))
    return path
