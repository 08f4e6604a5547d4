"""Records the results a new database begins with: an image network and two others.

    OMP_NUM_THREADS=1 python -m benchmarks.dashboard.record
    OMP_NUM_THREADS=1 python -m benchmarks.dashboard.record --model bearing
    OMP_NUM_THREADS=1 python -m benchmarks.dashboard.record --model verse_decoder

Weights and activations of 2, 3, 4 or 8 bits, first and last layer at 8. Three seeds of what depends
on one. Searches along the whole front where they can; at a mean of 3 bits, CMA-ES of 4 too, where
they know one budget only: weight bytes at the mean, bit operations at its square. On resnet8 and
Fashion-MNIST every method: those that train see 8,000 images an epoch of the full training set, a
miniature of what is published. On bearing and its vibrations eight methods, one of them taught
by the float network for want of labels, and fewer tested points, for the scores of each sample are
numbers and take room. On verse_decoder and its verses three methods with weights of 2 to 8 bits by
GPTQ and activations in float; their files hold codes, and are left out of the recording.

Runs are kept in a database of their own, so the script can be stopped and started at will; the file
in store/recordings is written again after every run. About an hour and a half on one core for
resnet8, a quarter of an hour each for the others.
"""

import argparse
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import update

from qcore import __version__
from qcore.errors import StoreError
from qcore.models.catalog import bundled_spec, default_data
from qcore.run_spec import RunSpec
from qcore.searches import SEARCHES
from store.database import Store, open_store
from store.database.schema import RunRow
from store.runs import queue
from store.runs.recorded import FOLDER, dump_runs, load_recordings
from store.workers import worker

MODEL, OTHER, LANGUAGE = "resnet8", "bearing", "verse_decoder"
WIDTHS = (2, 3, 4, 8)
REPORTED = 40
"""Points of each run that the test split sees: nearly all of its fronts, so picks have files."""

MEANS = {"cmaes": (3, 4), "gradfreebits": (3,), "dq": (3,)}
SEEDS = (0, 1, 2)
TRAIN = {"epoch_images": 8000}
FRONTS: dict[str, dict[str, Any]] = {
    "uniform": {},
    "portfolio": {"points": 8, "exchanges": 24},
    "greedy": {"points": 10},
    "exact": {"points": 10},
}
"""Searches without chance, and their settings; one seed."""

CHANCE: dict[str, dict[str, Any]] = {"random": {"evaluations": 60}, "nsga2": {"evaluations": 240}}
"""Searches of the trained network that draw at random, and their settings."""

SWITCHABLE: dict[str, dict[str, Any]] = {
    "bitmixer": {"input_epochs": 1, "network_epochs": 2, "layer_epochs": 3, "points": 8, **TRAIN},
    "spnets": {"epochs": 2, **TRAIN},
}
"""Searches that train one network for many allocations, and their settings."""

BUDGETED: dict[str, dict[str, Any]] = {
    "cmaes": {"evaluations": 240},
    "gradfreebits": {"evaluations": 120, **TRAIN},
    "dq": {"bits_epochs": 3, "final_epochs": 2, **TRAIN},
}
"""Searches that meet one budget, and their settings."""

BINARY: dict[str, Any] = {"epochs": 4, "tail_epochs": 1, **TRAIN}


OTHER_REPORTED = {"uniform": 20, "portfolio": 20, "greedy": 10, "exact": 10}
"""Points that the test split sees of the other network's runs; 8 of any other search."""

OTHER_CHANCE: dict[str, dict[str, Any]] = {
    "random": {"evaluations": 40},
    "nsga2": {"evaluations": 120},
    "cmaes": {"evaluations": 120},
    "dq": {"bits_epochs": 3, "final_epochs": 2, "distillation": 1.0},
}
"""Searches of the other network that draw at random, and their settings."""


LANGUAGE_FRONTS: dict[str, tuple[dict[str, Any], int]] = {
    "uniform": ({}, 6),
    "portfolio": ({"kinds": ("gradient", "gradient_pairs"), "points": 4, "exchanges": 4}, 5),
    "exact": ({"sensitivity": "gradient", "points": 5}, 4),
}
"""Searches of the language model: their settings, and points that the test split sees."""


