"""Bits are learned under limits, resume to the same bits, and freeze into what was measured."""

import dataclasses
import json
import math

import pytest
import torch
from torch.nn import functional

from qcore.allocation import FLOAT_BITS, BitAllocation, LayerBits
from qcore.costs import COSTS, costs_of
from qcore.costs.user_tables import Table, cost_of
from qcore.data import Images
from qcore.errors import Diverged, InvalidData, InvalidParams
from qcore.formats.apply import apply_bits
from qcore.formats.config import BitConfig, dump_bits, parse_bits
from qcore.qat.checkpoints import MemoryCheckpoints
from qcore.qat.learned_bits.layer import LearnedGrid
from qcore.qat.learned_bits.model import DqModel, penalty
from qcore.qat.learned_bits.training import clips, held_out
from qcore.qat.loop import read_state
from qcore.qat.requests import Learned, LearnedBits, Quantization
from qcore.quantizers.dq import PARAMETRIZATIONS
from qcore.rules.ties import Tie
from tests.small_nets import (
    found,
    small_evaluator,
    small_images,
    small_net,
    small_options,
    small_setup,
    small_trainer,
)

SPEC = found(0).spec
BATCHES = [x for x, _ in small_images(64).batches(32)]
KINDS = ("step-range", "bits-range", "bits-step", "power-of-two")
every = pytest.mark.parametrize("kind", KINDS)
LOW = costs_of(SPEC, BitAllocation.uniform(SPEC.layers, 2, 4))
PLAN = {"epochs": 2, "batch_images": 16, "rate": 0.05, "schedule": "constant"}
X = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(5))


def limits(share: float = 1.3) -> dict[str, float]:
    names = ("weight_bytes", "activation_bytes_sum")
    return {name: share * LOW[name] for name in names}


def learning(kind: str = "step-range", **changes: object) -> LearnedBits:
    # powers of two begin with seven doublings, too many for a short training to lose
    share = 2.2 if kind == "power-of-two" else 1.3
    values = {"limits": limits(share), "validation_images": 16, "check_every": 2, "plan": PLAN}
    return LearnedBits(stage="frozen", training="bits", kind=kind, **{**values, **changes})


def learn(trainer, what: LearnedBits, stop_after: int | None = None):
    training, seen = trainer.train(what), []
    while True:
        try:
            seen.append(next(training))
        except StopIteration as end:
            return end.value, seen
        if stop_after is not None and len(seen) == stop_after:
            training.close()
            return None, seen


def model(kind: str = "step-range", powers: bool = False, **options: object) -> DqModel:
    made = DqModel(small_net(), found(0), small_options(**options), kind=kind, powers=powers)
    made.start_scales(BATCHES)
    return made


@every
def test_what_is_learned_fits_and_is_measured_as_it_was_trained(kind):
    kept, evaluator = MemoryCheckpoints(), small_evaluator()
    trainer = small_trainer(kept, evaluator)
    learned, seen = learn(trainer, learning(kind))
    assert isinstance(learned, Learned)
    assert learned.fits
    costs = costs_of(SPEC, learned.allocation)
    assert all(costs[name] <= most for name, most in learning(kind).limits.items())
    assert len(seen) == 2
    json.dumps([progress.figures for progress in seen])
    point = evaluator.report(next(evaluator.score([learned.allocation], "frozen")))
    config = BitConfig(
        model=evaluator.model.spec,
        allocation=point.allocation,
        state=evaluator.state(point),
        norms=evaluator.model.norms,
        search=point.search,
        test=point.test,
        float_test=evaluator.float_point.test,
        provenance={},
    )
    trained = trainer.at("frozen", learned.allocation)
    trained.estimate_norms(BATCHES)
    applied = apply_bits(small_net(), parse_bits(dump_bits(config)))
    with torch.inference_mode():
        assert torch.allclose(applied(X), trained(X), atol=2e-4)


@pytest.mark.parametrize("kind", ["step-range", "power-of-two"])
def test_killed_after_every_epoch_it_learns_the_same(kind):
    straight = MemoryCheckpoints()
    learned, events = learn(small_trainer(straight), learning(kind))
    kept = MemoryCheckpoints()
    for epoch in (1, 2):
        learn(small_trainer(kept), learning(kind), stop_after=epoch)
    again, seen = learn(small_trainer(kept), learning(kind))
    assert again == learned
    assert seen == events
    first, second = (read_state(k.load("frozen")[1])["model"] for k in (straight, kept))
    for key, value in first.items():
        assert torch.equal(value, second[key]) if torch.is_tensor(value) else value == second[key]


