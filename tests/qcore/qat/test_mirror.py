"""Low bits through mirror maps: what each method does to a step, and where training ends."""

import json

import pytest
import torch

from qcore.allocation import BitAllocation, LayerBits
from qcore.errors import Diverged, InvalidParams
from qcore.qat.checkpoints import MemoryCheckpoints
from qcore.qat.loop import read_state
from qcore.qat.mirror.layer import MirrorLayer
from qcore.qat.mirror.training import MirrorModel
from qcore.qat.requests import Hardened, LowBits
from qcore.quantizers.mirror_maps import HARD
from qcore.quantizers.mirror_methods import METHODS
from tests.small_nets import (
    found,
    small_evaluator,
    small_images,
    small_setup,
    small_trainer,
)

NAMES = found(0).spec.names
BATCHES = [x for x, _ in small_images(64).batches(32)]
PLAN = {"epochs": 2, "batch_images": 16, "rate": 3e-3, "optimizer": "adam", "decay": 0.0}
WIDTHS = ((1, 32), (2, 4), (4, 8), (1, 4), (32, 32))
MIXED = BitAllocation({n: LayerBits(*b) for n, b in zip(NAMES, WIDTHS, strict=True)})
BINARY = MIXED.replace(NAMES[1], LayerBits(1, 4))
every = pytest.mark.parametrize("method", METHODS)
X = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(5))


def bits_for(method: str) -> BitAllocation:
    return BINARY if method == "md-tanh" else MIXED


def low_bits(method: str, **changes) -> LowBits:
    settings = {"allocation": bits_for(method), "method": method, **changes}
    return LowBits(stage="final", training="mirror", **settings)


def train(trainer, method: str, stop_after: int | None = None, **changes):
    training, seen = trainer.train(low_bits(method, **{"plan": PLAN, **changes})), []
    while True:
        try:
            seen.append(next(training))
        except StopIteration as end:
            return end.value, seen
        if stop_after is not None and len(seen) == stop_after:
            training.close()
            return None, seen


def model(method: str, low: LowBits | None = None) -> MirrorModel:
    made = MirrorModel(small_setup(MemoryCheckpoints()), low or low_bits(method))
    made.start_scales(BATCHES)
    for layer in made.low_layers.values():
        layer.begin()
    made.set_allocation(bits_for(method))
    return made


@every
def test_it_ends_at_levels_on_the_common_front(method):
    evaluator = small_evaluator()
    trainer = small_trainer(MemoryCheckpoints(), evaluator)
    result, seen = train(trainer, method)
    assert isinstance(result, Hardened)
    assert [p.step for p in seen] == [1, 2, 3]
    assert {p.total for p in seen} == {3}
    json.dumps([p.figures for p in seen])
    tail = seen[-1].figures
    assert tail["off_level"] == 0
    assert tail["soft_accuracy"] == tail["hard_accuracy"]
    allocation = bits_for(method)
    next(evaluator.score([allocation], "final"))
    weights = {n: layer.quantized for n, layer in evaluator.model.layers.items()}
    for name, bits in allocation.items():
        most = {1: 2, 2: 3, 4: 16}.get(bits.weight, 10**9)
        assert len(weights[name].unique()) <= most
    trained = trainer.at("final", allocation)
    for name in ("stem.0", "right"):
        # one scale: two levels, one the negative of the other
        sizes = trained.layers[name].quantized().abs().unique()
        assert sizes.max() - sizes.min() <= 1e-6


@pytest.mark.parametrize("method", ["md-tanh-s", "md-softmax", "proxquant"])
def test_killed_after_every_epoch_it_ends_the_same(method):
    straight, kept = MemoryCheckpoints(), MemoryCheckpoints()
    result, events = train(small_trainer(straight), method)
    for epoch in (1, 2, 3):
        train(small_trainer(kept), method, stop_after=epoch)
    again, seen = train(small_trainer(kept), method)
    assert (again, seen) == (result, events)
    first, second = (read_state(k.load("final")[1])["model"] for k in (straight, kept))
    for key, value in first.items():
        assert torch.equal(value, second[key]) if torch.is_tensor(value) else value == second[key]


def gradient(layer: MirrorLayer, g: torch.Tensor) -> torch.Tensor:
    with torch.enable_grad():
        (along,) = torch.autograd.grad(layer.quantized(), layer.auxiliary, g)
    return along


def test_descent_through_softmax_has_the_derivative_of_softmax():
    layer = model("gd-softmax").low_layers["right"]
    layer.beta = 2.0
    g = torch.rand(layer.weight.shape)
    u, levels = torch.softmax(2 * layer.auxiliary / layer.scale, 0), layer.levels
    mean = torch.tensordot(levels, u, dims=1)
    column = levels.view(-1, *([1] * mean.dim()))
    assert torch.allclose(gradient(layer, g), 2 * u * (column - mean) * g, atol=1e-6)


