import pytest
import torch
from torch import Tensor, nn

from qcore.allocation import BitAllocation, LayerBits
from qcore.costs import costs_of
from qcore.costs.budget import make_options
from qcore.errors import InvalidData, UnsupportedModel
from qcore.models._torchvision import torchvision
from qcore.models.zoo import build_model
from qcore.network.layers import find_layers, weights_digest
from qcore.network.rewriting import expose_layers
from qcore.ptq.calibration import measure_ranges
from qcore.ptq.model import QuantizedModel, float_gap
from tests.wired import Residual, layer, of

torch.set_num_threads(1)


def accounted(model, found):
    """Parameters that are under a bit-width, biases of layers, folded norms, or listed."""
    model = expose_layers(model)
    total = sum(found.spec.left_in_float.values())
    for spec in found.spec.layers:
        module = model.get_submodule(spec.name)
        total += sum(p.numel() for p in module.parameters(recurse=False))
    return total + sum(
        p.numel() for norm in found.norms.values() for p in model.get_submodule(norm).parameters()
    )


# published figures: HAWQ's table for resnet18 (1858 / 116 / 34 G, 44.6 / 11.1 / 5.8 MB); the
# others were counted from each network's graph
@pytest.mark.parametrize(
    ("name", "count", "macs", "giga_bit_ops", "mebibytes"),
    [
        ("resnet18", 21, 1_814_073_344, (1857.6, 116.1, 34.7), (44.55, 11.14, 5.82)),
        ("mobilenet_v2", 53, 300_774_272, (308.0, 19.2, 5.4), (13.24, 3.31, 2.27)),
        pytest.param(
            *("resnet50", 54, 4_089_184_256, (4187.3, 261.7, 71.2), (97.3, 24.3, 13.1)),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_costs_of_published_networks(name, count, macs, giga_bit_ops, mebibytes):
    spec = find_layers(build_model(name), torch.zeros(1, 3, 224, 224), name).spec
    assert len(spec.layers) == count
    assert sum(layer.macs for layer in spec.layers) == macs
    assert spec.coverage == 1.0
    assert spec.classes == 1000
    pinned = make_options(spec.layers, (4,), (4,), pin_first_last=8)
    allocations = (
        BitAllocation.uniform(spec.layers, 32, 32),
        BitAllocation.uniform(spec.layers, 8, 8),
        BitAllocation({layer: options[0] for layer, options in pinned.items()}),
    )
    for allocation, giga, mebi in zip(allocations, giga_bit_ops, mebibytes, strict=True):
        costs = costs_of(spec, allocation)
        assert costs["bit_ops"] / 1e9 == pytest.approx(giga, abs=0.06)
        assert costs["weight_bytes"] / 2**20 == pytest.approx(mebi, abs=0.06)


@pytest.mark.parametrize(
    ("module", "shape", "kind", "macs", "weights", "channels", "outputs"),
    [
        (nn.Conv1d(3, 8, 3, padding=1), (3, 10), "conv1d", 720, 72, 8, 80),
        (nn.Conv2d(3, 5, 3, stride=2), (3, 9, 9), "conv2d", 2160, 135, 5, 80),
        (nn.Conv2d(8, 16, 3, padding=1, groups=4), (8, 6, 6), "conv2d", 10368, 288, 16, 576),
        (nn.Conv2d(8, 8, 3, padding=1, groups=8), (8, 6, 6), "conv2d", 2592, 72, 8, 288),
        (nn.Conv3d(2, 4, 3), (2, 4, 4, 4), "conv3d", 1728, 216, 4, 32),
        (nn.ConvTranspose1d(2, 3, 2, stride=2), (2, 5), "conv_transpose1d", 60, 12, 3, 30),
        (nn.ConvTranspose2d(4, 6, 3, stride=2), (4, 5, 5), "conv_transpose2d", 5400, 216, 6, 726),
        (nn.ConvTranspose2d(4, 6, 3, groups=2), (4, 5, 5), "conv_transpose2d", 2700, 108, 6, 294),
        (nn.ConvTranspose3d(1, 2, 2), (1, 3, 3, 3), "conv_transpose3d", 432, 16, 2, 128),
        (nn.Linear(16, 4), (5, 16), "linear", 320, 64, 4, 20),
    ],
)
def test_facts_of_every_kind_of_layer(module, shape, kind, macs, weights, channels, outputs):
    # macs by hand: outputs x weights of one output (transposed: inputs x weights of one input)
    found = of(nn.Sequential(module), *shape)
    (spec,) = found.spec.layers
    assert (spec.kind, spec.macs, spec.weights) == (kind, macs, weights)
    assert (spec.channels, spec.outputs, spec.biases) == (channels, outputs, channels)
    assert spec.inputs == torch.zeros(shape).numel()
    assert spec.groups == getattr(module, "groups", 1)
    assert found.spec.coverage == 1.0


@pytest.mark.parametrize(("name", "count"), [("resnet8", 10), ("resnet20", 22), ("mobilenet", 29)])
def test_bundled_networks_are_fully_covered(name, count):
    model = build_model(name)
    found = of(model, 1, 28, 28)
    assert len(found.spec.layers) == count
    assert len(found.norms) == count - 1
    assert found.spec.coverage == 1.0
    assert found.spec.left_in_float == {}
    assert found.spec.warnings == ()
    assert accounted(model, found) == sum(p.numel() for p in model.parameters())


def densenet() -> nn.Module:
    return torchvision.models.DenseNet(4, (2, 2), 8, num_classes=5)


def shufflenet() -> nn.Module:
    kind = torchvision.models.ShuffleNetV2
    return kind([2, 2, 2], [8, 16, 16, 16, 24], num_classes=5)


def googlenet() -> nn.Module:
    return torchvision.models.GoogLeNet(5, init_weights=False)


@pytest.mark.parametrize(
    ("build", "layers", "idle"),
    [(densenet, 11, []), (shufflenet, 27, []), (googlenet, 58, ["aux1", "aux2"])],
)
def test_every_parameter_of_torchvision_families_is_accounted_for(build, layers, idle):
    with torch.device("meta"):
        model = build()
        found = find_layers(model, torch.zeros(1, 3, 64, 64), "net")
    assert found.exported
    assert len(found.spec.layers) == layers
    assert [warning.split(" ")[0] for warning in found.spec.warnings] == idle
    # every weight that runs is a layer's: norms that do not fold are all that is left
    assert not [name for name in found.spec.left_in_float if "norm" not in name]
    unused = sum(p.numel() for part in idle for p in model.get_submodule(part).parameters())
    assert accounted(model, found) + unused == sum(p.numel() for p in model.parameters())


def test_weights_that_a_function_takes_directly_stay_in_float_and_are_named():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Linear(6, 8)
            self.held = nn.Linear(8, 4)
            self.head = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = nn.functional.linear(self.embed(x), self.held.weight, self.held.bias)
            return self.head(x.mean(1))

    found = of(Functional(), 5, 6)
    assert found.spec.names == ("embed", "head")
    assert found.spec.left_in_float == {"held.weight": 32, "held.bias": 4}
    assert found.products == {"": 5 * 8 * 4}
    weight, product = found.spec.warnings
    assert weight.startswith("held.weight (32 weights) stays in float")
    assert "the model itself" in product
    assert "160 multiply-accumulates" in product
    assert found.spec.coverage == pytest.approx((48 + 12) / (48 + 12 + 36))
    assert layer(found, "head").producers == ("embed",)


def test_layers_inside_an_encoder_run_as_modules():
    # in eval mode torch would take one fused path past linear1 and linear2
    encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    found = of(encoder, 5, 8)
    attention = [f"self_attn.{name}_proj" for name in ("q", "k", "v", "out")]
    assert found.spec.names == (*attention, "linear1", "linear2")
    assert found.spec.left_in_float == {
        f"norm{i}.{p}": 8 for i in (1, 2) for p in ("weight", "bias")
    }
    assert torch.backends.mha.get_fastpath_enabled()


class Standardised(nn.Conv2d):
    """A convolution that standardises its weight first, as timm's ResNetV2 does."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        weight = weight / weight.std((1, 2, 3), keepdim=True)
        return self._conv_forward(x, weight, self.bias)


class Same(nn.Conv2d):
    """A convolution that pads by its own rule, as TensorFlow's "same" does."""

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(nn.functional.pad(x, (0, 1, 0, 1)), self.weight, self.bias)


class NormAndAct(nn.BatchNorm2d):
    """A batch-norm that also applies an activation function."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).relu()


@pytest.mark.parametrize("images", [torch.randn, torch.zeros])
def test_a_class_that_changes_its_weight_first_stays_in_float(images):
    net = nn.Sequential(nn.Conv2d(2, 3, 1, bias=False), Standardised(3, 4, 3), nn.Flatten())
    found = find_layers(net, images(1, 2, 3, 3), "net")
    assert found.spec.names == ("0",)
    assert found.spec.left_in_float == {"1.weight": 108, "1.bias": 4}
    assert found.products == {"1": 108}
    assert found.spec.warnings[0].startswith("1 layers of the class Standardised (108 weights")


def test_a_forward_pass_set_on_a_layer_itself_stays_in_float():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)).eval()
    own = net[1].forward
    net[1].forward = lambda x: own(x).abs()
    x = torch.randn(2, 3)
    found = find_layers(net, x, "net")
    assert found.spec.names == ("0",)
    assert found.spec.left_in_float == {"1.weight": 9, "1.bias": 3}


def test_classes_with_a_forward_pass_of_their_own_keep_it_when_wrapped():
    # the padding is the layer's; the norm's activation must not go when norms are folded
    net = nn.Sequential(
        Same(2, 3, 2, bias=False), nn.BatchNorm2d(3), Same(3, 4, 2), NormAndAct(4), nn.Flatten()
    ).eval()
    x = torch.randn(2, 2, 4, 4)
    found = find_layers(net, x, "net")
    assert (found.spec.names, found.norms) == (("0", "2"), {"0": "1"})
    assert found.spec.left_in_float == {"3.weight": 4, "3.bias": 4}
    model = QuantizedModel(net, found)
    torch.testing.assert_close(model(x), net(x))
    assert float_gap(net, model, x) < 1e-6
    with torch.no_grad():
        model.layers["2"].correct(None, model.layers["2"].bias + 100)
        model.set_layer("0", LayerBits(2))
        assert not torch.allclose(model(x), net(x), rtol=0.1)
    assert float_gap(net, model, x) < 1e-6
    net[2].bias.data += 1
    assert float_gap(net, model, x) > 0.01
    net[2].bias.data -= 1
    measure_ranges(model, [x])
    model.set_allocation(BitAllocation.uniform(found.spec.layers, 8, 8))
    assert 0 < float((model(x) - net(x)).detach().abs().max()) < 0.1


def test_a_transposed_weight_in_a_matrix_product_is_named():
    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)
            self.table = nn.Parameter(torch.randn(3, 4))
            self.offset = nn.Parameter(torch.randn(1, 4))

        def forward(self, x: Tensor) -> Tensor:
            return (self.fc(x) + self.offset) @ self.table.t()

    found = of(Bare(), 4)
    assert found.spec.left_in_float == {"table": 12, "offset": 4}
    assert found.spec.warnings[0].startswith("table (12 weights) stays in float")
    assert found.products == {"": 12}


def test_a_part_that_never_runs_is_named_and_not_counted():
    class Auxiliary(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 2)
            self.aux = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x) + self.aux(x).sum() if self.training else self.fc(x)

    found = of(Auxiliary(), 4)
    assert found.spec.names == ("fc",)
    assert found.spec.left_in_float == {}
    assert found.spec.warnings == (
        "aux never runs in eval mode: its 28 parameters are neither under a bit-width nor counted "
        "as left in float.",
    )


class Branching(nn.Module):
    """Control flow that torch.export cannot follow."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU())
        self.conv, self.norm = nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)
        self.fc = nn.Linear(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(self.body(x)))
        if float(x.abs().sum()) > 1e30:
            x = x * 0
        return self.fc(x.mean((2, 3)))


def test_without_a_graph_hooks_find_layers_and_the_warning_says_so():
    found = of(Branching(), 1, 6, 6)
    assert not found.exported
    assert found.spec.names == ("body.0", "conv", "fc")
    # only the norm beside its layer in a Sequential is known to be safe
    assert found.norms == {"body.0": "body.1"}
    assert found.spec.left_in_float == {"norm.weight": 2, "norm.bias": 2}
    assert all(spec.producers == () == spec.consumers for spec in found.spec.layers)
    assert found.spec.warnings[0].startswith("torch.export cannot follow this model")


def test_layers_come_in_the_order_they_run():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.last, self.first = nn.Linear(4, 2), nn.Linear(3, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.first(x))

    assert of(Backwards(), 3).spec.names == ("first", "last")


def test_the_model_is_left_as_it_was():
    model = Residual().train()
    model.norm.eval()
    before = weights_digest(model)
    found = of(model, 1, 8, 8)
    assert model.training
    assert not model.norm.training
    assert weights_digest(model) == before == found.spec.digest
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_only_the_first_example_counts():
    model = Residual()
    one, many = (find_layers(model, torch.zeros(n, 1, 8, 8), "net").spec for n in (1, 5))
    assert one == many


def test_the_digest_names_the_weights():
    model = Residual()
    digest = weights_digest(model)
    model.norm.num_batches_tracked += 1
    assert weights_digest(model) == digest
    with torch.no_grad():
        model.norm.running_mean[0] += 1e-3
    assert weights_digest(model) != digest
    assert len(digest) == 64


def test_images_of_the_wrong_channels_are_refused_by_name():
    with pytest.raises(InvalidData, match=r"'conv1' takes 3 channels, and is given 1"):
        find_layers(build_model("resnet18"), torch.zeros(1, 1, 64, 64), "resnet18")


def test_images_of_the_wrong_size_are_refused():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(32, 4))
    with pytest.raises(InvalidData, match=r"'2' takes 32 features, and is given 72"):
        of(model, 1, 8, 8)
    with pytest.raises(InvalidData, match="Wrong image height"):
        find_layers(build_model("vit_b_32"), torch.zeros(1, 3, 64, 64), "vit_b_32")
    assert not any(m._forward_hooks for m in model.modules())


class GivesWords(nn.Module):
    def forward(self, x):
        return "cat"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(nn.ReLU(), nn.Flatten()), "no layer to quantize"),
        (nn.Linear(4, 2), "single layer"),
        (GivesWords(), "returned str"),
    ],
)
def test_models_that_cannot_be_quantized_are_refused_by_name(model, message):
    with pytest.raises(UnsupportedModel, match=f"net .*{message}"):
        find_layers(model, torch.zeros(1, 3, 4), "net")


def test_uniform_bits_of_a_found_model_are_priced():
    spec = of(Residual(), 1, 8, 8).spec
    allocation = BitAllocation({name: LayerBits(4, 8) for name in spec.names})
    # 36 + 144 + 8 weights; 4 + 4 + 2 biases and scales; 3 quantized inputs
    assert costs_of(spec, allocation)["model_bytes"] == 94 + 40 + 40 + 24


def test_bilinear_layers_stay_in_float_with_their_products_and_the_reason():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.pair = nn.Linear(6, 3), nn.Bilinear(3, 6, 5)

        def forward(self, x):
            return self.pair(self.left(x), x)

    found = find_layers(Net(), torch.zeros(1, 6), "net")
    assert found.spec.names == ("left",)
    assert found.products == {"pair": 5 * 3 * 6}
    assert found.spec.left_in_float == {"pair.weight": 5 * 3 * 6, "pair.bias": 5}
    assert any("pair.weight (90 weights) stays in float" in w for w in found.spec.warnings)
