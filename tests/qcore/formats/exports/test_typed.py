"""Networks that take no picture leave as files that run, and are compared by their judge."""

from functools import cache

import numpy as np
import onnx
import pytest
import torch

from qcore.allocation import BitAllocation, LayerBits
from qcore.errors import ExportRefused
from qcore.example_inputs import example_inputs
from qcore.formats.config import BitConfig, dump_bits, parse_bits
from qcore.formats.exports import EXPORTS, write_with_model
from qcore.formats.exports.torch_side import run_onnx
from qcore.formats.exports.torch_side.answers import answers_of
from qcore.inputs import parse_input
from qcore.judges import parse_judge
from qcore.judges.proposal import propose
from qcore.network.layers import find_layers
from qcore.ptq.calibration import Correction, measure_ranges
from qcore.ptq.model import QuantizedModel
from tests import typed_nets
from tests.variants import crossed

TEXT = ("ids:int64:8<50", "mask:int64:8<2")
CASES = {
    "encoder": (TEXT, "embedding"),
    "language_model": (TEXT, "tokens:ids=ids:mask=mask"),
    "detector": (("x:float32:2x20",), ""),
    "autoencoder": (("x:float32:12",), "signal"),
    "stateful": (("x:float32:5x4", "state:float32:6=zeros"), "parts"),
}


class Stateful(torch.nn.Module):
    """A signal and a state in another order than they are given, to a tuple."""

    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Linear(4, 6), torch.nn.Linear(6, 3)

    def forward(self, state, x):
        y = torch.tanh(self.first(x).mean(1) + state)
        return self.second(y), y


@cache
def case(name):
    """(configuration, network, samples) of a network, with measured scales."""
    inputs, words = CASES[name]
    inputs = tuple(map(parse_input, inputs))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Stateful().eval() if name == "stateful" else getattr(typed_nets, name)()
    sample = example_inputs(inputs, 40, seed=3)
    found = find_layers(network, sample, name, inputs)
    quantized = QuantizedModel(network, found)
    judge = propose(answers_of(network, sample), sample)
    if words not in ("", "parts"):
        judge = parse_judge(words)
    measure_ranges(quantized, [sample])
    correction = Correction(quantized, [sample])
    bits = (LayerBits(8, 8), LayerBits(4, 32), LayerBits(3, 8))
    mixed = BitAllocation({n: bits[at % 3] for at, n in enumerate(found.spec.names)})
    quantized.set_allocation(mixed.with_float_ids(found.spec.layers))
    correction.apply()
    config = BitConfig(
        found.spec, quantized.allocation, quantized.state(), quantized.norms,
        provenance={"data": "made up", "judge": judge.to_json()},
    )  # fmt: skip
    return parse_bits(dump_bits(config)), network, sample


FORMS = ("qonnx", "onnx", "onnx8", "onnx2", "packed")


@pytest.mark.parametrize(("name", "form"), crossed(CASES, FORMS))
def test_a_file_of_any_network_gives_the_measured_answers(name, form):
    config, network, sample = case(name)
    report = write_with_model(EXPORTS[form], config, network, sample).report
    assert report["n"] == (8 if form == "qonnx" else 40)
    assert report["median_abs_diff"] < 1e-5
    # a value that lies between two levels may round the other way: one step of one layer's input
    assert report["max_abs_diff"] < 0.05 * report["logit_range"]
    if "argmax_agreement" in report:
        assert report["argmax_agreement"] == 1
        return
    assert report["divergence"] < 1e-3
    if report["likeness_unit"] == "share":
        assert report["likeness"] >= 0.97
    else:
        assert (report["likeness_name"], report["likeness_unit"]) == ("signal to noise", "dB")
        assert report["likeness"] > 40


def test_a_file_names_its_inputs_and_outputs_as_the_network_does():
    config, network, sample = case("detector")
    model = onnx.load_from_string(
        write_with_model(EXPORTS["onnx"], config, network, sample).content
    )
    assert [value.name for value in model.graph.output] == ["what", "where"]
    config, network, sample = case("stateful")
    content = write_with_model(EXPORTS["onnx"], config, network, sample).content
    model = onnx.load_from_string(content)
    assert {value.name for value in model.graph.input} == {"state", "x"}
    one = {name: values[:1] for name, values in sample.items()}
    together = run_onnx.outputs_of(content, sample)
    for all_of_them, alone in zip(together, run_onnx.outputs_of(content, one), strict=True):
        assert np.allclose(all_of_them[:1], alone, atol=1e-4)


@pytest.mark.parametrize("form", [n for n, e in EXPORTS.items() if not e.needs_model])
def test_formats_without_the_network_are_written_or_say_why_not(form):
    config, network, sample = case("encoder")
    reason = EXPORTS[form].carries(config)
    if reason is None:
        assert write_with_model(EXPORTS[form], config, network, sample).content
        return
    with pytest.raises(ExportRefused, match="cannot carry"):
        write_with_model(EXPORTS[form], config, network, sample)


def test_torchao_takes_linear_layers_of_any_network():
    config, network, sample = case("autoencoder")
    plain = {n: LayerBits(b.weight, 32) for n, b in config.allocation.items()}
    found = find_layers(network, sample, "autoencoder", config.model.inputs)
    quantized = QuantizedModel(network, found)
    quantized.set_allocation(BitAllocation(plain))
    config = BitConfig(
        found.spec, quantized.allocation, quantized.state(), quantized.norms,
        provenance={"judge": {"name": "signal"}},
    )  # fmt: skip
    report = write_with_model(EXPORTS["torchao"], config, network, sample).report
    assert report["max_abs_diff"] < 1e-4
    assert report["likeness"] > 60
