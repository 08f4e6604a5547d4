"""Fashion-MNIST: the subset in the repository, and the full set from its four files.

Reference: Xiao, Rasul and Vollgraf, Fashion-MNIST, arXiv 1708.07747, 2017. MIT licence, beside the
subset.
"""

import gzip
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from qcore.errors import DataUnavailable, InvalidData

SHIPPED_FASHION = Path(__file__).parents[1] / "datasets" / "fashion_mnist.npz"
"""The subset in the repository: 1,000 training images a class and all 10,000 test images."""

DEFAULT_FASHION_FOLDERS = (
    Path("data/FashionMNIST/raw"),
    Path("/usr/share/datasets/fashion-mnist"),
)
"""Where the full set is looked for: torchvision's download and the Debian package."""

FASHION_CLASSES: tuple[str, ...] = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

Labelled = tuple[Tensor, Tensor]


def read_fashion_mnist(folders: Iterable[Path]) -> tuple[Labelled, Labelled]:
    """Read the full Fashion-MNIST from the first folder that holds its four .gz files.

    Args:
        folders: Folders to look in, in order.

    Returns:
        ((train_x, train_y), (test_x, test_y)): images uint8 (60000, 28, 28) and (10000, 28, 28),
        labels int64.

    Raises:
        DataUnavailable: none of the folders has the files.
        InvalidData: a file is damaged.
    """
    folders = [Path(folder) for folder in folders]
    stems = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    for folder in folders:
        paths = [folder / f"{stem}-ubyte.gz" for stem in stems]
        if all(path.is_file() for path in paths):
            parts = [_read_idx(path) for path in paths]
            _check_counts(folder, parts)
            return (parts[0], parts[1].long()), (parts[2], parts[3].long())
    looked = ", ".join(str(folder) for folder in folders)
    raise DataUnavailable(
        f"The full Fashion-MNIST is not in {looked}. Put its four .gz files into one of them, "
        "install the Debian package dataset-fashion-mnist, or use the shipped subset (full=False)."
    )


def load_fashion_mnist(root: Path | None, full: bool) -> tuple[Labelled, Labelled]:
    """Return the shipped subset, or the full set, as images (n, 1, 28, 28) and labels.

    Args:
        root: For the full set, a folder to look in before the usual ones.
        full: All 60,000 training images instead of the shipped 10,000.

    Raises:
        DataUnavailable: the files are not there.
        InvalidData: a file is damaged.
    """
    if full:
        given = () if root is None else (root, root / "FashionMNIST" / "raw")
        train, test = read_fashion_mnist((*given, *DEFAULT_FASHION_FOLDERS))
        return (train[0].unsqueeze(1), train[1]), (test[0].unsqueeze(1), test[1])
    if not SHIPPED_FASHION.is_file():
        raise DataUnavailable(
            f"{SHIPPED_FASHION} is missing; restore it from the repository, or write it anew with "
            "python -m benchmarks.networks.make_subset."
        )
    with np.load(SHIPPED_FASHION, allow_pickle=False) as stored:
        parts = {key: torch.from_numpy(stored[key]) for key in stored.files}
    return (
        (parts["train_images"].unsqueeze(1), parts["train_labels"].long()),
        (parts["test_images"].unsqueeze(1), parts["test_labels"].long()),
    )


def _read_idx(path: Path) -> Tensor:
    """Read one IDX file of bytes (magic 0x0801 labels, 0x0803 images)."""
    try:
        raw = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, ValueError) as error:
        raise InvalidData(f"{path} is damaged ({error}); fetch it again.") from error
    header = np.frombuffer(raw[: 4 * (1 + raw[3])] if len(raw) > 3 else b"", dtype=">i4")
    shape = tuple(int(size) for size in header[1:])
    if not shape or header[0] not in (0x801, 0x803) or len(raw) != header.nbytes + np.prod(shape):
        raise InvalidData(f"{path} is not an IDX file of bytes, or is cut short; fetch it again.")
    values = np.frombuffer(raw, np.uint8, offset=header.nbytes).reshape(shape)
    return torch.from_numpy(values.copy())


def _check_counts(folder: Path, parts: Sequence[Tensor]) -> None:
    for images, labels in ((parts[0], parts[1]), (parts[2], parts[3])):
        if images.dim() != 3 or labels.dim() != 1 or len(images) != len(labels):
            raise InvalidData(
                f"{folder} holds {tuple(images.shape)} images for {tuple(labels.shape)} labels; "
                "fetch the files again."
            )
