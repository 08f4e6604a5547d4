"""One image file, decoded: its pixels as a network takes them.

Nothing is converted in a way that invents or drops content, but for what `Decoded` remarks: grey
files for a colour network are repeated to three channels, as torchvision's own loader does
(ImageNet holds some), files without transparency are opaque, and 16-bit values keep their range.
"""

import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from qcore.data.listing import shown
from qcore.data.pixels import as_pixels
from qcore.data.stored_arrays import why
from qcore.errors import InvalidData
from qcore.models.preprocessing import Preprocessing

_GREY, _COLOUR = frozenset({"1", "L", "LA"}), frozenset({"RGB", "RGBA", "P", "PA", "CMYK", "YCbCr"})
_GREY_PAGES = frozenset({"1", "L", "I;16", "I;16L", "I;16B", "I;16N", "F"})
_ORIENTATION = 0x0112
_WITH_ALPHA = {2: "LA", 4: "RGBA"}
_KNOWN = {
    2: ": of image files, grey with transparency",
    4: ": of image files, colour with transparency",
}
UNREADABLE = (Exception,)
"""What Pillow and numpy raise for damaged files: it differs by format, and is of any kind."""

MOST_DECODED = 800_000_000
"""Bytes that one file may take while it is decoded."""

_TAKES = {"1": 6, "L": 6, "RGB": 6, "YCbCr": 6} | dict.fromkeys(("I", "F"), 12)
_OTHERWISE = 10
"""Bytes a pixel that decoding takes, conversions among them, by Pillow's mode."""

MOST_ARRAY = 256 * 2**20
"""Bytes of an array of one sample."""


@dataclass(frozen=True)
class Decoded:
    """An image file, scaled and cropped.

    Attributes:
        pixels: (channels, height, width); uint8, or float32 in 0..1 where the file holds more.
        remarks: Keys of REMARKS: what was done to it.
        beside: What else the file gave: the target of a pair, the length of a sound.
    """

    pixels: np.ndarray
    remarks: tuple[str, ...] = ()
    beside: np.ndarray | None = None


REMARKS = {
    "grey": "{n} grey files were repeated to 3 channels, {first} first.",
    "opaque": "{n} files without transparency were taken as opaque, {first} first.",
    "deep": "{n} files hold more than 8 bits a channel; 65535 became 1, {first} first.",
    "dark": "In {n} files of 16 bits no value is above 4095, {first} first: if yours hold 12, "
    "multiply them by 16.",
    "turned": "{n} files were turned upright, as their EXIF data say, {first} first; torchvision's "
    "own loader does not turn them.",
    "halved": "{n} files hold 16 bits a colour, whose upper 8 were read, {first} first; .npy files "
    "keep them all.",
    "pages": "{n} files have several pages; the first one was read, {first} first.",
}
"""Sentences on what was done to files; `n` of them, `first` being one."""

ALL_OF_THEM = {
    "grey": "The model takes colour images, but all {n} read here are grey ({first} is one). "
    "Choose colour images; or, if the model is meant to see grey ones, convert the files to RGB "
    "first.",
    "opaque": "The model takes a channel of transparency, but none of the {n} files read here has "
    "one ({first} is one). Choose files with transparency, or save the channels as .npy.",
}
"""Why a whole set to which this was done is refused."""


def read_image(path: Path, steps: Preprocessing) -> Decoded:
    """Decode, scale and crop one file.

    Args:
        path: An image, or a `.npy` file (height, width), (height, width, channels) or (channels,
            height, width). Several pages of grey are as many channels.
        steps: Channels, sizes and interpolation.

    Raises:
        InvalidData: it cannot be decoded, or has other channels; names it.
    """
    if path.suffix.lower() == ".npy":
        planes, remarks = _array(path, steps)
    else:
        planes, remarks = _planes(path, steps.channels)
    fitted = [resize_and_crop(plane, steps, path) for plane in planes]
    return Decoded(_stacked(fitted), tuple(dict.fromkeys(remarks)))


def prepare_image(image: Image.Image, steps: Preprocessing) -> np.ndarray:
    """One decoded image as a network takes it: uint8 (channels, height, width).

    Grey is made of colour, and colour of grey, without a word: for sets that are known to hold
    photographs. Folders of the user's go through `read_image`, which reports it.
    """
    if steps.channels not in (1, 3):
        raise InvalidData(
            f"These images have 3 channels, or 1; the model takes {steps.channels}. Use a folder "
            "of files with so many channels."
        )
    mode = "RGB" if steps.channels == 3 else "L"
    return _stacked([resize_and_crop(image.convert(mode), steps)])


