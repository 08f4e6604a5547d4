"""What the Guide computes while one reads: weights and pictures on few codes, a front. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

import qcore
from qcore.allocation import ModelSpec
from qcore.problem import SensitivityTable

WEIGHTS = Path(__file__).parent / "weights.npy"
"""The 4,608 weights of resnet8's layer2.0.conv1, in half precision."""

PICTURES = Path(qcore.__file__).parent / "datasets" / "fashion_mnist.npz"
SHOWN_PICTURE = 0
CLIPS = 40


@dataclass(frozen=True)
class Snapped:
    """Weights on a grid.

    Attributes:
        step: Distance of two neighbouring codes' values.
        codes: Integer code of each weight.
        values: step * code, what is left of each weight.
        error: Root of the mean squared change, as a share of the weights' own spread.
    """

    step: float
    codes: np.ndarray
    values: np.ndarray
    error: float


def code_range(bits: int) -> tuple[int, int]:
    """Smallest and largest code of so many bits, 1 to 8; -1 and 1, without 0, of one."""
    return (-1, 1) if bits == 1 else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def snapped(weights: np.ndarray, bits: int) -> Snapped:
    """Weights on at most 2^bits codes, with the step of least squared error among some.

    Args:
        weights: (n,), not all zero.
        bits: 1 to 8.
    """
    low, high = code_range(bits)
    largest = float(np.abs(weights).max())
    best: Snapped | None = None
    for clip in np.linspace(1 / CLIPS, 1, CLIPS):
        step = clip * largest / max(1, high)
        codes = (
            np.where(weights >= 0, 1, -1)
            if bits == 1
            else np.clip(np.round(weights / step), low, high).astype(int)
        )
        error = float(np.sqrt(np.mean((step * codes - weights) ** 2)) / weights.std())
        if best is None or error < best.error:
            best = Snapped(step, codes, step * codes, error)
    if best is None:
        raise ValueError("there is no step to choose from")
    return best


@cache
def weights() -> np.ndarray:
    """A real layer's weights, (4608,)."""
    return np.load(WEIGHTS, allow_pickle=False).astype(float)


@cache
def picture() -> np.ndarray | None:
    """The first shipped test image, uint8 (28, 28); None where the file is not there."""
    if not PICTURES.is_file():
        return None
    with np.load(PICTURES, allow_pickle=False) as stored:
        return np.array(stored["test_images"][SHOWN_PICTURE])


def coarse(image: np.ndarray, bits: int) -> np.ndarray:
    """A picture of 2^bits greys, uint8."""
    top = 2**bits - 1
    return np.round(np.round(image / 255 * top) / top * 255).astype(np.uint8)


def divergence(float_shares: np.ndarray, shares: np.ndarray) -> float:
    """Kullback-Leibler divergence of two distributions over classes, nats."""
    return float(np.sum(float_shares * np.log(float_shares / shares)))


def layer_shares(table: SensitivityTable, model: ModelSpec) -> dict[str, tuple[float, float]]:
    """Layer to its percent of all weights, and of the damage of each layer alone at fewest bits."""
    fewest: Mapping[str, float] = {
        name: row[min(row)] for name, row in table.weight.items() if row and name in model.names
    }
    total = math.fsum(fewest.values())
    weighing = sum(layer.weights for layer in model.layers)
    if not total > 0 or set(fewest) != set(model.names):
        return {}
    return {
        layer.name: (100 * layer.weights / weighing, 100 * fewest[layer.name] / total)
        for layer in model.layers
    }


def made_up_points(count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Sizes (KiB) and losses (points) of a drawing, not measured: smaller loses more."""
    rng = np.random.default_rng(8)
    size = rng.uniform(18, 76, count)
    return size, 260 / size**1.4 + rng.gamma(1.5, 0.7, count)


def front_places(size: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """Places of the points that no other is both smaller and better than, by rising size."""
    order = np.lexsort((loss, size))
    best = np.minimum.accumulate(loss[order])
    first = np.concatenate([[True], best[1:] < best[:-1]])
    return order[first]
