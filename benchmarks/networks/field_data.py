"""Samples for networks that public packages carry, made from what is on any machine.

Text comes from the standard library's own documents, pictures and letters from matplotlib's samples
and fonts, bytes from installed files. Nothing is fetched, and nothing of it is committed.
"""

import sysconfig
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
from PIL import Image, ImageDraw, ImageFont

PACKAGE_SIZE = 1024
"""Bytes that magika reads from either end of a file."""

PADDING = 256
WORDS = 8


def sentences(most: int = 4000) -> list[str]:
    """Different sentences of Python's own documents, 40 to 220 characters long."""
    found: dict[str, None] = {}
    for text in topics.values():
        for part in " ".join(text.replace("*", "").replace("`", "").split()).split(". "):
            if 40 <= len(part) <= 220:
                found.setdefault(part, None)
    return list(found)[:most]


def text_lines(n: int, height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of lines of text, some upside down.

    Returns:
        uint8 (n, 3, height, width), and 0 for upright and 1 for upside down (n,).
    """
    rng, lines = np.random.default_rng(seed), sentences()
    fonts = _fonts()
    x, y = np.empty((n, 3, height, width), np.uint8), rng.integers(0, 2, n)
    for at in range(n):
        words = lines[rng.integers(len(lines))].split()[: int(rng.integers(2, WORDS))]
        ground, ink = (int(v) for v in (rng.integers(170, 256), rng.integers(0, 90)))
        picture = Image.new("L", (width, height), ground)
        size = int(rng.integers(height // 3, height * 3 // 4))
        font = ImageFont.truetype(str(fonts[rng.integers(len(fonts))]), size)
        ImageDraw.Draw(picture).text((4, (height - size) // 2 - 2), " ".join(words), ink, font)
        picture = picture.rotate(180) if y[at] else picture
        noise = rng.normal(0, 8, (height, width))
        x[at] = np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8)
    return x, y


def _fonts() -> list[Path]:
    spec = find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise RuntimeError("matplotlib is in requirements.txt")
    return sorted((Path(spec.origin).parent / "mpl-data/fonts/ttf").glob("DejaVu*.ttf"))


def pages_of_text(n: int, side: int, seed: int = 0) -> np.ndarray:
    """Pictures of a few lines of text at random places, uint8 (n, 3, side, side)."""
    rng, lines, fonts = np.random.default_rng(seed), sentences(), _fonts()
    x = np.empty((n, 3, side, side), np.uint8)
    for at in range(n):
        picture = Image.new("L", (side, side), int(rng.integers(150, 256)))
        draw = ImageDraw.Draw(picture)
        for _ in range(int(rng.integers(1, 5))):
            font = ImageFont.truetype(
                str(fonts[rng.integers(len(fonts))]), int(rng.integers(10, 28))
            )
            words = " ".join(lines[rng.integers(len(lines))].split()[:3])
            place = (int(rng.integers(0, side // 2)), int(rng.integers(0, side - 20)))
            draw.text(place, words, int(rng.integers(0, 100)), font)
        x[at] = np.clip(np.asarray(picture) + rng.normal(0, 6, (side, side)), 0, 255)
    return x


def file_starts(n: int, seed: int = 0) -> np.ndarray:
    """Beginnings and ends of installed files as magika reads them, int32 (n, 2048)."""
    rng = np.random.default_rng(seed)
    files = sorted(path for path in _installed() if path.stat().st_size >= 64)
    chosen = rng.permutation(len(files))[:n]
    x = np.full((len(chosen), 2 * PACKAGE_SIZE), PADDING, np.int32)
    for row, at in enumerate(chosen):
        content = files[at].read_bytes()
        first = np.frombuffer(content.lstrip()[:PACKAGE_SIZE], np.uint8)
        last = np.frombuffer(content.rstrip()[-PACKAGE_SIZE:], np.uint8)
        x[row, : len(first)] = first
        x[row, 2 * PACKAGE_SIZE - len(last) :] = last
    return x


def _installed() -> Iterator[Path]:
    """Files of every kind, from the standard library and what is installed, evenly by ending."""
    roots = [sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), "/usr/share"]
    counts: dict[str, int] = {}
    for root in dict.fromkeys(roots):
        for path in sorted(Path(root).rglob("*")):
            kind = path.suffix.lower()
            if counts.get(kind, 0) < 60 and path.is_file() and not path.is_symlink():
                counts[kind] = counts.get(kind, 0) + 1
                yield path


def mosaics(n: int, side: int, margin: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Bayer mosaics of a photograph's patches, and the patches without their margin.

    Returns:
        float32 (n, 3, side, side) and (n, 3, side - 2 margin, side - 2 margin), both in 0..1.
    """
    spec = find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise RuntimeError("matplotlib is in requirements.txt")
    place = Path(spec.origin).parent / "mpl-data/sample_data/grace_hopper.jpg"
    with Image.open(place) as opened:
        photo = np.asarray(opened.convert("RGB"), np.float32).transpose(2, 0, 1) / 255
    rng = np.random.default_rng(seed)
    mask = np.zeros((3, side, side), np.float32)
    mask[1, ::2, ::2] = mask[1, 1::2, 1::2] = 1
    mask[0, ::2, 1::2] = 1
    mask[2, 1::2, ::2] = 1
    x, y = [], []
    for _ in range(n):
        top, left = (int(rng.integers(0, size - side)) for size in photo.shape[1:])
        patch = photo[:, top : top + side, left : left + side]
        patch = patch[:, :, ::-1] if rng.integers(2) else patch
        x.append(patch * mask)
        y.append(patch[:, margin : side - margin, margin : side - margin])
    return np.stack(x), np.stack(y)
