"""Arrays are read as they were meant: by the network's shape, their type and their names."""

import io
import zipfile

import numpy as np
import pytest
import torch

from qcore.data import check_data_fits, load_data
from qcore.data.pixels import HAIR, as_pixels
from qcore.data.tensor_file import read_tensors
from qcore.errors import DataUnavailable, InvalidData
from tests.own_networks import network_of

N = 24
RNG = np.random.default_rng(0)
Y = np.arange(N) % 2


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


# ---- axes


@pytest.mark.parametrize(
    ("stored", "shape", "order"),
    [
        ((12, 100, 1), (12, 100, 1), None),
        ((12, 100, 1), (1, 12, 100), None),
        ((1, 12, 100), (12, 100, 1), None),
        ((12, 100), (12, 100, 1), None),
        ((12, 100), (1, 12, 100), None),
        ((12, 100), (12, 1, 100), None),
        ((100,), (1, 1, 100), None),
        ((1200,), (1, 12, 100), None),
        ((192,), (3, 8, 8), None),
        ((100,), (100, 1, 1), None),
        ((12, 1, 1, 100), (12, 1, 100), None),
        ((22, 256, 3), (22, 256, 3), None),
        ((22, 256, 3), (3, 22, 256), (0, 3, 1, 2)),
        ((8, 8, 4), (4, 8, 8), (0, 3, 1, 2)),
        ((8, 9, 6), (6, 8, 9), (0, 3, 1, 2)),
        ((28, 28, 1), (1, 28, 28), None),
        ((3, 3, 3), (3, 3, 3), None),
        ((1, 3, 1), (1, 3, 1), None),
    ],
)
def test_the_networks_shape_decides_which_axis_is_which(tmp_path, stored, shape, order):
    x = RNG.integers(0, 256, (N, *stored), dtype=np.uint8)
    found = read_tensors(save(tmp_path / "d.npz", x=x, y=Y), shape)
    expected = x.transpose(order) if order else x.reshape(N, *shape)
    assert np.array_equal(found.x.numpy(), expected)
    assert bool(found.notes) == (stored != shape)


def test_without_a_network_the_last_axis_is_guessed_and_that_is_said(tmp_path):
    x = RNG.integers(0, 256, (N, 12, 100, 1), dtype=np.uint8)
    found = read_tensors(save(tmp_path / "d.npz", x=x))
    assert found.x.shape == (N, 1, 12, 100)
    assert "channels last" in found.notes[0]


@pytest.mark.parametrize("shape", [(12, 40, 1), (1, 12, 40)])
def test_a_network_gets_signals_in_its_own_order(tmp_path, monkeypatch, shape):
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path / "data"))
    spec = network_of(tmp_path, shape)
    x = RNG.integers(0, 256, (N, 12, 40, 1), dtype=np.uint8)
    path = save(tmp_path / "d.npz", x=x, y=Y)
    data = load_data(f"tensors:{path}", calibration=4, search=4, model="net")
    check_data_fits(data, spec)
    assert {p.numpy().tobytes() for p in data.test.pixels} < {p.tobytes() for p in x}


def test_images_of_another_shape_are_refused_by_both_shapes(tmp_path, monkeypatch):
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path / "data"))
    spec = network_of(tmp_path, (3, 8, 9))
    for stored in ((N, 3, 9, 8), (N, 9, 8, 3), (N, 8, 9)):
        path = save(tmp_path / "d.npz", x=RNG.random(stored))
        data = load_data(f"tensors:{path}", calibration=4, search=4, model="net")
        with pytest.raises(InvalidData, match=r"Store x as \(n, 3, 8, 9\)"):
            check_data_fits(data, spec)


@pytest.mark.parametrize("stored", [(N,), (N, 5), (N, 1, 2, 3, 4), (N, 0, 4)])
def test_shapes_that_no_network_explains_are_refused(tmp_path, stored):
    for shape in (None, (3, 8, 8)):
        with pytest.raises(InvalidData, match="none of them 0; got"):
            read_tensors(save(tmp_path / "d.npz", x=np.zeros(stored)), shape)


