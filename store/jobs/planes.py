"""A trained network that switches as a file of bit planes, written in a process of its own.

`python -m store planes RUN --out FILE` writes it; the server starts the same, since it never loads
torch.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from qcore.errors import ExportRefused, InvalidParams, StoreError
from qcore.planes.reading import Planes, parse_planes
from qcore.planes.writing import dump_planes
from qcore.searches import SEARCHES
from store.database import Store
from store.database.locations import URL_VARIABLE
from store.jobs import runtime
from store.runs import points, queue
from store.runs.checkpoints import trained_stage

TIMEOUT_S = 300
ROOT = Path(__file__).parents[2]
NESTED = "nested"


def nests(run: queue.Run) -> bool:
    """Whether a run was asked for codes of which the narrower are parts of the widest."""
    return bool(run.spec.params.get("quantizer") == NESTED)


def compute(store: Store, run_id: int) -> bytes:
    """The file of a run's network. Loads torch.

    Raises:
        QcoreError: there is no such network here, or its codes do not nest; says why.
    """
    run = queue.run(store, run_id)
    if reason := runtime.missing(store, run):
        raise InvalidParams(reason)
    if not nests(run):
        said = run.spec.params.get("quantizer", "its usual one")
        raise ExportRefused(
            f"Run {run.id} was trained with the quantizer {said}: bit planes need nested codes. "
            "Train with quantizer=nested, or export each switch as a configuration."
        )
    stage = SEARCHES[run.spec.search].leaves
    data = trained_stage(store, run.id, stage)
    if data is None:
        raise StoreError(f"The file of the network that run {run.id} has trained is damaged.")
    spec = points.model_facts(store, run.spec.model)
    if spec is None:
        raise StoreError(f"Nothing is stored of the layers of {run.spec.model}; measure it first.")
    from qcore.example_inputs import example_for
    from qcore.models.zoo import load_model
    from qcore.network.layers import find_layers
    from qcore.planes.trained import planes_of
    from qcore.qat.switchable.runtime import load_switchable

    network, example = load_model(run.spec.model).eval(), example_for(spec, 1)
    model = load_switchable(network, example, data, spec.name, inputs=spec.inputs)
    found = find_layers(network, example, spec.name, spec.inputs)
    provenance = {**run.spec.to_json(), "stage": stage, "run": run.id}
    return dump_planes(planes_of(model, found, provenance))


def made_elsewhere(store: Store, run_id: int, timeout_s: float = TIMEOUT_S) -> bytes:
    """The same, in a new process.

    Raises:
        ExportRefused: it was refused, took too long, or ended without a file; says which.
    """
    with tempfile.TemporaryDirectory(prefix="bitdial-planes-") as folder:
        made = Path(folder) / "file"
        command = [sys.executable, "-m", "store", "planes", str(run_id), "--out", str(made)]
        try:
            done = subprocess.run(
                command, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False,
                env={**os.environ, URL_VARIABLE: store.url},
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise ExportRefused(
                f"Writing the bit planes took longer than {timeout_s:.0f} seconds and was ended. "
                f"Use python -m store planes {run_id} --out FILE, which has no limit."
            ) from error
        if done.returncode or not made.is_file():
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise ExportRefused(f"The bit planes were not written: {lines[-1][:300]}")
        return made.read_bytes()


def kept(content: bytes, switch: str) -> bytes:
    """The beginning of a file that holds a switch and all narrower ones; all of it for "".

    Raises:
        InvalidParams: there is no such switch; lists those there are.
    """
    planes = parse_planes(content)
    if not switch:
        return content
    if switch not in planes.ends:
        raise InvalidParams(
            f"There is no switch {switch[:40]!r}; the file has {', '.join(planes.ends)}."
        )
    return content[: planes.ends[switch]]


def told(planes: Planes) -> list[str]:
    """What the command line says of a file, or of its beginning."""
    sizes = ", ".join(f"{what} {count:,}" for what, count in planes.sizes.items())
    ends = ", ".join(f"{name} in {planes.ends[name]:,}" for name in planes.switches[::-1])
    return [f"the whole file's bytes: {sizes}", f"the first bytes hold: {ends}"]
