"""One checkpoint answers at many widths: no weights are loaded twice, nothing is calibrated.

    OMP_NUM_THREADS=1 python -m benchmarks.training.one_checkpoint       # trains one first, minutes
    OMP_NUM_THREADS=1 python -m benchmarks.training.one_checkpoint FILE  # a stage of a bitmixer run

Prints the test accuracy, the bytes and the time to switch for every switch of the network, then for
random allocations, layer by layer, and checks that going back gives the very logits of before.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from qcore.allocation import BitAllocation
from qcore.data import load_data
from qcore.engine import drive
from qcore.models.zoo import load_model
from qcore.prepare import prepare
from qcore.qat.checkpoints import MemoryCheckpoints
from qcore.qat.model import TrainableModel
from qcore.qat.switchable.runtime import load_switchable
from qcore.qat.switchable.size import float_payload, payload_of, payload_of_all
from qcore.qat.switches import random_allocation
from qcore.run_spec import RunSpec
from qcore.scoring.evaluator import to_batches
from qcore.searches import SEARCHES
from qcore.trees import part

STAGE = "layer-wise"


def trained(model: str, epochs: int, epoch_images: int) -> bytes:
    """The last stage of a short Bit-Mixer training at 2, 3 and 4 bits."""
    spec = RunSpec(
        model=model, data="fashion-mnist", search="bitmixer", weight_bits=(2, 3, 4),
        activation_bits=(2, 3, 4), pin_first_last=8, device="cpu",
    )  # fmt: skip
    kept = MemoryCheckpoints()
    prepared = prepare(spec, checkpoints=kept)
    first, second = round(0.2 * epochs), round(0.3 * epochs)
    params = {
        "input_epochs": first, "network_epochs": second, "layer_epochs": epochs - first - second,
        "epoch_images": epoch_images, "methods": [], "samples": 0,
    }  # fmt: skip
    search = SEARCHES["bitmixer"]
    drive(
        search, prepared.problem, search.read_params(params), 0, score=prepared.score,
        on_event=lambda event: print(getattr(event, "message", ""), flush=True),
    )  # fmt: skip
    data: bytes = prepared.trainer.saved(STAGE)
    return data


@torch.inference_mode()
def accuracy(model: TrainableModel, batches: list) -> float:
    """Share of images named right."""
    hits = sum(int((model(x).argmax(1) == y).sum()) for x, y in batches)
    return hits / sum(len(x) for x, _ in batches)


def show(model: TrainableModel, words: str, allocation: BitAllocation, batches: list) -> None:
    """Switch, and print a line."""
    started = time.perf_counter()
    model.set_allocation(allocation)
    seconds = time.perf_counter() - started
    size = payload_of(model, allocation).total
    share = accuracy(model, batches)
    print(f"{words:>12}  {100 * share:6.2f} %  {size:>9,} B  switched in {1e3 * seconds:.2f} ms")


def main() -> None:
    """Load, switch, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--model", default="resnet8")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--epoch-images", type=int, default=4000)
    parser.add_argument("--random", type=int, default=8)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.file is None:
        state = trained(arguments.model, arguments.epochs, arguments.epoch_images)
    else:
        state = arguments.file.read_bytes()
    data = load_data("fashion-mnist", calibration=64, search=64, model=arguments.model)
    batches = to_batches(data.test, 128, "cpu")
    model = load_switchable(
        load_model(arguments.model), part(batches[0][0], slice(1)), state, arguments.model
    )
    if model.plan is None:
        return
    x = batches[0][0]
    with torch.inference_mode():
        before = model(x)
    for name, switch in model.plan.switches.items():
        show(model, name, switch, batches)
    rng = np.random.default_rng(0)
    for number in range(arguments.random if model.plan.kind != "switch" else 0):
        drawn = random_allocation(model.plan.rungs, rng)
        show(model, f"random {number + 1}", drawn, batches)
    model.set_switch(next(iter(model.plan.switches)))
    with torch.inference_mode():
        same = torch.equal(model(x), before)
    print("back at the first switch the logits are", "the same" if same else "DIFFERENT")
    everything, plain = payload_of_all(model), float_payload(model)
    print(f"all of it: {everything.total:,} B, of which norms {everything.norms:,} B; the float "
          f"network: {plain.total:,} B")  # fmt: skip


if __name__ == "__main__":
    main()
