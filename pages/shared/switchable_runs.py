"""Networks that earlier runs have trained to take several bits: what can be measured on them. Pure.

A finished Bit-Mixer run leaves a network whose layers take any of their bits at any time, an
SP-Nets run one that takes a few precisions as a whole. Both answer in seconds, untrained further.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from pages.shared.run_facts import is_layer_wise, left_stage
from qcore.allocation import BitAllocation, ModelSpec
from qcore.costs.budget import Budget, make_options
from qcore.errors import InvalidAllocation
from qcore.problem import Problem
from qcore.qat.switches import NormPlan, rungs_of, switches_of
from qcore.run_spec import RunSpec, method_label
from qcore.searches import metanetwork
from store import Run


def trained_runs(candidates: Sequence[Run]) -> dict[int, Run]:
    """Finished runs whose network is on this machine, by number, newest first."""
    kept = [run for run in candidates if left_stage(run) and run.state == "done" and not run.origin]
    return {run.id: run for run in sorted(kept, key=lambda run: -run.id)}


def searchable(run: Run) -> bool:
    """True where the layers of a run's network take bits of their own."""
    return is_layer_wise(run) and run.id in trained_runs([run])


def title(run: Run) -> str:
    """What the pages call the network of a run."""
    return f"trained in run {run.id}, {method_label(run.spec.search)}"


def file_name(run: Run) -> str:
    """What the network of a run is called as a file."""
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", run.spec.model)
    return f"{stem}.run-{run.id}.pt"


def planes_name(run: Run) -> str:
    """What the network of a run is called as a file of bit planes."""
    return f"{file_name(run).removesuffix('.pt')}.planes.safetensors"


def snippet(run: Run, model: ModelSpec) -> str:
    """Lines of Python that run the downloaded network at every precision it was trained at."""
    switches = list(_plan(run, model).switches)
    layer_wise = is_layer_wise(run)
    own_bits = (
        "\n# or each layer at bits of its own, from a configuration of this run"
        '\n# model.set_allocation(load_bits("chosen.bits.json").allocation)'
    )
    return f"""from pathlib import Path

import torch

from qcore import {"load_bits, " if layer_wise else ""}load_model
from qcore.qat.switchable.runtime import load_switchable

example = torch.zeros(1, {", ".join(map(str, model.input_shape))})
data = Path({file_name(run)!r}).read_bytes()
model = load_switchable(load_model({run.spec.model!r}), example, data)
# weight/activation bits; trained: {", ".join(switches)}
model.set_switch("{switches[-1]}")
logits = model(example){own_bits if layer_wise else ""}"""


def untrained_words(run: Run, model: ModelSpec, allocation: BitAllocation) -> str:
    """Which bits the network of a run was not trained at; "" where it can answer."""
    try:
        _plan(run, model).find(allocation)
    except InvalidAllocation as error:
        return str(error)
    return ""


def _plan(run: Run, model: ModelSpec) -> NormPlan:
    """What the network of a run was trained at."""
    spec = run.spec
    options = make_options(
        model.layers, spec.weight_bits, spec.activation_bits, spec.pin_first_last
    )
    switches = switches_of(rungs_of(Problem(model, options, Budget({}), None)))
    return NormPlan("pair" if is_layer_wise(run) else "switch", switches)


def rows_on(frame: pd.DataFrame, run: Run) -> pd.DataFrame:
    """Rows of `points_frame` that were measured on the network of a run, then or later."""
    stage = left_stage(run)
    own = (frame["run"] == run.id) & (frame["stage"] == stage)
    return frame[own | (frame["stage"] == f"run-{run.id}/{stage}")]


def measured_spec(run: Run, allocation: BitAllocation) -> RunSpec:
    """Ask for one allocation of the network of a run, on the images that run was measured on."""
    return _asked(
        run, {"allocations": [allocation.to_json()]}, limits={}, pin_first_last=None,
        tuning=False, rules=(),
        weight_bits=tuple(sorted({bits.weight for bits in allocation.values()})),
        activation_bits=tuple(sorted({bits.activation for bits in allocation.values()})),
    )  # fmt: skip


def searched_spec(run: Run, methods: Sequence[str], limits: Mapping[str, float]) -> RunSpec:
    """Ask for the front of the network of a Bit-Mixer run, at the bits it was trained at."""
    return _asked(run, {"methods": list(methods)}, limits=dict(limits))


def _asked(run: Run, params: Mapping[str, Any], **changes: Any) -> RunSpec:
    stage = left_stage(run)
    which = {"run": run.id, "stage": stage}
    return replace(run.spec, search=metanetwork.SEARCH.name, params={**which, **params}, **changes)