def _planes(path: Path, channels: int) -> tuple[list[Image.Image], list[str]]:
    """Images that together have the wanted channels, at the file's size."""
    pages, remarks = _open(path, channels)
    if len(pages) > 1:
        return pages, remarks
    [image] = pages
    deep = image.mode == "F"
    if channels == 1:
        return [image if deep else _as_grey(image, path)], remarks
    if channels == 3:
        if deep or image.mode in _GREY:
            remarks.append("grey")
        return ([image] * 3 if deep else [_as_colour(image, path)]), remarks
    if channels in _WITH_ALPHA and not deep:
        return [_with_alpha(image, channels, path, remarks)], remarks
    raise InvalidData(_other_channels(image, channels, path))


def _other_channels(image: Image.Image, channels: int, path: Path) -> str:
    return (
        f"{shown(path)} has Pillow mode {image.mode!r}, and the model takes {channels} channels"
        f"{_KNOWN.get(channels, '')}. Save such images as .npy arrays "
        f"({channels}, height, width), or as TIFF of {channels} grey pages."
    )


def _with_alpha(image: Image.Image, channels: int, path: Path, remarks: list[str]) -> Image.Image:
    """Grey or colour with transparency."""
    fitting = ("1", "L", "LA") if channels == 2 else ("RGB", "RGBA", "P", "PA")
    if image.mode not in fitting:
        raise InvalidData(_other_channels(image, channels, path))
    if not _has_alpha(image):
        remarks.append("opaque")
    return image.convert(_WITH_ALPHA[channels])


def _has_alpha(image: Image.Image) -> bool:
    return "A" in image.mode or "transparency" in image.info


def _open(path: Path, channels: int) -> tuple[list[Image.Image], list[str]]:
    """Decode a whole file: (upright image, or pages of grey that are the channels, remarks)."""
    remarks: list[str] = []
    try:
        with warnings.catch_warnings():
            # Pillow warns of truncated metadata and of very large images; it raises for real harm
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                _check_pixels(image, path)
                frames = getattr(image, "n_frames", 1)
                halved = any("16" in str(tile[3]) for tile in image.tile)
                image.load()
                first = _turned(image if frames == 1 else image.copy(), remarks)
                if halved and first.mode in ("RGB", "RGBA", "LA"):
                    remarks.append("halved")
                pages = [first]
                if frames == channels > 1 and (first.mode in _GREY_PAGES):
                    for number in range(1, frames):
                        image.seek(number)
                        pages.append(image.copy())
                elif frames > 1 and image.format != "MPO":  # whose further pages are previews
                    remarks.append("pages")
    except InvalidData:
        raise
    except UnidentifiedImageError as error:
        raise InvalidData(
            f"{shown(path)} cannot be read as an image (of no known format, or damaged); remove it."
        ) from error
    except UNREADABLE as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise InvalidData(
            f"{shown(path)} cannot be read as an image ({reason}); remove it."
        ) from error
    if len({page.size for page in pages}) > 1:
        raise InvalidData(f"The pages of {shown(path)} differ in size; they cannot be channels.")
    if len(pages) > 1:
        if any(page.mode not in _GREY_PAGES for page in pages):
            raise InvalidData(f"The pages of {shown(path)} are not all grey; save them as .npy.")
        return [_plane(page, path, remarks) for page in pages], remarks
    return [_plane(first, path, remarks)], remarks


def _plane(image: Image.Image, path: Path, remarks: list[str]) -> Image.Image:
    """An image of 16-bit or float values as floats in 0..1, any other as it is."""
    if image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.float32)
        remarks.append("deep")
        if 255 < values.max() <= 4095:
            remarks.append("dark")
        return Image.fromarray(values / np.float32(65535))
    if image.mode == "F":
        values = _checked(torch.from_numpy(np.array(image, np.float32))[None], path)[0].numpy()
        return Image.fromarray(values)
    return image


def _check_pixels(image: Image.Image, path: Path) -> None:
    """Refuse an image by its header, where decoding it would take too much."""
    kind = image.mode[0] if image.mode.startswith("I;") else image.mode
    most = MOST_DECODED // _TAKES.get(kind, _OTHERWISE)
    if image.width * image.height > most:
        raise InvalidData(
            f"{shown(path)} has {image.width:,} x {image.height:,} pixels; at most {most:,} of "
            f"mode {image.mode} are decoded. Scale it down, or remove it."
        )


def load_array(path: Path) -> np.ndarray:
    """A `.npy` file that holds one sample.

    Raises:
        InvalidData: it is too large; other errors are numpy's.
    """
    # the head alone, whatever it says
    size = np.load(path, mmap_mode="r", allow_pickle=False).nbytes
    if size > MOST_ARRAY:
        raise InvalidData(
            f"{shown(path)} holds {size / 1e6:,.0f} MB; at most {MOST_ARRAY / 1e6:,.0f} MB are "
            "read as one sample. Scale it down, or remove it."
        )
    with path.open("rb") as stream:
        return np.asarray(np.load(stream, allow_pickle=False))