# ---- values


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8", "<f2", ">f2"])
def test_floats_of_any_width_and_order_of_bytes(tmp_path, dtype):
    x = RNG.random((N, 1, 6, 6)).astype(dtype)
    found = read_tensors(save(tmp_path / "d.npz", x=x)).x
    assert found.dtype == torch.float32
    assert np.array_equal(found.numpy(), x.astype(np.float32))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_floats_of_torch(tmp_path, dtype):
    x = torch.rand(N, 1, 6, 6, generator=torch.Generator().manual_seed(0)).to(dtype)
    torch.save({"x": x}, tmp_path / "d.pt")
    assert torch.equal(read_tensors(tmp_path / "d.pt").x, x.float())


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0000001), (-1e-7, 1.0), (-HAIR / 2, 1 + HAIR / 2)]
)
def test_a_hair_outside_is_cut_and_said_with_its_numbers(tmp_path, low, high):
    x = RNG.random((N, 1, 6, 6), np.float32)
    x.flat[:2] = low, high
    found = read_tensors(save(tmp_path / "d.npz", x=x))
    assert np.array_equal(found.x.numpy(), x.clip(0, 1))
    [note] = found.notes
    outside = low if low < 0 else high
    assert "by rounding" in note
    assert f"{np.float32(outside):.9g}" in note


def test_rounding_of_half_precision_reaches_further():
    x = torch.tensor([[0.5, 1.004]], dtype=torch.bfloat16)
    assert float(x.max()) > 1
    assert float(as_pixels(x, "x", []).max()) == 1
    with pytest.raises(InvalidData, match="reaches from"):
        as_pixels(x.float(), "x", [])


@pytest.mark.parametrize(
    ("low", "high", "hint"),
    [
        (0, 1.05, r"reaches from 0 to 1\.0499999.*clip"),
        (-0.03, 1.0, r"reaches from -0\.0299999.*clip"),
        (0, 255, "save them as uint8"),
        (0, 65535, "save them as uint16"),
        (-2.1, 2.6, "normalised already"),
        (-1, 1, "normalised already"),
    ],
)
def test_further_out_is_refused_with_its_numbers(low, high, hint):
    with pytest.raises(InvalidData, match=hint):
        as_pixels(torch.tensor([[low, high]], dtype=torch.float32), "x", [])


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_sixteen_bits_are_scaled_by_their_range(tmp_path, dtype):
    x = RNG.integers(0, 65536, (N, 1, 6, 6)).astype(dtype)
    x.flat[0] = 65535
    found = read_tensors(save(tmp_path / "d.npz", x=x))
    assert np.allclose(found.x.numpy(), x / 65535, atol=1e-7)
    assert found.notes == ("x holds 16 bits a value; 65535 became 1, the largest found is 65535.",)


@pytest.mark.parametrize(("bits", "factor"), [(10, 64), (12, 16), (14, 4)])
def test_fewer_bits_in_sixteen_are_noted(tmp_path, bits, factor):
    x = np.full((N, 1, 6, 6), 2**bits - 1, np.uint16)
    [note] = read_tensors(save(tmp_path / "d.npz", x=x)).notes
    assert f"if yours have {bits} bits, multiply them by {factor}" in note
    assert (2**bits - 1) * factor <= 65535


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.full((N, 1, 6, 6), 255, np.uint16), "largest value is 255.*save them as uint8"),
        (np.full((N, 1, 6, 6), 255, np.int64), "from 255 to 255: save them as uint8"),
        (np.full((N, 1, 6, 6), 700, np.int32), "reach from 700 to 700"),
        (np.ones((N, 1, 6, 6), np.complex64), "magnitude"),
        (np.ones((N, 1, 6, 6), np.longdouble), "array of float128|array of longdouble"),
        (np.zeros((N, 1, 6, 6), "V2"), r"array of \|V2"),
    ],
)
def test_other_types_are_refused_with_what_to_do(tmp_path, x, message):
    with pytest.raises(InvalidData, match=f"(?i){message}"):
        read_tensors(save(tmp_path / "d.npz", x=x))


def test_truth_values_are_black_and_white(tmp_path):
    x = RNG.random((N, 1, 6, 6)) > 0.5
    found = read_tensors(save(tmp_path / "d.npz", x=x))
    assert np.array_equal(found.x.numpy(), x.astype(np.float32))
    assert "truth values" in found.notes[0]


# ---- containers


