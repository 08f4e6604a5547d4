"""Image files for tests of folders."""

import numpy as np
from PIL import Image


def picture(path, size=(40, 30), mode="RGB", seed=0):
    """Write an image of noise, width by height."""
    channels = {"RGB": 3, "RGBA": 4, "L": 1, "CMYK": 4}[mode]
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], channels), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise.squeeze(), mode=None).convert(mode).save(path)
    return path


def rows(images):
    """The pixels of each image, to compare sets of them."""
    return {image.numpy().tobytes() for image in images.pixels}
