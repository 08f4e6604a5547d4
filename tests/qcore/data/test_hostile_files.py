"""A damaged file of tensors is refused in words, and never with advice to run what is in it."""

import io
import random

import numpy as np
import pytest
import torch

from qcore.data.columns import column_data
from qcore.data.tensor_file import read_tensors
from qcore.errors import QcoreError
from qcore.inputs import Input

FLIPS = 40


def saved(suffix):
    x, y = np.random.default_rng(0).random((6, 1, 4, 4), np.float32), np.arange(6) % 2
    stream = io.BytesIO()
    if suffix == ".npz":
        np.savez_compressed(stream, x=x, y=y)
    elif suffix == ".npy":
        np.save(stream, x)
    else:
        torch.save({"x": torch.from_numpy(x), "y": torch.from_numpy(y)}, stream)
    return stream.getvalue()


def refused_or_read(read):
    """The words of a refusal; "" where the file was read."""
    try:
        read()
    except QcoreError as error:
        said = str(error)
        assert len(said) < 2_000
        assert "weights_only" not in said.lower()
        assert "pickle" not in said.lower()
        return said
    return ""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", [".npz", ".npy", ".pt"])
def test_bytes_are_flipped_cut_and_lost(suffix, tmp_path):
    whole, rng = saved(suffix), random.Random(7)
    path = tmp_path / f"x{suffix}"
    said = []
    for at in range(FLIPS):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 2, 30))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(data) if at % 3 else whole[: rng.randrange(len(whole))])
        said.append(refused_or_read(lambda: read_tensors(path)))
        refused_or_read(
            lambda: column_data("t", "tensors", path, (Input("x", (1, 4, 4)),), (2, 2), 0, False)
        )
    assert any(said)
    path.write_bytes(whole)
    assert not refused_or_read(lambda: read_tensors(path))


def zeros(**changes):
    return {"x": torch.zeros(6, 1, 4, 4), "y": torch.arange(6) % 2, **changes}


ODD = {
    "nothing": b"",
    "x sparse": zeros(x=torch.zeros(6, 4, 4).to_sparse()),
    "x nowhere": zeros(x=torch.zeros(6, 1, 4, 4, device="meta")),
    "x nowhere, bytes": zeros(x=torch.zeros(6, 1, 4, 4, device="meta", dtype=torch.uint8)),
    "x expanded": zeros(x=torch.zeros(1).expand(10**12)),
    "y complex": zeros(y=torch.ones(6, dtype=torch.complex64)),
    "y nowhere": zeros(y=torch.zeros(6, device="meta")),
    "y not a number": zeros(y=torch.full((6,), float("nan"))),
    "y endless": zeros(y=torch.full((6,), float("inf"))),
    "y huge": zeros(y=torch.full((6,), 1e30)),
    "classes not a number": zeros(classes=float("nan")),
    "classes endless": zeros(classes=float("inf")),
    "classes huge": zeros(classes=10**400),
    "classes deep": zeros(classes=[[[["a"]]]]),
    "x a word": zeros(x="images"),
    "a number": torch.tensor(3.0),
    "numbers as names": {1: torch.zeros(2)},
    "none": None,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ODD)
def test_what_is_no_images_is_refused_in_words(name, tmp_path):
    path = tmp_path / "x.pt"
    if isinstance(ODD[name], bytes):
        path.write_bytes(ODD[name])
    else:
        torch.save(ODD[name], path)
    assert refused_or_read(lambda: read_tensors(path))


@pytest.mark.parametrize("shape", ["(1000000000000,)", f"({'9' * 30},)", "(-5, 2)", "(1, [])"])
def test_a_header_that_asks_for_too_much_is_refused_in_words(shape, tmp_path):
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    head += b" " * (117 - len(head)) + b"\n"
    path = tmp_path / "x.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + b"\0" * 16)
    assert refused_or_read(lambda: read_tensors(path))
