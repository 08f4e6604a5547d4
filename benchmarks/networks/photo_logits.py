"""What a float network and an ONNX file made of it say about the test images, as JSON.

    python -m benchmarks.networks.photo_logits MODEL DATA CALIBRATION SEARCH FILE.onnx PHOTOS.json

Run by imagenet_photos, in a process of its own so that its memory can be told.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.networks.photo_crops import HELD_OUT
from qcore.data import load_data
from qcore.formats.exports.torch_side.run_onnx import logits
from qcore.models import _torchvision
from qcore.models.zoo import load_model


def main(words: Sequence[str]) -> None:
    """Run both and print what they say."""
    model, name, calibration, search, file, counts = words
    data = load_data(name, calibration=int(calibration), search=int(search), model=model)
    images = torch.cat([x for x, _ in data.test.batches(len(data.test))])
    network = load_model(model)

    def floats(x: Tensor) -> np.ndarray:
        with torch.inference_mode():
            return np.concatenate([network(part).numpy() for part in x.split(16)])

    wanted, float_ms = _timed(floats, images)
    content = Path(file).read_bytes()
    report: dict[str, Any] = {"n": len(images), "float_ms_per_image": float_ms}
    for key, optimise in (("as_written", False), ("optimised", True)):
        found, ms = _timed(partial(logits, content, optimise=optimise), images)
        same = found.argmax(1) == wanted.argmax(1)
        report[key] = {"agrees": same.astype(int).tolist(), "ms_per_image": ms}
    print(json.dumps({**report, "names": names_of(wanted, json.loads(Path(counts).read_text()))}))


def _timed(run: Callable[[Tensor], np.ndarray], images: Tensor) -> tuple[np.ndarray, float]:
    started = time.perf_counter()
    found = run(images)
    return found, 1000 * (time.perf_counter() - started) / len(images)


def names_of(scores: np.ndarray, counts: dict[str, int]) -> dict[str, str]:
    """Held-out photograph to what the float network calls the whole of it, and how surely."""
    models = _torchvision.torchvision.models
    categories = models.MobileNet_V2_Weights.IMAGENET1K_V1.meta["categories"]
    starts = np.cumsum([0, *(counts[photograph] for photograph in HELD_OUT)])
    found = {}
    for photograph, start in zip(HELD_OUT, starts, strict=False):
        shares = np.exp(scores[start] - scores[start].max())
        best = int(shares.argmax())
        found[photograph] = f"{categories[best]} ({shares[best] / shares.sum():.2f})"
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
