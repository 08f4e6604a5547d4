"""A database of many points of a deep network, written in bulk: what a page must still draw."""

import numpy as np
from sqlalchemy import insert, update

from qcore.allocation import BitAllocation, LayerSpec, ModelSpec
from qcore.problem import Point, Scores
from qcore.run_spec import RunSpec
from store import Store, create_run, save_model
from store.database.schema import PointRow, RunRow


def model_of(layers: int, name: str = "deep") -> ModelSpec:
    """A chain of convolutions that grow as networks do."""
    specs = []
    for at in range(layers):
        width = 16 << (4 * at // layers)
        specs.append(
            LayerSpec(
                name=f"blocks.{at}.conv",
                kind="conv2d",
                weights=9 * width * width,
                channels=width,
                biases=width,
                macs=9 * width * width * (4096 >> (8 * at // layers)),
                inputs=width * (4096 >> (8 * at // layers)),
                outputs=width * (4096 >> (8 * at // layers)),
                in_channels=width,
            )
        )
    return ModelSpec(name, "0" * 64, tuple(specs))


def fill(store: Store, layers: int, points: int, runs: int = 1, name: str = "deep") -> ModelSpec:
    """Store runs that share so many points, each a different random allocation."""
    model = model_of(layers, name)
    everything = BitAllocation.uniform(model.layers, 32)
    floats = Scores(1000, 0.0, 1.0, 0.93, 0.2)
    save_model(store, model, "fashion-mnist", Point(everything, floats, test=floats))
    rng = np.random.default_rng(0)
    names = model.names
    for run in range(runs):
        spec = RunSpec(name, "fashion-mnist", ("random", "portfolio", "cmaes")[run % 3], seed=run)
        run_id = create_run(store, spec, f"run {run}")
        count = points // runs
        widths = rng.choice((2, 3, 4, 8), (count, layers, 2))
        rows = []
        for at in range(count):
            bits = dict(zip(names, widths[at].tolist(), strict=True))
            share = 0.5 + 0.05 * float(widths[at].mean()) + 0.02 * rng.random()
            rows.append(
                {
                    "run_id": run_id,
                    "stage": "ptq",
                    "images": "",
                    "digest": f"{run_id:04x}{at:012x}",
                    "allocation": bits,
                    "search": {
                        "n": 1000, "kl": 1 - share, "agreement": share, "accuracy": share,
                        "loss": 1.0,
                    },
                    "test": None,
                    "device": "cpu",
                    "seconds": 0.01,
                }
            )  # fmt: skip
        with store.write() as connection:
            for start in range(0, count, 5000):
                connection.execute(insert(PointRow), rows[start : start + 5000])
            connection.execute(
                update(RunRow)
                .where(RunRow.id == run_id)
                .values(state="done", step=count, total=count)
            )
    return model