IMAGES = torch.randint(
    0, 256, (N, 1, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)


@pytest.mark.parametrize(
    "stored",
    [
        {"x": list(IMAGES), "y": Y.tolist()},
        {"x": tuple(IMAGES), "y": [torch.tensor(k) for k in Y.tolist()]},
        {"X": IMAGES, "Y": torch.from_numpy(Y)},
        {"X_train": IMAGES, "y_train": torch.from_numpy(Y)},
        (IMAGES, torch.from_numpy(Y)),
        [IMAGES, Y.tolist()],
        [(x, int(y)) for x, y in zip(IMAGES, Y, strict=True)],
        {"x": torch.nn.Parameter(IMAGES.float() / 255), "y": torch.from_numpy(Y)},
    ],
)
def test_images_and_labels_however_they_are_put_together(tmp_path, stored):
    torch.save(stored, tmp_path / "d.pt")
    found = read_tensors(tmp_path / "d.pt")
    x = found.x if found.x.dtype == torch.uint8 else (found.x * 255).round().to(torch.uint8)
    assert torch.equal(x, IMAGES)
    assert found.y.tolist() == Y.tolist()


@pytest.mark.parametrize("stored", [IMAGES, list(IMAGES), [*IMAGES[:2]]])
def test_images_alone(tmp_path, stored):
    torch.save(stored, tmp_path / "d.pt")
    found = read_tensors(tmp_path / "d.pt")
    assert torch.equal(found.x, IMAGES[: len(stored)])
    assert found.y is None


def test_one_array_is_the_images(tmp_path):
    np.save(tmp_path / "d.npy", IMAGES.numpy())
    assert torch.equal(read_tensors(tmp_path / "d.npy").x, IMAGES)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ([], "empty list"),
        ([IMAGES[0], IMAGES[0, :, :3]], "number 2 has"),
        ([IMAGES[0], IMAGES[0].float()], "number 2 has"),
        ({"x": ["a", "b"]}, "list of something other"),
        ({"x": "a"}, "got str"),
        ({"x": IMAGES.float().to_sparse()}, "plain tensor"),
        ({"x": None}, "got NoneType"),
        (3, "no tensors but int"),
    ],
)
def test_what_is_no_list_of_images_is_refused(tmp_path, stored, message):
    torch.save(stored, tmp_path / "d.pt")
    with pytest.raises(InvalidData, match=message):
        read_tensors(tmp_path / "d.pt")


def test_test_images_may_be_named_beside_training_images(tmp_path):
    x = IMAGES.numpy()
    path = save(
        tmp_path / "mnist.npz", x_train=x[:16], y_train=Y[:16], x_test=x[16:], y_test=Y[16:]
    )
    found = read_tensors(path)
    assert (len(found.x), len(found.x_test)) == (16, 8)
    assert found.notes == ("x_train was read as x.", "y_train was read as y.")


@pytest.mark.parametrize("place", ["", "nowhere.npz", "x" * 300 + ".npz", "file.npz/inside.npz"])
def test_places_that_are_no_files_of_tensors(tmp_path, place):
    (tmp_path / "file.npz").write_bytes(b"")
    with pytest.raises((DataUnavailable, InvalidData), match=r"is a folder|no file|cannot be read"):
        load_data(f"tensors:{tmp_path}/{place}", calibration=1, search=1)


@pytest.mark.parametrize(("count", "kind"), [(10**6, torch.float16), (10**9, torch.float32)])
def test_a_tensor_that_claims_more_than_its_file_holds_is_refused(tmp_path, count, kind):
    path = tmp_path / "x.pt"
    images = torch.zeros(1, dtype=kind).expand(count, 1, 32, 32)
    torch.save({"x": images, "y": torch.arange(2)}, path)
    assert path.stat().st_size < 10_000
    with pytest.raises(InvalidData, match=r"expanded.* GB"):
        read_tensors(path)


def test_an_archive_whose_header_claims_more_than_any_memory_is_refused(tmp_path):
    path, header = tmp_path / "x.npz", io.BytesIO()
    shape = {"descr": "<f4", "fortran_order": False, "shape": (10**12,)}
    np.lib.format.write_array_header_1_0(header, shape)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", header.getvalue())
    with pytest.raises(InvalidData, match="cannot be read as plain tensors"):
        read_tensors(path)
