"""Trains the bundled anomaly detector on machine vibrations and writes its shipped weights.

    OMP_NUM_THREADS=1 python -m benchmarks.networks.train_bearing

An autoencoder learns to give back usual windows (`qcore.data.bundled.vibrations`, made from a seed,
under this program's licence); it never sees a faulty one, and the last epoch is kept. AdamW with
one-cycle rate, seed 0, one thread: about three minutes. The weights are stored as half-precision
floats, and the area under the ROC curve in the JSON beside them is of that file, on the test
windows.
"""

import argparse
import json
import math
import time

import torch
from torch import Tensor, nn

from qcore.data.bundled.vibrations import COUNTS, SEEDS, make_windows
from qcore.judges import Judge
from qcore.models.catalog import MODELS
from qcore.models.zoo import WEIGHTS, build_model, load_model, write_spec

NAME, BATCH = "bearing", 128


@torch.no_grad()
def area(network: nn.Module, judge: Judge, windows: Tensor, labels: Tensor) -> tuple[float, float]:
    """Area under the ROC curve, 0..1, on windows (n, 1, length) labelled 0 and 1 (n,).

    Returns:
        (the area, its standard error).
    """
    network.eval()
    marks = [
        judge.marks(judge.read(network(x), x), y)
        for x, y in zip(windows.split(500), labels.split(500), strict=True)
    ]
    placed = judge.marked(torch.cat(marks)).double()
    return float(placed.mean()), float(placed.std()) / math.sqrt(len(placed))


def train(network: nn.Module, windows: Tensor, epochs: int, rate: float) -> None:
    """Train in place to give back windows (n, 1, length), printing each epoch's mean error."""
    steps = epochs * (len(windows) // BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    network.train()
    for epoch in range(epochs):
        order = torch.randperm(len(windows), generator=torch.Generator().manual_seed(epoch))
        started, total = time.perf_counter(), 0.0
        for index in order.split(BATCH)[: len(windows) // BATCH]:
            x = windows[index]
            loss = (network(x) - x).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        mean, seconds = total / (len(windows) // BATCH), time.perf_counter() - started
        print(f"epoch {epoch + 1}: error {mean:.4f}, {seconds:.1f} s", flush=True)


def main() -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--rate", type=float, default=4e-3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    entry = MODELS[NAME]
    windows = torch.from_numpy(make_windows(*COUNTS["training"], SEEDS["training"])[0])
    network = build_model(NAME)
    started = time.perf_counter()
    train(network, windows, arguments.epochs, arguments.rate)
    minutes = (time.perf_counter() - started) / 60
    half = {
        key: value.half() if value.is_floating_point() else value
        for key, value in network.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    torch.save(half, WEIGHTS / f"{NAME}.pt")
    tested, kinds = map(torch.from_numpy, make_windows(*COUNTS["test"], SEEDS["test"]))
    score, error = area(load_model(NAME), entry.judge, tested, kinds > 0)
    facts = {
        "model": NAME,
        "data": "vibrations",
        "trained_on": len(windows),
        "test_score": score,
        "test_error": error,
        "test_samples": len(tested),
        "epochs": arguments.epochs,
        "peak_rate": arguments.rate,
        "seed": 0,
        "minutes": round(minutes, 1),
        "parameters": sum(p.numel() for p in network.parameters()),
        "torch": torch.__version__.split("+")[0],
    }
    (WEIGHTS / f"{NAME}.json").write_text(json.dumps(facts, indent=1) + "\n")
    write_spec(NAME)
    print(f"area under the ROC curve on {len(tested):,} test windows: {score:.4f} +- {error:.4f}")


if __name__ == "__main__":
    main()