def test_training_says_what_its_auxiliary_variables_take():
    weights = sum(x.weights for x in found(0).spec.layers if MIXED[x.name].weight <= 2)
    for method, each in (("md-tanh-s", {1: 1, 2: 1}), ("md-softmax-s", {1: 2, 2: 3})):
        made = MirrorModel(small_setup(MemoryCheckpoints()), low_bits(method))
        held = sum(layer.auxiliary.numel() for layer in made.low_layers.values())
        assert held == sum(
            x.weights * each[MIXED[x.name].weight]
            for x in found(0).spec.layers
            if MIXED[x.name].weight <= 2
        )
    result, _ = train(small_trainer(MemoryCheckpoints()), "md-tanh-s")
    assert result.auxiliary_bytes == result.low_bytes == 4 * weights


def test_mirror_descent_feeds_the_gradient_on_unchanged_and_gradient_descent_does_not():
    for method in ("md-tanh-s", "md-tanh", "gd-tanh", "ste", "proxquant"):
        layer = model(method).low_layers["right"]
        layer.beta = 2.0
        g = torch.ones_like(layer.weight)
        along = gradient(layer, g)
        if method == "gd-tanh":
            t = torch.tanh(2 * layer.auxiliary / layer.scale)
            assert torch.allclose(along, 2 * (1 - t * t), atol=1e-6)
        elif method == "ste":
            assert torch.equal(along, (layer.auxiliary.abs() <= 3 * layer.scale).float())
        else:
            assert torch.equal(along, g)


def test_softmax_of_two_levels_takes_the_steps_of_tanh():
    tanh, softmax = (model(m).low_layers["right"] for m in ("md-tanh-s", "md-softmax-s"))
    g = torch.randn(tanh.weight.shape, generator=torch.Generator().manual_seed(0))
    for layer in (tanh, softmax):
        layer.beta = 3.0
        with torch.no_grad():
            layer.auxiliary.sub_(0.01 * gradient(layer, g))
    assert torch.allclose(tanh.soft(), softmax.soft(), atol=1e-5)


def test_without_auxiliary_variables_a_step_is_the_multiplicative_one():
    plain, stable = (model(m).low_layers["right"] for m in ("md-tanh", "md-tanh-s"))
    g = torch.randn(plain.weight.shape, generator=torch.Generator().manual_seed(0))
    for layer in (plain, stable):
        with torch.no_grad():
            layer.auxiliary.sub_(0.01 * gradient(layer, g))
            layer.after_step()
    assert torch.allclose(plain.soft(), stable.soft(), atol=1e-5)


def test_hard_plain_forms_and_proxquant_no_longer_move():
    for method in ("md-tanh", "md-softmax", "proxquant"):
        layer = model(method).low_layers["right"]
        layer.beta = HARD
        weights = layer.quantized()
        assert len(weights.unique()) == 2
        assert torch.autograd.grad(weights.sum(), layer.auxiliary, allow_unused=True) == (None,)


def test_scales_are_learned_or_stay_where_a_norm_follows():
    for learn in (True, False):
        made = model("md-tanh-s", low_bits("md-tanh-s", learn_scales=learn))
        learned = {id(p) for p in made.groups()["scales"]}
        held = {n: id(layer.scale) in learned for n, layer in made.low_layers.items()}
        # "right" has no batch-norm behind it
        assert held == {"stem.0": learn, "depthwise": learn, "right": True}
        decayed = {id(p) for p in made.groups()["weights"]}
        assert not any(id(x.auxiliary) in decayed for x in made.low_layers.values())


def test_a_network_without_norm_is_named_and_a_soft_end_is_measured():
    result, _ = train(small_trainer(MemoryCheckpoints()), "md-tanh-s", beta=2.0)
    assert result.off_level > 0.01
    soft, bare = result.warnings
    assert "ended soft" in soft
    assert "Raise beta (now up to 2)" in soft
    assert bare.startswith("No batch-norm follows right")


def test_maps_without_these_levels_are_refused():
    with pytest.raises(InvalidParams, match="at most 2 levels, and layer 'depthwise' has 3"):
        train_plain("md-tanh")
    with pytest.raises(InvalidParams, match="Choose a softmax method"):
        train_plain("md-tanh-s", ternary=False)
    with pytest.raises(InvalidParams, match="Unknown method 'magic'"):
        train_plain("magic")


def train_plain(method: str, **changes):
    low = low_bits(method, allocation=MIXED, plan=PLAN, **changes)
    return next(small_trainer(MemoryCheckpoints()).train(low))


def test_two_bits_may_have_four_levels():
    trainer = small_trainer(MemoryCheckpoints())
    low = low_bits("md-softmax-s", ternary=False, plan={**PLAN, "epochs": 1})
    list(trainer.train(low))
    layer = trainer.at("final", MIXED).layers["depthwise"]
    codes = (layer.quantized() / layer.scales["w2"]).round().unique().tolist()
    assert set(codes) <= {-2, -1, 0, 1}
    assert model("md-softmax-s", low).low_layers["depthwise"].codes == (-2, -1, 0, 1)


def test_a_loss_that_is_no_number_is_explained():
    with pytest.raises(Diverged, match=r"[Ll]ower the learning rate"):
        train(small_trainer(MemoryCheckpoints()), "md-tanh-s", plan={**PLAN, "rate": 1e30})