@every
def test_frozen_weights_and_inputs_are_the_learned_ones(kind):
    made = model(kind)
    allocation = made.chosen()
    quantization = Quantization("power-of-two" if kind == "power-of-two" else "dq")
    plain, _ = small_setup(MemoryCheckpoints()).begun("", quantization)
    made.freeze(plain, allocation)
    plain.set_allocation(allocation)
    with torch.inference_mode():
        assert torch.allclose(plain(X), made(X), atol=1e-4)
        for name, layer in made.layers.items():
            assert torch.allclose(plain.layers[name].quantized(), layer.weights(layer.weight))


@every
@pytest.mark.parametrize("powers", [False, True])
def test_no_layer_uses_more_levels_than_it_pays_for(kind, powers):
    made = model(kind, powers)
    torch.manual_seed(0)
    for _ in range(5):
        for layer in made.layers.values():
            for part in (layer.weights, layer.inputs):
                with torch.no_grad():
                    part.first.mul_(float(torch.rand(()) * 2))
                    part.second.mul_(float(torch.rand(()) * 2))
        made.after_step()
        chosen = made.chosen()
        for name, bits in made.inferred().items():
            layer = made.layers[name]
            assert len(layer.weights(torch.randn(4000)).unique()) <= 2**bits.weight
            assert len(layer.inputs(3 * torch.randn(4000)).unique()) <= 2**bits.activation
            assert chosen[name] in small_options()[name]
            assert chosen[name].weight <= bits.weight


def test_widths_that_are_not_allowed_are_paid_for_at_the_next_one():
    part = LearnedGrid(PARAMETRIZATIONS["step-range"], (2, 4, 8), False, "weights")
    part.start(0.125, 4, True)
    with torch.no_grad():
        part.second.fill_(0.125 * 3)  # three bits
    assert part.grid().bits.item() == 3
    assert part.bits(part.grid()).item() == 4


def test_bits_grow_beyond_the_widest_are_paid_for_and_come_back_when_frozen():
    made = model(weights=(2, 4), inputs=(2, 4))
    weights, inputs = made.layers["right"].weights, made.layers["right"].inputs
    with torch.no_grad():
        for part in (weights, inputs):
            part.second.copy_(part.first * 30)  # six bits, five without a sign
    made.after_step()
    assert made.chosen()["right"] == LayerBits(4, 4)
    assert made.inferred()["right"] == LayerBits(6, 5 + inputs.signed)
    exact = costs_of(SPEC, made.inferred())["weight_bytes"]
    assert exact - costs_of(SPEC, made.chosen())["weight_bytes"] > 0
    assert made.costs(["weight_bytes"])["weight_bytes"].item() == pytest.approx(
        exact, abs=len(SPEC.layers)
    )
    plain, _ = small_setup(MemoryCheckpoints()).begun("", Quantization("dq"))
    made.freeze(plain, made.chosen())
    plain.set_allocation(made.chosen())
    frozen = plain.layers["right"].quantized().detach()
    assert len(frozen.unique()) <= 15
    # the largest level is the learned one, so that nothing more is cut off
    assert frozen.abs().max() <= weights.grid().reach * (1 + 1e-6)
    assert plain.layers["right"].grids[4].high == (7 if inputs.signed else 15)


def test_a_layer_of_one_width_does_not_grow():
    made = model(weights=(4,), inputs=(32,))
    for layer in made.layers.values():
        with torch.no_grad():
            layer.weights.second.mul_(9)
    made.after_step()
    assert {bits.weight for bits in made.inferred().values()} == {4}


@pytest.mark.parametrize(
    ("kind", "limited", "wanted"),
    [
        ("step-range", True, True),
        ("power-of-two", True, True),
        ("step-range", False, False),
        ("bits-range", True, False),
        ("bits-step", True, False),
    ],
)
def test_gradients_are_clipped_where_the_published_script_clips_them(kind, limited, wanted):
    asked = learning(kind, limits=limits() if limited else {})
    assert clips(asked) is wanted
    assert clips(dataclasses.replace(asked, clipping="all"))
    made = DqModel(small_net(), found(0), small_options(), kind=kind, clipped=wanted)
    made.start_scales(BATCHES)
    (1e6 * functional.cross_entropy(made(X), torch.zeros(16, dtype=torch.long))).backward()
    part = made.layers["right"].weights
    longest = max(1.0, part.grid().step.item()) * (1 + 1e-6)
    grads = [abs(each.grad.item()) for each in (part.first, part.second)]
    assert (max(grads) <= longest) is wanted


