"""A configuration is applied to a network as people hold it, or refused by the real cause."""

import copy
import warnings
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from qcore.allocation import BitAllocation, LayerBits
from qcore.errors import InvalidConfig
from qcore.formats.apply import apply_bits
from qcore.formats.config import BitConfig, dump_bits, parse_bits
from qcore.formats.exports import EXPORTS, write
from qcore.formats.exports.base import write_with_model
from qcore.formats.exports.templates import packed_reader
from qcore.network.layers import find_layers
from qcore.ptq.calibration import measure_ranges
from qcore.ptq.model import QuantizedModel
from tests.variants import some

X = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def net(seed=0):
    torch.manual_seed(seed)
    stem = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    return nn.Sequential(stem, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3)).eval()


@pytest.fixture(scope="module")
def made():
    """(configuration, logits that were measured)."""
    network = net()
    model = QuantizedModel(network, find_layers(network, X, "net"))
    measure_ranges(model, [X])
    model.set_allocation(BitAllocation({n: LayerBits(4, 8) for n in model.spec.names}))
    config = BitConfig(model.spec, model.allocation, model.state(), model.norms)
    with torch.no_grad():
        return parse_bits(dump_bits(config)), model(X)


class Averaged(nn.Module):
    """Averaged weights as libraries keep them: a copy under `module`."""

    def __init__(self, model):
        super().__init__()
        self.module = copy.deepcopy(model)
        self.decay = 0.999

    def forward(self, x):
        return self.module(x)


def with_part(wrap):
    """The network with its first part in a wrapper."""

    def wrapped(model):
        model[0] = wrap(model[0])
        return model

    return wrapped


def compiled_in_place(model):
    model.compile(backend="eager")
    return model


def compiled(model):
    return torch.compile(model, backend="eager")


WAYS = {
    "plain": lambda m: m,
    "training": lambda m: m.train(),
    "frozen": lambda m: m.requires_grad_(False),
    "channels last": lambda m: m.to(memory_format=torch.channels_last),
    "double": lambda m: m.double(),
    "compiled": compiled,
    "compiled in place": compiled_in_place,
    "DataParallel": nn.DataParallel,
    "compiled DataParallel": lambda m: compiled(nn.DataParallel(m)),
    "DataParallel of compiled": lambda m: nn.DataParallel(compiled(m)),
    "averaged": AveragedModel,
    "averaged in a library": Averaged,
    "averaged DataParallel in double": lambda m: AveragedModel(nn.DataParallel(m)).double(),
    "Sequential of it alone": nn.Sequential,
    "Sequentials of it alone": lambda m: nn.Sequential(nn.Sequential(m)),
    "a part in DataParallel": with_part(nn.DataParallel),
    "a part compiled": with_part(compiled),
    "a part in both": with_part(lambda m: nn.DataParallel(compiled(m))),
}


@pytest.mark.parametrize("way", WAYS)
def test_wrapped_networks_give_the_measured_logits(made, way):
    config, wanted = made
    given = WAYS[way](net())
    before = {key: value.clone() for key, value in given.state_dict().items()}
    kinds = {key: value.dtype for key, value in before.items()}
    applied = apply_bits(given, config)
    with torch.no_grad():
        assert torch.equal(applied(X), wanted)
    after = given.state_dict()
    assert {key: value.dtype for key, value in after.items()} == kinds
    assert all(torch.equal(after[key], value) for key, value in before.items())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["script", "brevitas"])
def test_scripts_take_wrapped_networks_too(made, name, way):
    if name == "brevitas":
        pytest.importorskip("brevitas")
    config, wanted = made
    names = {"__name__": "script"}
    exec(compile(write(EXPORTS[name], config), "a.py", "exec"), names)
    with torch.no_grad():
        assert torch.allclose(names["apply"](WAYS[way](net()))(X), wanted, atol=1e-5)


