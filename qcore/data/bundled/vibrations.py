"""Vibrations of a made-up machine: windows of an accelerometer, usual ones and faulty ones.

Everything is computed from a seed, nothing is recorded or fetched: the data are part of this
program and under its licence. A shaft turns at 20 to 40 Hz and changes its speed within a window.
Usual are its harmonics, a gear's mesh with sidebands, noise, and a sensor whose gain differs from
window to window. Faulty are windows with one of three faults more: impulses at a bearing's fault
frequency that ring at a resonance (of the outer ring, or of the inner one, which passes through the
load once a turn), imbalance (more at the turning frequency) and looseness (half orders). The signal
is rounded as a 12-bit converter does, which also makes it the same on every machine.

Reference for fault frequencies and their signatures: Randall and Antoni, Rolling element bearing
diagnostics, a tutorial, Mechanical Systems and Signal Processing 25, 2011.
"""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch

from qcore.data.samples import Samples
from qcore.data.splits import Data, assemble, draw
from qcore.errors import InvalidData
from qcore.inputs import Input
from qcore.models.catalog import DATASETS

RATE = 2560
"""Samples a second: a window is a tenth of a second, two to four turns."""

WINDOW = DATASETS["vibrations"].inputs[0]
"""What a network of these windows takes: acceleration in g, (1, LENGTH)."""

LENGTH = WINDOW.shape[-1]
COUNTS = {"training": (4096, 0), "search": (1024, 1024), "test": (2000, 2000)}
"""Usual and faulty windows of each part."""

SEEDS = {"training": 20111, "search": 20112, "test": 20113}
FULL_SCALE, CODES = 8.0, 4096
_ORDERS = {1: (1.0, 0.0), 2: (0.55, 0.2), 3: (0.35, 0.7), 4: (0.18, 0.4), 5: (0.10, 0.9)}
_MESH, _MESH_AMPLITUDE = 13, 0.30
_OUTER, _INNER = 3.58, 5.42


def vibration_data(
    name: str,
    inputs: tuple[Input, ...],
    counts: tuple[int, int],
    seed: int,
    training: bool,
) -> Data:
    """Draw the splits.

    Those to train and to calibrate on are usual windows without labels. Those to search on and to
    test on are of both kinds, labelled 0 (usual) and 1 (faulty), each made apart.

    Args:
        name: The data name.
        inputs: What the network takes; () where none is named.
        counts: Windows to calibrate on and to search on.
        seed: Which are drawn; the windows themselves stay the same.
        training: Also give the usual windows that are left over.

    Raises:
        InvalidData: the network takes something else.
        InvalidParams: more windows are asked for than there are.
    """
    wanted = inputs or (WINDOW,)
    if [(each.shape, each.dtype) for each in wanted] != [(WINDOW.shape, WINDOW.dtype)]:
        raise InvalidData(
            f"This network takes {'; '.join(each.words for each in wanted)}, and {name} gives "
            f"{WINDOW.words}. Use tensors:/path, a file with a column for each input."
        )
    usual, mixed, test = (_samples(part, wanted) for part in COUNTS)
    calibration = draw(len(usual), counts[0], 0, seed, name)[0]
    search = draw(len(mixed), 0, counts[1], seed, name)[1]
    splits = [usual.at(calibration), mixed.at(search), test]
    data = assemble(name, (), splits, [calibration, search])
    if not training:
        return data
    left = torch.ones(len(usual), dtype=torch.bool)
    left[calibration] = False
    return replace(data, training=usual.at(left.nonzero().flatten())) if left.any() else data


def _samples(part: str, inputs: tuple[Input, ...]) -> Samples:
    windows, kinds = _made(part)
    labels = None if part == "training" else torch.from_numpy(kinds > 0).long()
    return Samples({inputs[0].name: torch.from_numpy(windows)}, inputs, labels)


@lru_cache(maxsize=3)
def _made(part: str) -> tuple[np.ndarray, np.ndarray]:
    return make_windows(*COUNTS[part], SEEDS[part])


class Chance:
    """Uniform and normal numbers whose stream no release of numpy changes."""

    def __init__(self, seed: int) -> None:
        self._bits = np.random.PCG64(seed)

    def uniform(self, low: float, high: float, *shape: int) -> np.ndarray:
        """Numbers in [low, high) of this shape."""
        raw = self._bits.random_raw(int(np.prod(shape))) >> np.uint64(11)
        return low + (high - low) * (raw * 2.0**-53).reshape(shape)

    def normal(self, *shape: int) -> np.ndarray:
        """Standard normal numbers of this shape, after Box and Muller."""
        radius = np.sqrt(-2 * np.log(1 - self.uniform(0, 1, *shape)))
        return radius * np.cos(2 * np.pi * self.uniform(0, 1, *shape))