def test_of_states_with_equal_loss_the_latest_is_kept():
    made = model()
    for value, score in ((0.5, 0.9), (0.5, 0.8), (0.7, 1.0)):
        with torch.no_grad():
            made.layers["right"].weight.fill_(score)
        made.remember(value, score)
    assert (made.best_value, made.best_score) == (0.5, 0.8)
    made.recall()
    assert made.layers["right"].weight.unique().tolist() == pytest.approx([0.8])


def test_the_penalty_is_the_squared_excess_in_kilobytes_and_zero_when_met():
    made = model(weights=(2, 4, 8), inputs=(32,))
    exact = costs_of(SPEC, made.chosen())
    over = {"weight_bytes": exact["weight_bytes"] / 1.25}
    value = penalty(made, over, 0.1, exact)
    assert value.item() == pytest.approx(0.1 * (70.1 * 0.25) ** 2, rel=1e-5)
    value.backward()
    layer = made.layers["right"].weights
    step, reach = layer.first.item(), layer.second.item()
    weights = next(x.weights for x in SPEC.layers if x.name == "right")
    slope = 0.1 * 2 * 70.1**2 * 0.25 / over["weight_bytes"] * weights / 8
    wanted = slope / ((reach + step) * math.log(2))
    assert layer.second.grad.item() == pytest.approx(min(wanted, step), rel=1e-4)
    met = {"weight_bytes": float(exact["weight_bytes"])}
    assert penalty(made, met, 0.1, exact).item() == 0


def test_the_largest_activation_alone_feels_its_limit_and_all_feel_the_total():
    largest = {"depthwise", "left", "right"}  # 512 values each, the image has 64
    for cost, felt in (("activation_bytes_max", largest), ("activation_bytes_sum", {*SPEC.names})):
        made = model()
        exact = costs_of(SPEC, made.chosen())
        penalty(made, {cost: exact[cost] * 0.8}, 0.1, exact).backward()
        moved = {name: layer.inputs.second.grad for name, layer in made.layers.items()}
        assert {name for name, g in moved.items() if g is not None and g.item() != 0} == felt


@pytest.mark.parametrize("cost", ["packed32_bytes", "model_bytes", "bit_ops", "phone"])
def test_every_limit_on_weights_pulls_at_the_grids_of_all_weights(cost):
    rows = {LayerBits(w, a): 10 * w + a for w in (2, 4, 8) for a in (2, 4, 8)}
    table = Table("phone", "latency", "ns", dict.fromkeys(SPEC.names, rows))
    costs = {**COSTS, "phone": cost_of(table)}
    made = model(weights=(2, 4, 8), inputs=(2, 4, 8))
    exact = costs_of(SPEC, made.chosen(), costs)
    penalty(made, {cost: exact[cost] * 0.8}, 0.1, exact, costs).backward()
    for layer in made.layers.values():
        # a longer reach at the same step takes more bits
        assert layer.weights.second.grad.item() > 0


def test_training_under_a_limit_on_words_ends_within_it():
    low = costs_of(SPEC, BitAllocation.uniform(SPEC.layers, 2, 4))["packed32_bytes"]
    tight = {"packed32_bytes": 1.3 * low}
    learned, _ = learn(small_trainer(MemoryCheckpoints()), learning(limits=tight))
    assert learned.fits
    assert costs_of(SPEC, learned.allocation)["packed32_bytes"] <= 1.3 * low
    # the weights gave way, not the inputs
    free, _ = learn(small_trainer(MemoryCheckpoints()), learning(limits={}))
    assert costs_of(SPEC, free.allocation)["packed32_bytes"] > 1.3 * low


def test_bits_that_a_table_does_not_list_are_over_the_limit_and_pulled_back():
    rows = {LayerBits(w, a): 10 * w + a for w in (2, 3) for a in (2, 4, 8)}
    table = Table("phone", "latency", "ns", dict.fromkeys(SPEC.names, rows))
    costs = {**COSTS, "phone": cost_of(table)}
    made = model(weights=(2, 3, 4), inputs=(2, 4, 8))
    exact = costs_of(SPEC, made.chosen(), costs)
    assert "phone" not in exact
    penalty(made, {"phone": 1000.0}, 0.1, exact, costs).backward()
    assert all(layer.weights.second.grad.item() > 0 for layer in made.layers.values())
    learned, seen = learn(
        small_trainer(MemoryCheckpoints()), learning(limits={"phone": 150.0}, costs=costs)
    )
    assert learned.allocation
    json.dumps([progress.figures for progress in seen])


def test_a_limit_on_a_cost_that_cannot_be_felt_is_refused():
    bare = dataclasses.replace(COSTS["weight_bytes"], name="bare", title="Bare", smooth=None)
    with pytest.raises(InvalidParams, match="Bare has no smooth form"):
        model().costs(["bare"], {"bare": bare})


