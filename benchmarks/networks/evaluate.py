"""What scoring costs: an already prepared candidate over the float network's own forward pass.

    python -m benchmarks.networks.evaluate

Both run interleaved in one process, one thread, the same images in the same batches; CPU seconds,
best of the rounds. Also: the full one-layer sensitivity table over (layers x widths) float passes.
Writes benchmarks/results/evaluate.json.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from qcore.allocation import BitAllocation
from qcore.models.zoo import build_model, load_model
from qcore.network.layers import find_layers
from qcore.ptq.calibration import Correction, float_allocation, measure_ranges
from qcore.ptq.model import QuantizedModel
from qcore.scoring.evaluator import batch_size_for
from qcore.sensitivity.measured import release, set_corrected
from qcore.sensitivity.prefix import PrefixReplay

RESULTS = Path(__file__).parents[1] / "results"
CASES = {
    "resnet20": ((1, 28, 28), 512),
    "mobilenet": ((1, 28, 28), 512),
    "resnet18": ((3, 224, 224), 16),
    "mobilenet_v2": ((3, 224, 224), 16),
}
WIDTHS = (2, 3, 4, 8)


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    started = time.process_time()
    work()
    return time.process_time() - started


@torch.inference_mode()
def forward(model: nn.Module, batches: list[Tensor]) -> None:
    """One pass over the images."""
    for batch in batches:
        model(batch)


def interleaved(tasks: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each task in each round, tasks taking turns."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for round_ in range(rounds + 1):
        for name, work in tasks.items():
            spent = cpu_seconds(work)
            if round_:
                seconds[name].append(spent)
    return seconds


def sensitivity_table(model: QuantizedModel, batches: list[Tensor], widths: list[int]) -> None:
    """The work of one measured table, as `qcore.sensitivity.measured` does it."""
    model.set_allocation(float_allocation(model))
    for batch in batches:
        replay = PrefixReplay(model, batch)
        for name, layer in model.layers.items():
            for bits in widths:
                set_corrected(model, layer, "weight", bits, replay.outputs[name])
                replay.run_from(name)
            release(model, layer)


def measure(name: str, rounds: int) -> dict[str, float | int | str]:
    """One row of the table."""
    shape, n = CASES[name]
    network = load_model(name) if shape[0] == 1 else build_model(name)
    network.eval()
    images = torch.rand(n, *shape, generator=torch.Generator().manual_seed(0))
    images = images.contiguous(memory_format=torch.channels_last)
    batches = list(images.split(batch_size_for(shape, "cpu")))
    plain = [batch.contiguous() for batch in batches]
    model = QuantizedModel(network, find_layers(network, images[:1].contiguous(), name))
    measure_ranges(model, batches[:1])
    correction = Correction(model, batches[:1])
    layers = model.spec.layers
    mixed = [WIDTHS[i % len(WIDTHS)] for i in range(len(layers))]
    weights_only = BitAllocation.uniform(layers, 4)
    both = BitAllocation.uniform(layers, 4, 8)
    for layer, bits in zip(layers, mixed, strict=True):
        model.prepared_weight(layer.name, bits)
    channels_last = load_model(name) if shape[0] == 1 else build_model(name)
    channels_last = channels_last.eval().to(memory_format=torch.channels_last)

    def candidate(allocation: BitAllocation) -> Callable[[], None]:
        def work() -> None:
            forward(model, batches)

        model.set_allocation(allocation)
        correction.apply()
        state = model.state()

        def switched() -> None:
            model.load_state(allocation, state)
            forward(model, batches)  # the first pass also folds the steps into the weights

        switched()
        return work

    rows: dict[str, list[float]] = {}
    tasks: dict[str, Callable[[], object]] = {
        "float": lambda: forward(network, plain),
        "float, channels last": lambda: forward(channels_last, batches),
    }
    for label, allocation in (("weights", weights_only), ("weights + activations", both)):
        work = candidate(allocation)
        seconds = interleaved({**tasks, label: work}, rounds)
        for key, values in seconds.items():
            rows.setdefault(key, []).extend(values)
    best = {key: min(values) for key, values in rows.items()}

    def switch_often() -> None:
        for _ in range(20):
            model.set_allocation(weights_only)

    switch = cpu_seconds(switch_often) / 20
    table = min(
        cpu_seconds(lambda: sensitivity_table(model, batches, list(WIDTHS))) for _ in range(2)
    )
    return {
        "model": name,
        "images": n,
        "float_ms_per_image": 1000 * best["float"] / n,
        "median_spread": statistics.median(rows["float"]) / best["float"],
        "weights_ratio": best["weights"] / best["float"],
        "weights_ratio_channels_last": best["weights"] / best["float, channels last"],
        "weights_activations_ratio": best["weights + activations"] / best["float"],
        "weights_activations_ratio_channels_last": best["weights + activations"]
        / best["float, channels last"],
        "switch_ms": 1000 * switch,
        "table_ratio": table / (best["float"] * len(layers) * len(WIDTHS)),
    }


def main() -> None:
    """Print and store every row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=list(CASES))
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "evaluate.json"
    rows = json.loads(path.read_text()) if path.exists() else {}
    for name in arguments.models:
        rows[name] = measure(name, arguments.rounds)
        path.write_text(json.dumps(rows, indent=1) + "\n")
        print(json.dumps(rows[name]))
    checks = (("weights_ratio", 1.0), ("weights_activations_ratio", 1.25), ("table_ratio", 0.5))
    for key, limit in checks:
        for name, row in rows.items():
            verdict = "pass" if float(row[key]) <= limit else "FAIL"
            print(f"{verdict}  {name}: {key} {float(row[key]):.2f} (limit {limit})")


if __name__ == "__main__":
    main()