@pytest.mark.parametrize("way", some([way for way in WAYS if "part" not in way], 6))
def test_the_reader_of_packed_files_takes_wrapped_networks_too(made, way):
    config, wanted = made
    content = write_with_model(EXPORTS["packed"], config, net(), X).content
    model = packed_reader.apply(WAYS[way](net(seed=1)), packed_reader.parse(content))
    with torch.no_grad():
        assert torch.allclose(model(X), wanted, atol=1e-5)


def test_distributed_networks_give_the_measured_logits(made, tmp_path):
    config, wanted = made
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1
    )
    try:
        applied = apply_bits(nn.parallel.DistributedDataParallel(net()), config)
    finally:
        torch.distributed.destroy_process_group()
    with torch.no_grad():
        assert torch.equal(applied(X), wanted)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_rounded_weights_are_named_as_such(made, kind):
    config, _ = made
    name = str(kind).removeprefix("torch.")
    with pytest.raises(InvalidConfig, match=f"not those that were measured.*rounded to {name}"):
        apply_bits(net().to(kind), config)
    applied = apply_bits(net().to(kind), config, same_weights=False)
    assert applied(X).dtype == torch.float32
    script = {"__name__": "script"}
    exec(compile(write(EXPORTS["script"], config), "a.py", "exec"), script)
    with pytest.raises(SystemExit, match=f"rounded to {name}"):
        script["apply"](net().to(kind))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_networks_that_were_added_in_half_precision_are_the_same(kind):
    network = net().to(kind).float()
    model = QuantizedModel(network, find_layers(network, X, "net"))
    model.set_allocation(BitAllocation({n: LayerBits(4, 32) for n in model.spec.names}))
    config = BitConfig(model.spec, model.allocation, model.state(), model.norms)
    with torch.no_grad():
        assert torch.equal(apply_bits(net().to(kind), config)(X), model(X))


def by_jit(make):
    """What torch.jit makes of a network; making it is deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make(net())


class Normalised(nn.Module):
    """Does something of its own before the network."""

    def __init__(self):
        super().__init__()
        self.backbone = net()

    def forward(self, x):
        return self.backbone(x - 0.5)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (Normalised, "layers are all in the part 'backbone' of the model: give that part"),
        (lambda: nn.Sequential(nn.Identity(), net()), "in the part '1' of the model"),
        (lambda: by_jit(torch.jit.script), r"scripted or traced by torch\.jit"),
        (lambda: by_jit(lambda m: torch.jit.trace(m, X)), r"scripted or traced by torch\.jit"),
        (lambda: nn.Sequential(by_jit(torch.jit.script)), r"scripted or traced by torch\.jit"),
        (lambda: net().to("meta"), "meta device"),
        (lambda: SimpleNamespace(ema=net()), "got SimpleNamespace. Give it what is in it: ema"),
        (lambda: net().state_dict(), r"takes a torch\.nn\.Module; got OrderedDict"),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()), "1 x 8 x 8 .*another one"),
        (lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten()), "missing in the model: 0.0, 3;"),
    ],
)  # fmt: skip
def test_what_cannot_be_quantized_is_refused_by_its_cause(made, model, said):
    with pytest.raises(InvalidConfig, match=said) as caught:
        apply_bits(model(), made[0])
    assert "Use inputs" not in str(caught.value)


def test_a_quantized_network_is_not_quantized_again(made):
    with pytest.raises(InvalidConfig, match="quantized already"):
        apply_bits(apply_bits(net(), made[0]), made[0])


@pytest.mark.parametrize("wrap", [nn.Sequential, nn.DataParallel, Averaged])
def test_a_network_that_was_measured_in_its_wrapper_still_fits(wrap):
    network = wrap(net()).eval()
    model = QuantizedModel(network, find_layers(network, X, "net"))
    model.set_allocation(BitAllocation({n: LayerBits(4, 32) for n in model.spec.names}))
    config = BitConfig(model.spec, model.allocation, model.state(), model.norms)
    with torch.no_grad():
        assert torch.equal(apply_bits(wrap(net()), config)(X), model(X))
    with pytest.raises(InvalidConfig, match=r"this model was the part '\w+' of one"):
        apply_bits(net(), config)