def test_a_gradient_is_no_longer_than_the_step():
    made = model()
    loss = 1e6 * functional.cross_entropy(made(X), torch.zeros(16, dtype=torch.long))
    loss.backward()
    for layer in made.layers.values():
        for part in (layer.weights, layer.inputs):
            limit = part.grid().step.item() * (1 + 1e-6)
            assert abs(part.first.grad.item()) <= limit
            assert abs(part.second.grad.item()) <= limit


def test_a_layer_with_one_width_keeps_it_and_feels_no_penalty():
    made = model(weights=(8,), inputs=(32,))
    exact = costs_of(SPEC, made.chosen())
    assert {bits.weight for bits in made.chosen().values()} == {8}
    assert not penalty(made, {"weight_bytes": 1.0}, 0.1, exact).requires_grad


def test_what_may_only_be_float_stays_float():
    made = model(weights=(32,), inputs=(32,))
    assert set(made.chosen().values()) == {LayerBits(FLOAT_BITS)}
    with torch.inference_mode():
        assert torch.allclose(made(X), small_net()(X), atol=1e-5)


def test_one_bit_only_is_refused_by_even_grids_and_taken_by_powers_of_two():
    with pytest.raises(InvalidParams, match="may have one bit only"):
        model(weights=(1,), inputs=(32,))
    made = model("power-of-two", weights=(1,), inputs=(32,))
    assert len(made.layers["right"].weights(torch.randn(500)).unique()) == 2


def test_bits_to_begin_with_are_taken():
    start = BitAllocation(
        {n: LayerBits(w, 4) for n, w in zip(SPEC.names, (2, 3, 4, 3, 2), strict=True)}
    )
    made = DqModel(small_net(), found(0), small_options())
    for name, layer in made.layers.items():
        layer.begin = start[name]
    made.start_scales(BATCHES)
    assert made.chosen() == start


def test_limits_that_were_never_met_are_said():
    impossible = learning(limits={"weight_bytes": 1.0}, plan={**PLAN, "epochs": 1})
    learned, _ = learn(small_trainer(MemoryCheckpoints()), impossible)
    assert not learned.fits
    assert learned.validation is None


def test_validation_images_train_nothing():
    images = Images(torch.arange(50, dtype=torch.uint8).view(50, 1, 1, 1), torch.arange(50))
    train, validation = held_out(images, 5, 0)
    assert sorted([*train.labels.tolist(), *validation.labels.tolist()]) == list(range(50))
    assert len(validation) == 5
    with pytest.raises(InvalidData, match="at least 10"):
        held_out(small_images(6), 5, 0)


def test_a_loss_that_is_no_number_is_explained():
    diverging = learning(plan={**PLAN, "rate": 1e30})
    with pytest.raises(Diverged, match=r"learning rate"):
        learn(small_trainer(MemoryCheckpoints()), diverging)


def test_tied_layers_are_paid_and_frozen_at_the_widest_that_one_of_them_needs():
    free = model(weights=(2, 4, 8), inputs=(2, 4, 8))
    tie = Tie("weight", ("left", "right"))
    tied = DqModel(
        small_net(), found(0), small_options(weights=(2, 4, 8), inputs=(2, 4, 8)), ties=(tie,)
    )
    tied.start_scales(BATCHES)
    for made in (free, tied):
        with torch.no_grad():
            narrow = made.layers["left"].weights
            narrow.second.copy_(narrow.first)  # two bits are enough for it
    assert free.chosen()["left"].weight == 2
    assert free.chosen()["right"].weight == 4
    assert tied.chosen()["left"].weight == tied.chosen()["right"].weight == 4
    assert {n: b.activation for n, b in tied.chosen().items()} == {
        n: b.activation for n, b in free.chosen().items()
    }
    cheap, dear = (made.costs(["weight_bytes"])["weight_bytes"].item() for made in (free, tied))
    left = next(layer.weights for layer in SPEC.layers if layer.name == "left")
    assert dear - cheap == pytest.approx(left * 2 / 8)
    exact = costs_of(SPEC, tied.chosen())
    penalty(tied, {"weight_bytes": exact["weight_bytes"] * 0.8}, 0.1, exact).backward()
    # the widest one feels the price of both, and of no other layer
    assert tied.layers["right"].weights.second.grad.item() > 0
    assert not tied.layers["left"].weights.second.grad


def test_bits_learned_under_a_tie_end_tied():
    tie = Tie("activation", ("left", "right"))
    trainer = small_trainer(MemoryCheckpoints(), ties=(tie,))
    learned, _ = learn(trainer, learning())
    tie.check(learned.allocation)
