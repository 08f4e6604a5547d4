"""Writes the Fashion-MNIST subset that bitdial ships.

    python -m benchmarks.networks.make_subset [--data FOLDER]

1,000 training images of each class, drawn with seed 0 from the 60,000, and all 10,000 test images,
in one compressed numpy file. `train_index` says which of the 60,000 each one is. The same full set
gives the same file, byte for byte, with the same numpy and zlib.
"""

import argparse
from pathlib import Path

import numpy as np

from qcore.data import DEFAULT_FASHION_FOLDERS, SHIPPED_FASHION, read_fashion_mnist

PER_CLASS = 1000
SEED = 0


def balanced_index(labels: np.ndarray, per_class: int, seed: int) -> np.ndarray:
    """Indices of `per_class` images of every class, ascending; (classes * per_class,) int64."""
    rng = np.random.default_rng(seed)
    picks = [
        rng.choice(np.flatnonzero(labels == number), per_class, replace=False)
        for number in np.unique(labels)
    ]
    return np.sort(np.concatenate(picks))


def main() -> None:
    """Write the file from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=None, help="folder with the four idx.gz files")
    parser.add_argument("--out", type=Path, default=SHIPPED_FASHION)
    arguments = parser.parse_args()
    folders = [arguments.data] if arguments.data else DEFAULT_FASHION_FOLDERS
    (train_x, train_y), (test_x, test_y) = read_fashion_mnist(folders)
    index = balanced_index(train_y.numpy(), PER_CLASS, SEED)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        arguments.out,
        train_images=train_x.numpy()[index],
        train_labels=train_y.numpy()[index].astype(np.uint8),
        train_index=index,
        test_images=test_x.numpy(),
        test_labels=test_y.numpy().astype(np.uint8),
    )
    print(f"{arguments.out}: {arguments.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
