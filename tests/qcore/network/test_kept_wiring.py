"""Wiring that is kept with bitdial's own networks is what a trace finds, and no other is taken."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from qcore.example_inputs import example_inputs
from qcore.models.catalog import BUNDLED_NAMES, MODELS
from qcore.models.zoo import build_model, load_model
from qcore.network import kept_wiring
from qcore.network.graph import read_wiring
from qcore.network.kept_wiring import fingerprint, wiring_of
from qcore.network.layers import find_layers
from qcore.network.rewriting import expose_layers

ROOT = Path(__file__).parents[3]
IMAGE = torch.zeros(1, 1, 28, 28)
LOADED = """
import sys
import torch
from qcore.models.zoo import load_model
from qcore.network.layers import find_layers
find_layers(load_model("resnet8"), torch.zeros(1, 1, 28, 28), "resnet8")
print(sorted({"torch._dynamo", "sympy"} & set(sys.modules)))
"""


def traced(*_):
    raise AssertionError("it was traced: after a change of its code, write_spec keeps it again")


@pytest.mark.parametrize("name", BUNDLED_NAMES)
def test_what_is_kept_is_what_a_trace_finds(monkeypatch, name):
    entry, model = MODELS[name], load_model(name)
    example = torch.zeros(1, *entry.input_shape)
    if entry.inputs:
        example = example_inputs(entry.inputs, 1)
    found = find_layers(model, example, name, entry.inputs)
    model = expose_layers(model)
    names = {id(model.get_parameter(f"{layer}.weight")): layer for layer in found.spec.names}
    whole = read_wiring(model, example, names)
    monkeypatch.setattr(kept_wiring, "read_wiring", traced)
    assert wiring_of(model, example, names) == whole


def test_a_process_that_runs_a_bundled_network_loads_no_compiler():
    done = subprocess.run(
        [sys.executable, "-c", LOADED], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_changed_network_is_traced():
    own = fingerprint(build_model("resnet8"), IMAGE, ("conv1",))
    assert own == fingerprint(build_model("resnet8", seed=1), IMAGE, ("conv1",))
    narrower = build_model("resnet8")
    narrower.layer1 = nn.Sequential()
    others = (
        (build_model("resnet8", classes=11), IMAGE, ("conv1",)),
        (narrower, IMAGE, ("conv1",)),
        (build_model("resnet8"), IMAGE[:, :, 4:], ("conv1",)),
        (build_model("resnet8"), IMAGE.double(), ("conv1",)),
        (build_model("resnet8"), IMAGE, ("conv1", "fc")),
    )
    assert own not in {fingerprint(*other) for other in others}


def test_what_can_be_anything_is_traced():
    class Own(nn.Module):
        def forward(self, x):
            return x

    hooked, replaced, foreign = (build_model("resnet8") for _ in range(3))
    hooked.fc.register_forward_hook(lambda module, inputs, output: 2 * output)
    replaced.relu.forward = torch.sigmoid
    foreign.relu = Own()
    for model in (hooked, replaced, foreign):
        assert fingerprint(model, IMAGE, ("conv1",)) is None


def test_without_the_file_a_network_is_traced(monkeypatch, tmp_path):
    found = find_layers(build_model("resnet8"), IMAGE, "resnet8")
    monkeypatch.setattr(kept_wiring, "KEPT", tmp_path / "nowhere.json")
    assert find_layers(build_model("resnet8"), IMAGE, "resnet8") == found
    monkeypatch.setattr(kept_wiring, "read_wiring", traced)
    with pytest.raises(AssertionError, match="it was traced"):
        find_layers(build_model("resnet8"), IMAGE, "resnet8")
