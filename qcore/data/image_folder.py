"""Image files in folders: which there are, and their pixels as a network takes them.

Files are listed first and decoded only once chosen. Nothing is converted in a way that invents or
drops content, with one exception that is reported: grey files among colour ones are repeated to
three channels, as torchvision's own loader does (ImageNet holds some).
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from qcore.errors import DataUnavailable, InvalidData
from qcore.models.preprocessing import Preprocessing

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"})
_HELD_OUT = ("val", "test")
_GREY, _COLOUR = frozenset({"1", "L", "LA"}), frozenset({"RGB", "RGBA", "P", "CMYK", "YCbCr"})


@dataclass(frozen=True)
class FolderImages:
    """Image files, not yet read.

    Attributes:
        paths: The files, in sorted order.
        labels: Class number of each file, or None.
        class_names: Names of the class folders in label order; empty without labels.
    """

    paths: tuple[Path, ...]
    labels: tuple[int, ...] | None = None
    class_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, indices: Sequence[int], steps: Preprocessing) -> tuple[np.ndarray, str]:
        """Decode, resize and crop the chosen files.

        Args:
            indices: Positions in `paths`.
            steps: Channels, resize, crop and interpolation.

        Returns:
            (uint8 pixels (n, channels, crop, crop), a sentence on conversions or "").

        Raises:
            InvalidData: a file cannot be decoded, or has the wrong kind of colours; names it.
        """
        pixels = np.empty((len(indices), *steps.input_shape), np.uint8)
        grey: list[Path] = []
        for row, index in enumerate(indices):
            path = self.paths[index]
            image = _open(path)
            if steps.channels == 1:
                image = _as_grey(image, path)
            else:
                if image.mode in _GREY:
                    grey.append(path)
                image = _as_colour(image, path)
            array = np.asarray(_resize_and_crop(image, steps))
            pixels[row] = array.transpose(2, 0, 1) if steps.channels == 3 else array[None]
        if grey and len(grey) == len(indices):
            raise InvalidData(
                f"The model takes colour images, but all {len(grey)} read here are grey "
                f"({grey[0]} is one). Choose colour images; or, if the model is meant to see grey "
                "ones, convert the files to RGB first."
            )
        if grey:
            return pixels, f"{len(grey)} grey files were repeated to 3 channels, {grey[0]} first."
        return pixels, ""


def plain_folder(path: Path) -> FolderImages:
    """List every image file under a folder, without labels.

    Raises:
        DataUnavailable: there is no such folder.
        InvalidData: it holds no image file.
    """
    files = _files(_existing(path))
    if not files:
        raise InvalidData(f"{path} holds no image files ({', '.join(sorted(SUFFIXES))}).")
    return FolderImages(files)


def labelled_folder(path: Path) -> tuple[FolderImages, FolderImages | None]:
    """List the images of a folder with one sub-folder for each class.

    Classes are numbered by the sorted order of their folder names, as torchvision's ImageFolder
    does.

    Args:
        path: Holds train/CLASS/ and val/CLASS/ (or test/CLASS/), or CLASS/ folders.

    Returns:
        (training images, held-out images); the second is None when there is no such division.

    Raises:
        DataUnavailable: there is no such folder.
        InvalidData: no classes, an empty class, or classes that differ between the two parts.
    """
    _existing(path)
    parts = [path / name for name in ("train", *_HELD_OUT) if (path / name).is_dir()]
    if not parts:
        return _classes(path), None
    if parts[0].name != "train" or len(parts) == 1:
        raise InvalidData(
            f"{path} has only {', '.join(part.name for part in parts)}; it needs train/ and val/ "
            "(or test/), or give a folder of class folders to be split by the seed."
        )
    train, held_out = _classes(parts[0]), _classes(parts[1])
    if train.class_names != held_out.class_names:
        differing = sorted(set(train.class_names) ^ set(held_out.class_names))
        raise InvalidData(
            f"{parts[0]} and {parts[1]} have different classes; only one has: "
            f"{', '.join(differing[:10])}."
        )
    return train, held_out


def _existing(path: Path) -> Path:
    if not path.is_dir():
        raise DataUnavailable(f"There is no folder {path}.")
    return path


def _files(folder: Path) -> tuple[Path, ...]:
    return tuple(
        sorted(
            path
            for path in folder.rglob("*")
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
        )
    )


def _classes(folder: Path) -> FolderImages:
    folders = sorted(
        child for child in folder.iterdir() if child.is_dir() and not child.name.startswith(".")
    )
    if not folders:
        raise InvalidData(
            f"{folder} has no class folders. Put each class into a folder of its own, or use "
            f"images:{folder} for images without labels."
        )
    paths: list[Path] = []
    labels: list[int] = []
    for number, child in enumerate(folders):
        files = _files(child)
        if not files:
            raise InvalidData(f"{child} holds no image files; fill the class or remove its folder.")
        paths += files
        labels += [number] * len(files)
    return FolderImages(tuple(paths), tuple(labels), tuple(child.name for child in folders))


def _open(path: Path) -> Image.Image:
    """Decode a whole file; Pillow's own exceptions differ by format."""
    try:
        with warnings.catch_warnings():
            # Pillow warns of truncated metadata and of very large images; it raises for real harm
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                image.load()
                return image.copy()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InvalidData(f"{path} cannot be read as an image ({error}); remove it.") from error


def _as_colour(image: Image.Image, path: Path) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode not in _GREY | _COLOUR:
        raise InvalidData(
            f"{path} has Pillow mode {image.mode!r}, which does not convert to 8-bit RGB without "
            "a choice of range; convert it first."
        )
    if "A" in image.mode or "transparency" in image.info:
        rgba = image.convert("RGBA")
        low, _ = rgba.getchannel("A").getextrema()
        if low != 255:
            raise InvalidData(f"{path} has transparent pixels; flatten it onto a background first.")
        return rgba.convert("RGB")
    return image.convert("RGB")


def _as_grey(image: Image.Image, path: Path) -> Image.Image:
    if image.mode in ("1", "L"):
        return image.convert("L")
    red, green, blue = _as_colour(image, path).split()
    if red.tobytes() != green.tobytes() or green.tobytes() != blue.tobytes():
        raise InvalidData(
            f"{path} is a colour image and the model takes grey ones; convert the files to grey "
            "first, or choose a model for colour."
        )
    return red


def _resize_and_crop(image: Image.Image, steps: Preprocessing) -> Image.Image:
    """Bring the shorter side to `resize`, keep the centre; equal to torchvision's transforms."""
    width, height = image.size
    short, long = min(width, height), max(width, height)
    new_long = int(steps.resize * long / short)
    size = (steps.resize, new_long) if width <= height else (new_long, steps.resize)
    filters = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
    if size != image.size:
        image = image.resize(size, filters[steps.interpolation])
    left = round((image.width - steps.crop) / 2)
    top = round((image.height - steps.crop) / 2)
    return image.crop((left, top, left + steps.crop, top + steps.crop))


def prepare_image(image: Image.Image, steps: Preprocessing) -> np.ndarray:
    """One decoded image as a network takes it: uint8 (channels, crop, crop).

    Grey is made of colour, and colour of grey, without a word: for sets that are known to hold
    photographs. Folders of the user's go through `FolderImages`, which reports it.
    """
    mode = "RGB" if steps.channels == 3 else "L"
    array = np.asarray(_resize_and_crop(image.convert(mode), steps))
    return array.transpose(2, 0, 1) if steps.channels == 3 else array[None]
