"""Files and scripts run by the packages they are for: Brevitas, torchao, ModelOpt, MCT."""

import copy
import json
import warnings

import pytest
import torch

from qcore.allocation import BitAllocation, LayerBits
from qcore.errors import ExportRefused
from qcore.formats.exports import EXPORTS, write, write_with_model
from tests.qcore.formats.exports.nets import CASES, measured, odd, residual
from tests.variants import some

# these packages warn about themselves while they are imported
pytestmark = pytest.mark.filterwarnings("ignore")


def script(name, config):
    names = {"__name__": "script"}
    exec(compile(write(EXPORTS[name], config), f"{name}.py", "exec"), names)
    return names


@pytest.mark.parametrize("case", CASES)
def test_brevitas_computes_the_measured_logits(case):
    made = CASES[case]()
    model = script("brevitas", made.config)["apply"](copy.deepcopy(made.model))
    with torch.no_grad():
        got = model(made.sample)
    difference = (got - made.wanted).abs()
    assert float(difference.median()) < 1e-5
    assert float(difference.max()) < 0.05 * float(made.wanted.max() - made.wanted.min())
    for name, bits in made.config.allocation.items():
        layer = model.get_submodule(name)
        assert type(layer).__module__.startswith("brevitas.")
        if bits.weight != 32:
            assert int(layer.quant_weight().bit_width) == bits.weight
            assert len(layer.quant_weight().int().unique()) <= 2**bits.weight


def test_brevitas_takes_one_bit_as_two():
    made = odd((1, 1, 1, 32), (2, 32, 4, 8))
    model = script("brevitas", made.config)["apply"](copy.deepcopy(made.model))
    with torch.no_grad():
        assert torch.allclose(model(made.sample), made.wanted, atol=1e-4)


def test_brevitas_refuses_levels_without_a_whole_zero():
    made = odd((8, 8, 8, 8), (1, 8, 8, 8))
    with pytest.raises(ExportRefused, match="two free levels"):
        write(EXPORTS["brevitas"], made.config)


@pytest.mark.parametrize("bits", some([2, 3, 8], 2))
def test_torchao_computes_the_measured_logits_of_linear_layers(bits):
    case = residual()
    made = measured(case.model, "resnet8", case.sample, lambda i: LayerBits(bits if i == 9 else 32))
    assert made.config.model.names[9] == "fc"
    file = write_with_model(EXPORTS["torchao"], made.config, made.model, made.sample)
    assert file.report["max_abs_diff"] < 1e-4
    assert bool(file.report["widened"]) == (bits != 8)


@pytest.mark.parametrize(
    ("bits", "said"),
    [
        (LayerBits(4, 32), "linear layers only, not convolutions; here: entry, up"),
        (LayerBits(32, 8), "float inputs"),
        (LayerBits(32, 32), "no layer is quantized"),
    ],
)
def test_torchao_says_what_it_cannot_carry(bits, said):
    config = odd().config
    uniform = BitAllocation(dict.fromkeys(config.model.names, bits))
    config = type(config)(config.model, uniform, config.state)
    assert said in EXPORTS["torchao"].carries(config)


def test_modelopt_takes_the_widths_of_our_file():
    quantization = pytest.importorskip("modelopt.torch.quantization")
    made = odd()
    document = json.loads(write(EXPORTS["modelopt"], made.config))
    model = quantization.quantize(copy.deepcopy(made.model), document, lambda net: net(made.sample))
    for name, bits in made.config.allocation.items():
        layer = model.get_submodule(name)
        for quantizer, width in (
            (layer.weight_quantizer, bits.weight),
            (layer.input_quantizer, bits.activation),
        ):
            assert quantizer.is_enabled == (width != 32), name
            assert width == 32 or quantizer.num_bits == width, name


def test_mct_takes_the_widths_of_our_script():
    # torchvision, which the toolkit imports, may lack its compiled operators
    import qcore.models._torchvision

    assert qcore.models._torchvision.torchvision
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mct = pytest.importorskip("model_compression_toolkit")
    case = residual()
    made = measured(case.model, "resnet8", case.sample, lambda i: LayerBits(4 if i % 2 else 8, 8))
    widths = script("mct", made.config)["bit_width_config"]()
    model, _ = mct.ptq.pytorch_post_training_quantization(
        copy.deepcopy(made.model),
        lambda: iter([[made.sample]]),
        core_config=mct.core.CoreConfig(bit_width_config=widths),
    )
    found = {}
    for name, module in model.named_modules():
        quantizers = getattr(module, "weights_quantizers", {})
        if "weight" in quantizers:
            found[name] = quantizers["weight"].num_bits
    wanted = {n.replace(".", "_"): b.weight for n, b in made.config.allocation.items()}
    assert {name.removesuffix("_bn"): bits for name, bits in found.items()} == wanted