def limits_of(mean: int, model: str = MODEL) -> dict[str, float]:
    """Weight bytes at `mean` bits and bit operations at its square, over all layers."""
    layers = bundled_spec(model).layers
    weights, macs = sum(x.weights for x in layers), sum(x.macs for x in layers)
    return {"weight_bytes": float(weights * mean // 8), "bit_ops": float(macs * mean * mean)}


def specs_of(model: str) -> list[tuple[str, RunSpec]]:
    """Every run of a network, with its name."""
    return list({MODEL: specs, OTHER: other_specs, LANGUAGE: language_specs}[model]())


def language_specs() -> Iterator[tuple[str, RunSpec]]:
    """Runs of the language model; their names say so."""
    for search, (params, reported) in LANGUAGE_FRONTS.items():
        spec = RunSpec(
            LANGUAGE, default_data(LANGUAGE), search, params, seed=SEEDS[0], reported=reported,
            weight_bits=(2, 3, 4, 5, 6, 8), rounding="gptq", calibration_images=512,
            search_images=128, device="cpu",
        )  # fmt: skip
        yield f"{search} on {LANGUAGE}", spec


def other_specs() -> Iterator[tuple[str, RunSpec]]:
    """Runs of the network that takes no images; their names say so."""
    common: dict[str, Any] = {
        "device": "cpu",
        "pin_first_last": 8,
        "weight_bits": WIDTHS,
        "activation_bits": WIDTHS,
    }
    data = default_data(OTHER)
    for search, params in FRONTS.items():
        reported = OTHER_REPORTED[search]
        yield (
            f"{search} on {OTHER}",
            RunSpec(OTHER, data, search, params, seed=SEEDS[0], reported=reported, **common),
        )
    for seed in SEEDS:
        for search, params in OTHER_CHANCE.items():
            limits = limits_of(3, OTHER) if search in MEANS else {}
            spec = RunSpec(
                OTHER, data, search, params, seed=seed, limits=limits, reported=8, **common
            )
            yield f"{search} on {OTHER}, seed {seed}", spec


def specs() -> Iterator[tuple[str, RunSpec]]:
    """Every run, with its name: first those without chance, then seed by seed."""
    common: dict[str, Any] = {"reported": REPORTED, "device": "cpu", "pin_first_last": 8}
    both: dict[str, Any] = {"weight_bits": WIDTHS, "activation_bits": WIDTHS}

    def spec(search: str, params: Mapping[str, Any], seed: int, **more: Any) -> RunSpec:
        return RunSpec(MODEL, "fashion-mnist", search, params, seed=seed, **{**common, **more})

    for search, params in FRONTS.items():
        yield search, spec(search, params, SEEDS[0], **both)
    for seed in SEEDS:
        for search, params in BUDGETED.items():
            for mean in MEANS[search]:
                limits = limits_of(mean)
                name = f"{search}, {mean} bits, seed {seed}"
                yield name, spec(search, params, seed, limits=limits, **both)
        limits = {"weight_bytes": limits_of(2)["weight_bytes"]}
        low = spec("mirror", BINARY, seed, limits=limits, weight_bits=(1, 2, 4, 8))
        yield f"mirror, 2 bits, seed {seed}", low
        for search, params in (CHANCE | SWITCHABLE).items():
            yield f"{search}, seed {seed}", spec(search, params, seed, **both)


def record(store: Store, model: str) -> None:
    """Do what is missing of a network's runs, and write its file after every run."""
    FOLDER.mkdir(exist_ok=True)
    wanted = specs_of(model)
    for name, spec in wanted:
        found = next((run for run in queue.all_runs(store) if run.name == name), None)
        if found is None or found.state != "done":
            if found is not None:
                with suppress(StoreError):
                    # its process is gone: this script runs one at a time
                    queue.finish(store, found.id, found.attempt, "cancelled", "")
                queue.delete_run(store, found.id)
            run_id = queue.create_run(store, spec, name, host=queue.host_name(store))
            worker.main(store.url, run_id, 1, piped=False)
            found = queue.run(store, run_id)
        print(f"{found.state:8} {name}: {found.evaluations} points {found.error or ''}", flush=True)
        mine = {name for name, _ in wanted}
        done = [r.id for r in queue.all_runs(store) if r.state == "done" and r.name in mine]
        origin = f"recorded on {datetime.now(UTC):%Y-%m-%d} with bitdial {__version__}"
        (FOLDER / f"{model}.json.gz").write_bytes(dump_runs(store, sorted(done), origin))


def test_more(store: Store) -> None:
    """Look at more of the fronts of what was recorded: points are replayed, only tests are new.

    Of runs that train the weights are not kept, so these stay as they were.
    """
    load_recordings(store)
    everything = [r for r in queue.all_runs(store) if r.spec.model == MODEL]
    wanted = [r for r in everything if not SEARCHES[r.spec.search].trains]
    for run in sorted(wanted, key=lambda run: run.id):
        if run.spec.reported >= REPORTED:
            continue
        spec = replace(run.spec, reported=REPORTED)
        held = {"state": "running", "want": "run", "attempt": run.attempt + 1}
        _change(store, run.id, spec=spec.to_json(), host=queue.host_name(store), **held)
        worker.main(store.url, run.id, run.attempt + 1, piped=False)
        found = queue.run(store, run.id)
        origin, today = run.origin.split(", tested")[0], f"{datetime.now(UTC):%Y-%m-%d}"
        origin = f"{origin.split(' with ')[0]}, tested on {today}, with bitdial {__version__}"
        # the time of a run is what its search took
        _change(store, run.id, origin=origin, started=run.started, finished=run.finished)
        print(f"{found.state:8} {run.name}: {found.error or ''}", flush=True)
    ids = sorted(run.id for run in everything)
    (FOLDER / f"{MODEL}.json.gz").write_bytes(dump_runs(store, ids, ""))


def _change(store: Store, run_id: int, **values: Any) -> None:
    with store.write() as connection:
        connection.execute(update(RunRow).where(RunRow.id == run_id).values(**values))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("bitdial-data") / "recording")
    parser.add_argument("--model", choices=(MODEL, OTHER, LANGUAGE), default=MODEL)
    parser.add_argument(
        "--test-more", action="store_true", help="test more points of what is recorded already"
    )
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    os.environ["BITDIAL_DATA"] = str(arguments.folder)
    os.environ.pop("BITDIAL_DATABASE_URL", None)
    if arguments.test_more:
        test_more(open_store())
    else:
        record(open_store(), arguments.model)


if __name__ == "__main__":
    main()