def make_windows(usual: int, faulty: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Make windows: first usual ones, then faulty ones, the three kinds of fault in turn.

    Args:
        usual: How many usual ones.
        faulty: How many faulty ones.
        seed: Same seed, same windows.

    Returns:
        (acceleration float32 (n, 1, LENGTH) in g, kinds int64 (n,): 0 usual, 1 bearing, 2
        imbalance, 3 looseness).
    """
    chance, n = Chance(seed), usual + faulty
    kinds = np.concatenate([np.zeros(usual, int), 1 + np.arange(faulty) % 3])
    speed = chance.uniform(20, 40, n, 1)
    drift = chance.uniform(-0.05, 0.05, n, 1)
    time = np.arange(LENGTH) / RATE
    turns = speed * (time + drift * RATE / LENGTH * time**2 / 2) + chance.uniform(0, 1, n, 1)
    signal = _machine(turns, kinds, chance)
    signal += _bearing(turns, kinds, chance)
    signal += _noise(n, chance)
    signal *= np.exp(0.1 * chance.normal(n, 1))
    step = 2 * FULL_SCALE / CODES
    codes = np.clip(np.round(signal / step), -CODES // 2, CODES // 2 - 1)
    return (codes * step).astype(np.float32)[:, None], kinds


def _machine(turns: np.ndarray, kinds: np.ndarray, chance: Chance) -> np.ndarray:
    """Harmonics of the shaft and the gear's mesh, with what imbalance and looseness add."""
    n = len(turns)
    signal = np.zeros_like(turns)
    imbalance = np.where(kinds == 2, chance.uniform(2.0, 4.0, n), 1.0)[:, None]
    loose = np.where(kinds == 3, chance.uniform(0.2, 0.7, n), 0.0)[:, None]
    for order, (height, phase) in _ORDERS.items():
        size = height * np.exp(0.1 * chance.normal(n, 1)) * (imbalance if order == 1 else 1)
        lag = phase + 0.03 * chance.normal(n, 1)
        signal += size * np.sin(2 * np.pi * (order * turns + lag))
    for half in (0.5, 1.5, 2.5, 3.5):
        size = loose * np.exp(0.3 * chance.normal(n, 1)) / np.sqrt(half)
        signal += size * np.sin(2 * np.pi * (half * turns + chance.uniform(0, 1, n, 1)))
    size = _MESH_AMPLITUDE * np.exp(0.1 * chance.normal(n, 1))
    sideband = 1 + 0.4 * np.sin(2 * np.pi * (turns + 0.3))
    return signal + size * sideband * np.sin(2 * np.pi * _MESH * turns)


def _bearing(turns: np.ndarray, kinds: np.ndarray, chance: Chance) -> np.ndarray:
    """Impulses at a fault frequency, each ringing out at a resonance; 0 in other windows."""
    n = len(turns)
    inner = chance.uniform(0, 1, n, 1) < 0.5
    order = np.where(inner, _INNER, _OUTER)
    size = np.where(kinds == 1, chance.uniform(0.6, 2.0, n), 0.0)[:, None]
    resonance = chance.uniform(800, 1000, n, 1)
    damping = chance.uniform(250, 500, n, 1)
    passed = order * turns + chance.uniform(0, 1, n, 1)
    slope = np.gradient(passed, axis=1) * RATE
    since = (passed - np.floor(passed)) / slope
    load = np.where(inner, 0.5 + 0.5 * np.sin(2 * np.pi * turns), 1.0)
    return size * load * np.exp(-damping * since) * np.sin(2 * np.pi * resonance * since)


def _noise(n: int, chance: Chance) -> np.ndarray:
    """White noise and slower noise, whose strengths differ from window to window."""
    white = chance.normal(n, LENGTH + 8)
    sums = np.cumsum(white, axis=1)
    slow = (sums[:, 8:] - sums[:, :-8]) / np.sqrt(8)
    strength = 0.20 * np.exp(0.1 * chance.normal(n, 1))
    return strength * (0.8 * white[:, 8:] + 0.6 * slow)
