"""Crops of the photographs inside scikit-image's wheel: images for a network trained on ImageNet.

Every third photograph is held out: its crops are the test images, and nothing of it is calibrated
or searched on. Crops of one size do not overlap; those of different sizes do.
"""

import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

PHOTOGRAPHS = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "chelsea.png",
    "clock_motion.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "motorcycle_left.png",
    "retina.jpg",
    "rocket.jpg",
)
"""In skimage/data; half of a stereo pair and pictures that are no photographs are left out."""

HELD_OUT = PHOTOGRAPHS[2::3]
CROP, SIDES, MOST = 224, (224, 160, 112), 9
"""Pixels of an image; pixels of the squares cut out; most squares of a size from a photograph."""


def write_crops(wheel: Path, path: Path) -> dict[str, int]:
    """Write x (photographs to calibrate and search on) and x_test (held out) to a `.npz` file.

    Args:
        wheel: scikit-image's wheel; nothing of it is installed or run.
        path: The file to write: uint8 (n, 3, 224, 224).

    Returns:
        Photograph to its number of crops.
    """
    cut: dict[str, list[np.ndarray]] = {}
    with zipfile.ZipFile(wheel) as archive:
        for name in PHOTOGRAPHS:
            with archive.open(f"skimage/data/{name}") as stream, Image.open(stream) as image:
                # grey ones are repeated to three channels
                cut[name] = crops_of(image.convert("RGB"), PHOTOGRAPHS.index(name))
    train = [crop for name in PHOTOGRAPHS if name not in HELD_OUT for crop in cut[name]]
    test = [crop for name in HELD_OUT for crop in cut[name]]
    np.savez(path, x=np.stack(train), x_test=np.stack(test))
    return {name: len(crops) for name, crops in cut.items()}


def crops_of(image: Image.Image, seed: int) -> list[np.ndarray]:
    """The whole photograph's middle, then squares of each size: uint8 (3, 224, 224) each."""
    rng = np.random.default_rng(seed)
    width, height = image.size
    short = min(width, height)
    left, top = (width - short) // 2, (height - short) // 2
    boxes = [(left, top, short)]
    for side in SIDES:
        squares = [
            (x, y, side)
            for y in range(0, height - side + 1, side)
            for x in range(0, width - side + 1, side)
        ]
        kept = sorted(rng.permutation(len(squares))[:MOST])
        boxes += [squares[at] for at in kept]
    return [_resized(image, *box) for box in boxes]


def _resized(image: Image.Image, left: int, top: int, side: int) -> np.ndarray:
    square = image.crop((left, top, left + side, top + side))
    if side != CROP:
        square = square.resize((CROP, CROP), Image.Resampling.BILINEAR)
    return np.asarray(square).transpose(2, 0, 1)