def _turned(image: Image.Image, remarks: list[str]) -> Image.Image:
    """The image upright, where its EXIF data say that it is not."""
    with suppress(*UNREADABLE):  # EXIF data that cannot be read say nothing
        if image.getexif().get(_ORIENTATION, 1) in range(2, 9):
            upright = ImageOps.exif_transpose(image)
            remarks.append("turned")
            return upright
    return image


def _as_colour(image: Image.Image, path: Path) -> Image.Image:
    if image.mode not in _GREY | _COLOUR:
        raise InvalidData(
            f"{shown(path)} has Pillow mode {image.mode!r}, which does not convert to 8-bit RGB "
            "without a choice of range; convert it first."
        )
    if _has_alpha(image):
        rgba = image if image.mode == "RGBA" else image.convert("RGBA")
        low, _ = rgba.getchannel("A").getextrema()
        if low != 255:
            raise InvalidData(
                f"{shown(path)} has transparent pixels; flatten it onto a background first."
            )
        return rgba.convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _as_grey(image: Image.Image, path: Path) -> Image.Image:
    if image.mode in ("1", "L") and not _has_alpha(image):
        return image.convert("L")
    red, green, blue = _as_colour(image, path).split()
    if red.tobytes() != green.tobytes() or green.tobytes() != blue.tobytes():
        raise InvalidData(
            f"{shown(path)} is a colour image and the model takes grey ones; convert the files to "
            "grey first, or choose a model for colour."
        )
    return red


def _array(path: Path, steps: Preprocessing) -> tuple[list[Image.Image], list[str]]:
    try:
        stored = load_array(path)
        stored = np.ascontiguousarray(stored.astype(stored.dtype.newbyteorder("=")))
        values = torch.from_numpy(stored)
    except InvalidData:
        raise
    except UNREADABLE as error:
        raise InvalidData(
            f"{shown(path)} cannot be read as an array of numbers ({why(error)}); remove it."
        ) from error
    wanted = steps.channels
    if values.dim() == 2:
        values = values[None]
    if values.dim() == 3 and 0 not in values.shape and values.shape[0] != wanted:
        values = values.permute(2, 0, 1)
    if values.dim() != 3 or 0 in values.shape or values.shape[0] != wanted:
        raise InvalidData(
            f"{shown(path)} has the shape {tuple(stored.shape)}; the model takes {wanted} "
            f"channels: ({wanted}, height, width) or (height, width, {wanted})."
        )
    deep = stored.dtype == np.uint16
    dark = deep and int(stored.max()) <= 4095
    values = _checked(values.contiguous()[None], path)[0]
    remarks = [word for word, holds in (("deep", deep), ("dark", dark)) if holds]
    return [Image.fromarray(plane) for plane in values.numpy()], remarks


def _checked(values: torch.Tensor, path: Path) -> torch.Tensor:
    try:
        return as_pixels(values, shown(path), [])
    except InvalidData as error:
        raise InvalidData(str(error).replace("1 images of ", "", 1)) from error


def _stacked(images: list[Image.Image]) -> np.ndarray:
    arrays = [np.asarray(image) for image in images]
    planes = [array[None] if array.ndim == 2 else array.transpose(2, 0, 1) for array in arrays]
    together = np.concatenate(planes)
    # interpolation reaches beyond the values it is given
    return together if together.dtype == np.uint8 else together.clip(0, 1)


def resize_and_crop(
    image: Image.Image, steps: Preprocessing, path: Path | None = None
) -> Image.Image:
    """Scale to cover the crop, keep the centre; for a square equal to torchvision's transforms."""
    width, height = image.size
    cover_height, cover_width = steps.cover
    if cover_height * width >= cover_width * height:
        size = (max(cover_width, cover_height * width // height), cover_height)
    else:
        size = (cover_width, max(cover_height, cover_width * height // width))
    if size[0] * size[1] > (Image.MAX_IMAGE_PIXELS or 2**26):
        raise InvalidData(
            f"{'An image' if path is None else shown(path)} of {height}x{width} pixels is too "
            f"narrow: covering {cover_height}x{cover_width} it would have {size[1]}x{size[0]}. Cut "
            "or remove it."
        )
    filters = {
        "bilinear": Image.Resampling.BILINEAR,
        "bicubic": Image.Resampling.BICUBIC,
        "nearest": Image.Resampling.NEAREST,
    }
    if size != image.size:
        image = image.resize(size, filters[steps.interpolation])
    left = round((image.width - steps.width) / 2)
    top = round((image.height - steps.height) / 2)
    return image.crop((left, top, left + steps.width, top + steps.height))
