"""Damaged files of samples are refused in words, and asked for too much by none."""

import io
import random
import struct
import wave
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from qcore.data import image_files, stored_arrays
from qcore.data.image_files import read_image
from qcore.data.sounds.wav import read_wav
from qcore.data.tensor_file import read_tensors
from qcore.errors import InvalidData, QcoreError
from qcore.models.preprocessing import Preprocessing
from qcore.process import unpacking

FLIPS = 60
HOSTILE = Path(__file__).parents[2] / "data" / "hostile"
STEPS = Preprocessing(3, 8, 8, mean=(0.5,), std=(0.5,))


def parquet_file():
    pyarrow = pytest.importorskip("pyarrow")
    stream = io.BytesIO()
    rows = np.random.default_rng(0).random((6, 16), np.float32).tolist()
    table = pyarrow.table({"x": rows, "y": [0, 1] * 3})
    pytest.importorskip("pyarrow.parquet").write_table(table, stream)
    return stream.getvalue()


def wav_file():
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(range(200)))
    return stream.getvalue()


def image_file(kind):
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (12, 12, 3), np.uint8)
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def picture(path):
    return read_image(path, STEPS)


KINDS = {
    ".parquet": (parquet_file, lambda path: read_tensors(path, (1, 4, 4))),
    ".wav": (wav_file, lambda path: read_wav(path, 1.0)),
    ".png": (lambda: image_file("PNG"), picture),
    ".jpg": (lambda: image_file("JPEG"), picture),
    ".tif": (lambda: image_file("TIFF"), picture),
}


def said(read, path):
    """The words of a refusal; "" where the file was read."""
    try:
        read(path)
    except QcoreError as error:
        words = str(error)
    else:
        return ""
    assert len(words) < 2_000
    assert "pickle" not in words.lower()
    return words


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", KINDS)
def test_bytes_of_a_sample_are_flipped_and_lost(suffix, tmp_path):
    make, read = KINDS[suffix]
    whole, path, rng = make(), tmp_path / f"a{suffix}", random.Random(7)
    path.write_bytes(whole)
    assert not said(read, path)
    words = []
    for at in range(FLIPS):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 2, 30))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(data) if at % 3 else whole[: rng.randrange(len(whole))])
        words.append(said(read, path))
    assert any(words)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", sorted(HOSTILE.glob("data-*")), ids=lambda path: path.name)
def test_what_fuzzing_found_in_files_of_tensors_is_refused_in_words(path):
    assert said(read_tensors, path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", sorted(HOSTILE.glob("image-*")), ids=lambda path: path.name)
def test_what_fuzzing_found_in_images_is_refused_in_words(path):
    assert said(picture, path)


def png(width, height, mode):
    """The head of a PNG, whose pixels are not there."""
    head = struct.pack(">IIBBBBB", width, height, 8, mode, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    parts = [
        struct.pack(">I", len(each)) + name + each + struct.pack(">I", zlib.crc32(name + each))
        for name, each in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(("mode", "side"), [(0, 11_600), (2, 11_600), (6, 9_000)])
def test_an_image_is_refused_by_its_head_where_its_pixels_would_take_too_much(mode, side, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png(side, side, mode))
    with pytest.raises(InvalidData, match=r"Scale it down"):
        read_image(path, STEPS)
    path.write_bytes(png(side * 3 // 4, side * 3 // 4, mode))
    with pytest.raises(InvalidData, match=r"cannot be read as an image"):
        read_image(path, STEPS)


def test_an_array_of_one_sample_is_refused_by_its_head(tmp_path, monkeypatch):
    monkeypatch.setattr(image_files, "MOST_ARRAY", 1000)
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((3, 20, 20), np.uint8))
    with pytest.raises(InvalidData, match=r"read as one sample"):
        read_image(path, STEPS)


@pytest.mark.parametrize(
    ("channels", "rate"), [(65_535, 8_000), (1, 4_000_000_000)], ids=["channels", "rate"]
)
def test_a_sound_is_refused_by_its_head_where_a_second_of_it_would_take_too_much(
    channels, rate, tmp_path
):
    form = struct.pack("<HHIIHH", 1, channels, rate, rate, channels, 8)
    path = tmp_path / "a.wav"
    with path.open("wb") as stream:
        stream.write(b"RIFF\xff\xff\xff\xffWAVEfmt " + struct.pack("<I", 16) + form)
        stream.write(b"data" + struct.pack("<I", 600_000_000))
        stream.truncate(700_000_000)  # takes no room on the disk
    with pytest.raises(InvalidData, match=r"read as one sample"):
        read_wav(path, 1.0)


def test_equal_values_of_a_table_are_counted_one_by_one(tmp_path, monkeypatch):
    pyarrow = pytest.importorskip("pyarrow")
    monkeypatch.setattr(unpacking, "ROOM", 10_000)
    path = tmp_path / "a.parquet"
    pytest.importorskip("pyarrow.parquet").write_table(
        pyarrow.table({"x": np.zeros(1_000_000)}), path
    )
    with pytest.raises(InvalidData, match=r"would come to 8 MB"):
        read_tensors(path)


@pytest.mark.parametrize("suffix", [".npy", ".pt"])
def test_large_files_are_mapped_and_test_samples_outlive_them(suffix, tmp_path, monkeypatch):
    monkeypatch.setattr(stored_arrays, "MAPPED", 0)
    path, x = tmp_path / f"x{suffix}", torch.rand(6, 1, 4, 4)
    if suffix == ".npy":
        np.save(path, x.numpy())
    else:
        torch.save({"x": x, "x_test": x}, path)
    stored = stored_arrays.read_stored(path, [])
    if suffix == ".pt":
        path.write_bytes(b"")
        assert torch.equal(stored["x_test"], x)
    else:
        assert isinstance(stored["x"], np.memmap)
        assert torch.equal(read_tensors(path).x, x)
