from dataclasses import replace

import pandas as pd
import pytest
import torch

from pages.shared import switchable_runs
from qcore.allocation import BitAllocation, LayerBits
from qcore.costs.budget import make_options
from qcore.data import Images
from qcore.models.zoo import load_model
from qcore.network.layers import find_layers
from qcore.qat.checkpoints import MemoryCheckpoints
from qcore.qat.requests import SwitchableBits
from qcore.qat.setup import Setup
from qcore.qat.switches import NormPlan, switches_of
from qcore.qat.trainer import Trainer
from qcore.searches import SEARCHES
from tests.pages import sample

MIXED = {"weight_bits": (2, 3, 4), "activation_bits": (2, 3, 4), "pin_first_last": 8}
NAMES = sample.MODEL.names


def inner(first: int, others: int) -> BitAllocation:
    """First and last layer at 8 bits, the second at `first`, all others at `others`."""
    bits = {name: LayerBits(others, others) for name in NAMES}
    ends = {NAMES[0]: LayerBits(8, 8), NAMES[-1]: LayerBits(8, 8)}
    return BitAllocation({**bits, **ends, NAMES[1]: LayerBits(first, first)})


def test_only_finished_networks_that_are_here_are_offered_newest_first():
    runs = [
        sample.run_of(1, "bitmixer", **MIXED),
        sample.run_of(2, "bitmixer", "running", **MIXED),
        sample.run_of(3, "exact"),
        sample.run_of(4, "spnets", **MIXED),
    ]
    assert list(switchable_runs.trained_runs(runs)) == [4, 1]
    assert [run.id for run in runs if switchable_runs.searchable(run)] == [1]


def test_a_mixed_allocation_is_for_a_network_that_switches_layer_by_layer():
    mixer, switching = (sample.run_of(1, s, **MIXED) for s in ("bitmixer", "spnets"))
    assert switchable_runs.untrained_words(mixer, sample.MODEL, inner(2, 4)) == ""
    assert switchable_runs.untrained_words(switching, sample.MODEL, inner(4, 4)) == ""
    words = switchable_runs.untrained_words(switching, sample.MODEL, inner(2, 4))
    assert "4/4, 3/3, 2/2" in words


def test_bits_it_was_not_trained_at_are_named_with_those_it_was():
    mixer = sample.run_of(1, "bitmixer", **MIXED)
    words = switchable_runs.untrained_words(mixer, sample.MODEL, inner(6, 4))
    assert f"{NAMES[1]!r} was not trained at 6/6" in words
    assert "4/4, 3/3, 2/2" in words
    pinned = inner(2, 4).replace(NAMES[0], LayerBits(4, 4))
    assert "trained: 8/8" in switchable_runs.untrained_words(mixer, sample.MODEL, pinned)


def test_what_is_asked_for_is_measured_as_the_run_was_and_allows_these_bits():
    mixer = sample.run_of(7, "bitmixer", **MIXED, search_images=512, limits={"bit_ops": 1e9})
    spec = switchable_runs.measured_spec(mixer, inner(2, 4))
    assert spec.params == {
        "run": 7, "stage": "layer-wise", "allocations": [inner(2, 4).to_json()],
    }  # fmt: skip
    assert (spec.search_images, spec.weight_bits, spec.limits) == (512, (2, 4, 8), {})
    again = switchable_runs.searched_spec(mixer, ("greedy",), {"weight_bytes": 1e4})
    assert (again.pin_first_last, again.limits) == (8, {"weight_bytes": 1e4})
    assert "allocations" not in again.params


def trained_resnet8(kind: str, stage: str) -> bytes:
    """resnet8 after one step at 4, 3 and 2 bits."""
    net = load_model("resnet8")
    found = find_layers(net, torch.zeros(1, 1, 28, 28), "resnet8")
    options = make_options(found.spec.layers, (2, 3, 4), (2, 3, 4), pin_first_last=8)
    images = torch.randint(0, 256, (16, 1, 28, 28), dtype=torch.uint8)
    split = Images(images, torch.arange(16) % 10)
    batches = [x for x, _ in split.batches(16)]
    trainer = Trainer(Setup(net, found, options, split, batches, MemoryCheckpoints()))
    rows = {
        name: tuple(b for b in row[::-1] if b.weight == b.activation)
        for name, row in options.items()
    }
    switches = switches_of(rows)
    request = SwitchableBits(
        stage=stage,
        norms=NormPlan(kind, switches),
        allocation=switches["4/4"],
        plan={"epochs": 1, "batch_images": 16},
    )
    list(trainer.train(request))
    return trainer.saved(stage)


@pytest.mark.parametrize(("search", "kind"), [("bitmixer", "pair"), ("spnets", "switch")])
def test_the_lines_shown_run_the_file_at_the_bits_they_name(search, kind, tmp_path, monkeypatch):
    run = sample.run_of(4, search, **MIXED)
    lines = switchable_runs.snippet(run, sample.MODEL)
    assert "trained: 4/4, 3/3, 2/2" in lines
    assert ("model.set_allocation" in lines) == (search == "bitmixer")
    monkeypatch.chdir(tmp_path)
    data = trained_resnet8(kind, SEARCHES[search].leaves)
    (tmp_path / switchable_runs.file_name(run)).write_bytes(data)
    scope: dict = {}
    exec(lines, scope)
    assert scope["model"].allocation[NAMES[1]] == LayerBits(2, 2)
    assert scope["logits"].shape == (1, 10)


def test_a_file_has_no_odd_characters_in_its_name():
    run = sample.run_of(4, "bitmixer")
    odd = replace(run, spec=replace(run.spec, model="my/../net 2"))
    assert switchable_runs.file_name(odd) == "my-..-net-2.run-4.pt"
    assert switchable_runs.planes_name(odd) == "my-..-net-2.run-4.planes.safetensors"


def test_rows_on_a_network_are_those_of_its_run_and_of_later_ones():
    rows = [(1, "layer-wise"), (1, "network"), (2, "run-1/layer-wise"), (3, "ptq")]
    frame = pd.DataFrame(rows, columns=["run", "stage"])
    found = switchable_runs.rows_on(frame, sample.run_of(1, "bitmixer", **MIXED))
    assert list(found["run"]) == [1, 2]
