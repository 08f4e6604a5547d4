"""Trains the three image networks of the zoo on all of Fashion-MNIST and writes shipped weights.

    python -m benchmarks.networks.train_zoo resnet8 --epochs 14

SGD with Nesterov momentum, one-cycle rate, flips and shifts, label smoothing 0.05, seed 0, one
thread. The last epoch is kept; no checkpoint is chosen by test accuracy. State goes to
`benchmarks/results/zoo/` after every epoch, so a stopped run goes on where it was. The weights are
stored as half-precision floats, and the accuracy in the JSON beside them is of that file.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from qcore.data.fashion import DEFAULT_FASHION_FOLDERS, read_fashion_mnist
from qcore.models.catalog import MODELS
from qcore.models.zoo import BUNDLED, WEIGHTS, write_spec

RESULTS = Path(__file__).parents[1] / "results" / "zoo"
MEAN, STD = 0.2860, 0.3530


def normalise(images: Tensor) -> Tensor:
    """Turn uint8 images (n, 28, 28) into normalised floats (n, 1, 28, 28), channels last."""
    floats = images.float().div_(255).sub_(MEAN).div_(STD).unsqueeze(1)
    return floats.contiguous(memory_format=torch.channels_last)


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Flip each image with probability one half and shift it by up to two pixels."""
    n = len(images)
    flip = torch.rand(n, generator=generator) < 0.5
    images = torch.where(flip[:, None, None], images.flip(2), images)
    padded = nn.functional.pad(images, (2, 2, 2, 2))
    top, left = torch.randint(0, 5, (2, n), generator=generator)
    rows = top[:, None] + torch.arange(28)
    columns = left[:, None] + torch.arange(28)
    return padded[torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Top-1 accuracy in 0..1 on uint8 images."""
    model.eval()
    hits = sum(
        int((model(normalise(x)).argmax(1) == y).sum())
        for x, y in zip(images.split(250), labels.split(250), strict=True)
    )
    return hits / len(labels)


def main() -> None:
    """Train one network from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=sorted(n for n in BUNDLED if not MODELS[n].inputs))
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--rate", type=float, default=0.25)
    parser.add_argument("--data", type=Path, default=None, help="folder with the four idx.gz files")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    folders = [arguments.data] if arguments.data else list(DEFAULT_FASHION_FOLDERS)
    (train_x, train_y), (test_x, test_y) = read_fashion_mnist(folders)
    model = BUNDLED[arguments.model]().to(memory_format=torch.channels_last)
    decayed = [p for p in model.parameters() if p.dim() > 1]
    plain = [p for p in model.parameters() if p.dim() <= 1]
    batch = 128
    steps = arguments.epochs * (len(train_y) // batch)
    optimizer = torch.optim.SGD(
        [{"params": decayed, "weight_decay": 5e-4}, {"params": plain, "weight_decay": 0.0}],
        lr=arguments.rate,
        momentum=0.9,
        nesterov=True,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, arguments.rate, total_steps=steps, pct_start=0.2, cycle_momentum=False
    )
    state_path = RESULTS / f"{arguments.model}.state.pt"
    RESULTS.mkdir(parents=True, exist_ok=True)
    first = 0
    if state_path.exists():
        state = torch.load(state_path, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        first = state["epoch"]
    for epoch in range(first, arguments.epochs):
        generator = torch.Generator().manual_seed(1000 + epoch)
        order = torch.randperm(len(train_y), generator=generator)
        started, total = time.perf_counter(), 0.0
        model.train()
        for index in order.split(batch)[: len(train_y) // batch]:
            images = normalise(augment(train_x[index], generator))
            loss = nn.functional.cross_entropy(model(images), train_y[index], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        torch.save(
            {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "schedule": schedule.state_dict(),
                "epoch": epoch + 1,
            },
            state_path,
        )
        line = {
            "epoch": epoch + 1,
            "loss": total / (len(train_y) // batch),
            "test_accuracy": accuracy(model, test_x, test_y),
            "seconds": time.perf_counter() - started,
        }
        with (RESULTS / f"{arguments.model}.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")
    half = {
        key: value.half() if value.is_floating_point() else value
        for key, value in model.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    half = {key: value.contiguous() for key, value in half.items()}
    WEIGHTS.mkdir(parents=True, exist_ok=True)
    path = WEIGHTS / f"{arguments.model}.pt"
    torch.save(half, path)
    model.load_state_dict(torch.load(path, weights_only=True), strict=False)
    facts = {
        "model": arguments.model,
        "data": "fashion-mnist",
        "trained_on": len(train_y),
        "test_accuracy": accuracy(model, test_x, test_y),
        "test_images": len(test_y),
        "epochs": arguments.epochs,
        "peak_rate": arguments.rate,
        "seed": 0,
        "parameters": sum(p.numel() for p in model.parameters()),
        "torch": torch.__version__.split("+")[0],
    }
    (WEIGHTS / f"{arguments.model}.json").write_text(json.dumps(facts, indent=1) + "\n")
    write_spec(arguments.model)


if __name__ == "__main__":
    main()
