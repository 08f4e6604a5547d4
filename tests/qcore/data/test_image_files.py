"""One image file becomes the channels a network takes, at its height and width, or is refused."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from qcore.data.image_files import prepare_image, read_image
from qcore.errors import InvalidData
from qcore.models._torchvision import torchvision
from qcore.models.preprocessing import Preprocessing
from tests.pictures import picture
from tests.variants import examples

RNG = np.random.default_rng(0)


def noise(*shape, most=256, dtype=np.uint8):
    return RNG.integers(0, most, shape, dtype=dtype)


def as_it_is(channels, height=8, width=8):
    return Preprocessing(channels, height, width)


@given(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(0, 20),
)
@settings(max_examples=examples(60), deadline=None)
def test_any_image_covers_any_crop(size, height, width, more):
    image = Image.fromarray(noise(size[1], size[0], 3))
    steps = Preprocessing(3, height, width, min(height, width) + more)
    assert prepare_image(image, steps).shape == (3, height, width)


@pytest.mark.parametrize("size", [(40, 30), (30, 40), (80, 20)])
@pytest.mark.parametrize("crop", [(48, 24), (24, 48), (30, 20)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_crops_that_are_not_square_equal_torchvisions_transforms(
    tmp_path, size, crop, interpolation
):
    path = picture(tmp_path / "a.png", size)
    factor = max(Fraction(crop[0], size[1]), Fraction(crop[1], size[0]))
    scaled = [int(size[1] * factor), int(size[0] * factor)]
    transforms = torchvision.transforms
    mode = transforms.InterpolationMode(interpolation)
    scale, cut = transforms.Resize(scaled, mode, antialias=True), transforms.CenterCrop(crop)
    theirs = np.asarray(cut(scale(Image.open(path))))
    ours = read_image(path, Preprocessing(3, *crop, None, interpolation)).pixels
    assert np.array_equal(ours.transpose(1, 2, 0), theirs)


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("LA", 2), ("RGB", 3), ("RGBA", 4)])
def test_files_give_the_channels_they_have(tmp_path, mode, channels):
    values = noise(8, 8, channels).squeeze()
    Image.fromarray(values).convert(mode).save(tmp_path / "a.png")
    read = read_image(tmp_path / "a.png", as_it_is(channels))
    assert np.array_equal(read.pixels, values.reshape(8, 8, channels).transpose(2, 0, 1))
    assert read.remarks == ()


@pytest.mark.parametrize(("mode", "channels"), [("L", 2), ("RGB", 4), ("1", 2)])
def test_files_without_transparency_are_opaque_and_that_is_remarked(tmp_path, mode, channels):
    Image.fromarray(noise(8, 8, 3)).convert(mode).save(tmp_path / "a.png")
    read = read_image(tmp_path / "a.png", as_it_is(channels))
    assert (read.pixels[-1] == 255).all()
    assert read.remarks == ("opaque",)


def test_a_palette_with_transparency_gives_its_alpha_or_is_refused(tmp_path):
    image = Image.fromarray(noise(8, 8, 3)).quantize(16)
    image.info["transparency"] = 3
    path = tmp_path / "a.png"
    image.save(path, transparency=3)
    expected = np.asarray(Image.open(path).convert("RGBA")).transpose(2, 0, 1)
    assert set(np.unique(expected[3])) == {0, 255}
    read = read_image(path, as_it_is(4))
    assert np.array_equal(read.pixels, expected)
    assert read.remarks == ()
    with pytest.raises(InvalidData, match=r"a\.png has transparent pixels"):
        read_image(path, as_it_is(3))


@pytest.mark.parametrize(
    ("mode", "suffix", "channels"),
    [("RGB", "png", 2), ("CMYK", "jpg", 4), ("CMYK", "jpg", 2), ("RGB", "png", 6), ("L", "png", 4),
     ("LA", "png", 4), ("RGBA", "png", 2), ("P", "png", 5)],
)  # fmt: skip
def test_other_channels_are_refused_with_what_to_do(tmp_path, mode, suffix, channels):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(noise(8, 8, 3)).convert(mode).save(path)
    with pytest.raises(
        InvalidData, match=rf"a\.{suffix} has Pillow mode.*{channels} channels.*npy"
    ):
        read_image(path, as_it_is(channels))


@pytest.mark.parametrize("channels", [2, 3, 4, 6, 12])
def test_pages_of_grey_are_channels(tmp_path, channels):
    planes = noise(channels, 8, 8)
    pages = [Image.fromarray(plane) for plane in planes]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    assert np.array_equal(read_image(tmp_path / "a.tif", as_it_is(channels)).pixels, planes)


def test_of_other_pages_the_first_is_read_and_that_is_remarked(tmp_path):
    pages = [Image.fromarray(noise(8, 8, 3)) for _ in range(2)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    read = read_image(tmp_path / "a.tif", as_it_is(3))
    assert np.array_equal(read.pixels.transpose(1, 2, 0), np.asarray(pages[0]))
    assert read.remarks == ("pages",)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(("channels", "height", "width"), [(6, 8, 5), (2, 8, 8), (3, 5, 8)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, ">u2", np.float32, np.float64, np.float16])
def test_arrays_of_any_channels(tmp_path, last, channels, height, width, dtype):
    whole = np.dtype(dtype).kind == "u"
    most = np.iinfo(dtype).max if whole else 1
    planes = (RNG.random((channels, height, width)) * most).astype(dtype)
    np.save(tmp_path / "a.npy", planes.transpose(1, 2, 0) if last else planes)
    got = read_image(tmp_path / "a.npy", Preprocessing(channels, height, width)).pixels
    scaled = got / np.float32(255) if got.dtype == np.uint8 else got
    assert np.allclose(scaled, planes.astype(np.float64) / most, atol=1e-6)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((5, 8, 8), np.uint8), r"shape \(5, 8, 8\); the model takes 6 channels"),
        (np.zeros((8,), np.uint8), "6 channels"),
        (np.zeros((6, 0, 8), np.uint8), "6 channels"),
        (np.full((6, 8, 8), 1.5), r"a\.npy reaches from 1.5 to 1.5, not 0..1"),
        (np.full((6, 8, 8), np.nan), r"a\.npy hold NaN"),
        (np.zeros((6, 8, 8), np.int64), r"a\.npy is torch.int64.*save them as uint8"),
        (np.array(["a"]), "array of numbers"),
        (np.array([{}], dtype=object), "array of numbers"),
    ],
)
def test_arrays_that_are_no_images_are_refused(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(InvalidData, match=message):
        read_image(tmp_path / "a.npy", as_it_is(6))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_scaled_by_their_range(tmp_path, suffix):
    values = noise(8, 8, most=65536, dtype=np.uint16)
    values[0, 0] = 65535
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    read = read_image(tmp_path / f"a.{suffix}", as_it_is(1))
    assert np.allclose(read.pixels[0], values / 65535, atol=1e-6)
    assert read.remarks == ("deep",)
    colour = read_image(tmp_path / f"a.{suffix}", as_it_is(3))
    assert colour.remarks == ("deep", "grey")
    assert np.array_equal(colour.pixels, np.repeat(read.pixels, 3, 0))


def test_twelve_bits_in_sixteen_are_remarked(tmp_path):
    Image.fromarray(noise(8, 8, most=4096, dtype=np.uint16)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", as_it_is(1)).remarks == ("deep", "dark")


def test_floats_in_a_file_are_images_only_within_their_range(tmp_path):
    values = RNG.random((8, 8), np.float32)
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert np.array_equal(read_image(tmp_path / "a.tif", as_it_is(1)).pixels[0], values)
    Image.fromarray(values * 255).save(tmp_path / "b.tif")
    with pytest.raises(InvalidData, match=r"b\.tif reaches from .*0\.\.255"):
        read_image(tmp_path / "b.tif", as_it_is(1))
    Image.fromarray(noise(8, 8).astype(np.int32)).save(tmp_path / "c.tif")
    with pytest.raises(InvalidData, match=r"c\.tif has Pillow mode 'I'"):
        read_image(tmp_path / "c.tif", as_it_is(1))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_scaled_floats_stay_within_their_range_and_near_those_of_eight_bits(
    tmp_path, interpolation
):
    def both(values):
        Image.fromarray(values).save(tmp_path / "a.png")
        Image.fromarray(values.astype(np.uint16) * 257).save(tmp_path / "b.png")
        steps = Preprocessing(1, 16, 24, None, interpolation)
        return [read_image(tmp_path / name, steps).pixels for name in ("a.png", "b.png")]

    _, deep = both(noise(30, 40))
    assert deep.min() >= 0
    assert deep.max() <= 1
    # eight bits are cut off between rows and columns too, so nothing here comes near the ends
    shallow, deep = both(64 + noise(30, 40, most=128))
    assert np.allclose(shallow / 255, deep, atol=2 / 255)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_images_are_turned_upright(tmp_path, orientation, suffix):
    upright = noise(8, 12, 3)
    # how a camera held so stores it: the inverse of what a viewer does
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.transpose(1, 0, 2), 6: np.rot90(upright),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif)
    read = read_image(path, Preprocessing(3, 8, 12))
    assert np.array_equal(read.pixels.transpose(1, 2, 0), upright)
    if suffix == "png":
        assert read.remarks == (("turned",) if orientation > 1 else ())


def test_an_image_too_narrow_to_cover_the_crop_is_refused(tmp_path):
    path = picture(tmp_path / "a.png", size=(20_000, 2))
    with pytest.raises(InvalidData, match=r"a\.png of 2x20000 pixels is too narrow"):
        read_image(path, Preprocessing(3, 224, 224))


def test_a_known_set_of_photographs_has_one_or_three_channels():
    with pytest.raises(InvalidData, match="the model takes 4"):
        prepare_image(Image.new("RGB", (8, 8)), as_it_is(4))
    assert torch.equal(
        torch.from_numpy(prepare_image(Image.new("RGB", (8, 8), (9, 9, 9)), as_it_is(1))),
        torch.full((1, 8, 8), 9, dtype=torch.uint8),
    )
