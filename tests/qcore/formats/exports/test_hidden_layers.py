"""Networks whose layers are no modules: the scripts find them, alone, in the plain network."""

import copy
import itertools
import sys

import pytest
import torch
from torch import nn

import qcore.models._torchvision
from qcore.errors import ExportRefused
from qcore.formats.exports import EXPORTS, standalone, write, write_with_model
from qcore.formats.exports.templates import packed_reader
from tests.qcore.formats.exports.nets import images, measured, mixed
from tests.sequence_nets import NETWORKS as SEQUENCES
from tests.sequence_nets import SHAPE, sequence_net
from tests.variants import some

# Brevitas warns about itself
pytestmark = pytest.mark.filterwarnings("ignore")


RUN = (("gru-both-ways", "onnx"), ("tied", "qonnx"))
"""Networks that the default run has onnxruntime step through: modules and embeddings alike."""


def close(got, case):
    """The measured logits, but for inputs that lie between two levels."""
    assert float((got - case.wanted).abs().median()) < 1e-5
    assert torch.equal(got.argmax(1), case.wanted.argmax(1))


@pytest.fixture(scope="module", params=["vit", "swin", *some(SEQUENCES, 3)])
def case(request):
    if request.param in SEQUENCES:
        model = sequence_net(request.param)
        return measured(model, request.param, images(4, SHAPE), mixed)
    models = qcore.models._torchvision.torchvision.models
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if request.param == "vit":
            model = models.VisionTransformer(32, 8, 1, 2, 16, 32, num_classes=5)
        else:
            model = models.SwinTransformer([4, 4], 8, [2], [2], [4, 4], num_classes=5)
        for parameter in model.parameters():
            if not parameter.any():
                nn.init.normal_(parameter, std=0.3)
    return measured(model.eval(), request.param, images(4, (3, 32, 32)), mixed)


@pytest.mark.parametrize("name", ["script", "brevitas"])
def test_the_script_alone_computes_the_measured_logits_of_the_plain_network(
    case, name, monkeypatch
):
    monkeypatch.setitem(sys.modules, "qcore.network.rewriting", None)
    for source in standalone.SOURCES:  # there is no bitdial, and no script ran before
        monkeypatch.setitem(sys.modules, f"qcore.network.rewriting.{source}", None)
        monkeypatch.delitem(sys.modules, standalone.PREFIX + source, raising=False)
    if (name, case.config.model.name) == ("brevitas", "tied"):
        with pytest.raises(ExportRefused, match="'embed' is an embedding and a linear layer"):
            write(EXPORTS[name], case.config)
        return
    script = {"__name__": "script"}
    exec(compile(write(EXPORTS[name], case.config), name, "exec"), script)
    with torch.no_grad():
        close(script["apply"](copy.deepcopy(case.model))(case.sample), case)


def test_the_reader_needs_bitdial_for_them_and_says_so(case, monkeypatch):
    file = write_with_model(EXPORTS["packed"], case.config, case.model, case.sample)
    tensors = packed_reader.parse(file.content)
    assert "PYTHONPATH" in file.report["note"]
    with torch.no_grad():
        close(packed_reader.apply(case.model, tensors)(case.sample), case)
    monkeypatch.setitem(sys.modules, "qcore.network.rewriting", None)
    with pytest.raises(ValueError, match=r"hidden in .*put its folder on PYTHONPATH"):
        packed_reader.apply(case.model, tensors)


@pytest.mark.parametrize(
    ("network", "name"),
    [
        each if each in RUN else pytest.param(*each, marks=pytest.mark.slow)
        for each in itertools.product(SEQUENCES, ("onnx", "qonnx"))
    ],
)
def test_onnxruntime_steps_through_recurrent_layers(network, name):
    case = measured(sequence_net(network), network, images(16, SHAPE), mixed)
    report = write_with_model(EXPORTS[name], case.config, case.model, case.sample).report
    assert report["median_abs_diff"] < 1e-5
    assert report["max_abs_diff"] < 0.05 * report["logit_range"]


def test_brevitas_refuses_layers_that_compute_in_a_way_of_their_own():
    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    model = nn.Sequential(nn.Flatten(), Doubled(16, 3)).eval()
    case = measured(model, "doubled", images(4, (1, 4, 4)), mixed)
    script = {"__name__": "script"}
    exec(compile(write(EXPORTS["brevitas"], case.config), "brevitas", "exec"), script)
    with pytest.raises(SystemExit, match="by themselves"):
        script["apply"](model)


def test_weights_that_are_computed_are_read_by_scripts_and_reader_alike(monkeypatch):
    norm = nn.utils.parametrizations.weight_norm
    model = nn.Sequential(norm(nn.Conv2d(1, 4, 3)), nn.Flatten(), norm(nn.Linear(144, 3))).eval()
    case = measured(model, "normed", images(4, (1, 8, 8)), mixed)
    file = write_with_model(EXPORTS["packed"], case.config, model, case.sample)
    assert "PYTHONPATH" in file.report["note"]
    with torch.no_grad():
        close(packed_reader.apply(model, packed_reader.parse(file.content))(case.sample), case)
    monkeypatch.setitem(sys.modules, "qcore.network.rewriting", None)
    with pytest.raises(ValueError, match=r"ParametrizationList.*put its folder on PYTHONPATH"):
        packed_reader.apply(model, packed_reader.parse(file.content))
    script = {"__name__": "script"}
    exec(compile(write(EXPORTS["script"], case.config), "script", "exec"), script)
    with torch.no_grad():
        close(script["apply"](copy.deepcopy(model))(case.sample), case)
