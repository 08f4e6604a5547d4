"""The trainer's stages can be scored, written into a file, and rebuilt in another process."""

import json
from dataclasses import replace

import pytest
import torch

from qcore.allocation import BitAllocation, LayerBits
from qcore.costs.budget import make_options
from qcore.data import Images
from qcore.errors import InvalidData, InvalidParams
from qcore.formats.apply import apply_bits
from qcore.formats.config import BitConfig, dump_bits, parse_bits
from qcore.formats.exports.templates.apply import apply
from qcore.models.zoo import load_model
from qcore.network.layers import find_layers
from qcore.ptq.model import QuantizedModel
from qcore.qat.checkpoints import MemoryCheckpoints
from qcore.qat.requests import (
    GivenBits,
    LearnedBits,
    LowBits,
    Quantization,
    SwitchableBits,
)
from qcore.qat.setup import Setup
from qcore.qat.switches import NormPlan
from qcore.qat.trainer import Trainer
from qcore.scoring.evaluator import Evaluator
from qcore.scoring.executors.pack import pack_evaluator
from tests.small_nets import (
    found,
    small_data,
    small_evaluator,
    small_net,
    small_trainer,
)

PLAN = {"epochs": 1, "batch_images": 32, "rate": 0.05}
X = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(5))
LAYERS = found(0).spec.layers
LOW, HIGH = BitAllocation.uniform(LAYERS, 2, 4), BitAllocation.uniform(LAYERS, 4, 8)
MIXED = BitAllocation(
    {
        name: LayerBits(w, a)
        for name, (w, a) in zip(LOW, ((3, 4), (1, 8), (2, 2), (4, 32), (32, 4)), strict=True)
    }
)


def given(stage: str, allocation: BitAllocation, **more) -> GivenBits:
    return GivenBits(stage=stage, allocation=allocation, **{"plan": PLAN, **more})


SECOND = given("second", HIGH, after="first")


def trained(quantizer: str = "clip"):
    kept, evaluator = MemoryCheckpoints(), small_evaluator()
    trainer = small_trainer(kept, evaluator)
    list(trainer.train(given("first", LOW, quantizer=quantizer)))
    return evaluator, trainer, kept


@pytest.fixture(scope="module")
def two_stages():
    evaluator, trainer, kept = trained()
    list(trainer.train(SECOND))
    return evaluator, trainer, kept


def test_a_stage_goes_on_from_the_one_it_names(two_stages):
    kept = MemoryCheckpoints()
    trainer = small_trainer(kept)
    trainer.restore("first", two_stages[1].saved("first"))
    list(trainer.train(given("second", HIGH, after="first")))
    list(trainer.train(given("anew", HIGH)))
    wanted, same, other = (
        t.install(stage).state_dict()["network.left.weight"].clone()
        for t, stage in ((two_stages[1], "second"), (trainer, "second"), (trainer, "anew"))
    )
    assert torch.equal(same, wanted)
    assert not torch.equal(other, wanted)
    with pytest.raises(InvalidParams, match="no weights of a finished stage 'never'"):
        next(trainer.train(given("third", LOW, after="never")))


def test_points_carry_their_stage_and_stages_differ(two_stages):
    evaluator = two_stages[0]
    points = [next(evaluator.score([LOW], stage)) for stage in ("ptq", "first", "second")]
    assert [point.stage for point in points] == ["ptq", "first", "second"]
    assert len({point.search.kl for point in points}) == 3


def test_a_score_does_not_depend_on_what_was_scored_before(two_stages):
    evaluator = two_stages[0]
    first = next(evaluator.score([MIXED], "second")).search
    window = next(evaluator.score([MIXED], "second", (8, 40))).search
    list(evaluator.score([LOW, HIGH], "first", (0, 32)))
    list(evaluator.score([LOW], "ptq"))
    assert next(evaluator.score([MIXED], "second")).search == first
    assert next(evaluator.score([MIXED], "second", (8, 40))).search == window
    assert window.n == 40


def test_scores_asked_in_between_do_not_change_what_is_trained():
    evaluator, trainer, _ = trained()
    list(evaluator.score([HIGH, MIXED], "first"))
    list(evaluator.score([MIXED], "first", (0, 32)))
    list(trainer.train(SECOND))
    plain = trained()[1]
    list(plain.train(SECOND))
    first, second = (t.install("second").state_dict() for t in (trainer, plain))
    for key, value in first.items():
        assert torch.equal(value, second[key]) if torch.is_tensor(value) else value == second[key]


@pytest.mark.parametrize("quantizer", ["clip", "lsq", "dorefa"])
def test_the_configuration_file_reproduces_the_logits(quantizer):
    evaluator = trained(quantizer)[0]
    for allocation in (MIXED, BitAllocation.uniform(LAYERS, 3, 4)):
        point = evaluator.report(next(evaluator.score([allocation], "first")))
        state = evaluator.state(point)
        with torch.no_grad():
            logits = evaluator.model(X)
        config = BitConfig(found(0).spec, allocation, state, found(0).norms, point.search)
        read = parse_bits(dump_bits(config))
        with torch.no_grad():
            assert torch.equal(apply_bits(small_net(), read)(X), logits)
            # the script that comes with an export needs nothing of bitdial
            bare = apply(small_net(), json.loads(dump_bits(config)))
            assert torch.allclose(bare(X), logits, atol=1e-4)


def test_codes_travel_as_bytes_and_use_no_more_than_their_bits(two_stages):
    evaluator = two_stages[0]
    state = evaluator.state(next(evaluator.score([MIXED], "second")))
    for name, bits in MIXED.items():
        if bits.weight == 32:
            assert "weight_codes" not in state[name]
            assert state[name]["weight"].size > 0
            continue
        codes = state[name]["weight_codes"]
        assert codes.dtype == "int16"
        assert len(set(codes.tolist())) <= 2**bits.weight
    config = BitConfig(found(0).spec, MIXED, state)
    assert '"int8"' in dump_bits(config)


def test_training_improves_on_the_images_trained_on():
    kept = MemoryCheckpoints()
    trainer = small_trainer(kept)
    plan = {"epochs": 10, "batch_images": 32, "rate": 0.05, "augment": False, "distillation": 1.0}
    events = list(trainer.train(given("long", LOW, plan=plan)))
    assert events[-1].figures["loss"] < 0.7 * events[0].figures["loss"]


def test_a_finished_stage_is_loaded_by_another_trainer(two_stages):
    evaluator, _, kept = two_stages
    other = small_evaluator()
    trainer = small_trainer(kept, other)
    wanted = next(evaluator.score([MIXED], "second")).search
    assert next(other.score([MIXED], "second")).search == wanted
    list(trainer.train(given("first", LOW)))
    list(trainer.train(SECOND))
    assert next(other.score([MIXED], "second")).search == wanted


def test_a_stage_travels_as_bytes(two_stages):
    evaluator, trainer, _ = two_stages
    other = small_evaluator()
    small_trainer(MemoryCheckpoints(), other).restore("second", trainer.saved("second"))
    wanted = next(evaluator.score([MIXED], "second", (0, 48)))
    assert next(other.score([MIXED], "second", (0, 48))).search == wanted.search


def test_the_quantizer_travels_with_the_stage():
    evaluator, trainer, _ = trained("dorefa")
    other = small_evaluator()
    small_trainer(MemoryCheckpoints(), other).restore("first", trainer.saved("first"))
    wanted = next(evaluator.score([MIXED], "first")).search
    assert next(other.score([MIXED], "first")).search == wanted


def test_an_optimiser_finds_each_scale_in_its_place_whether_the_stage_was_loaded_or_not(two_stages):
    setup = two_stages[1].setup
    fresh, quantization = setup.begun("", Quantization())
    loaded, same = setup.begun("second", Quantization("lsq"))
    assert same == quantization
    assert [n for n, _ in loaded.named_parameters()] == [n for n, _ in fresh.named_parameters()]


def test_unknown_and_unfinished_stages_are_refused():
    evaluator, trainer, _ = trained()
    training = trainer.train(given("half", LOW, after="first", plan={**PLAN, "epochs": 2}))
    next(training)
    training.close()
    for stage in ("half", "never"):
        with pytest.raises(InvalidParams, match=f"no weights of a finished stage '{stage}'"):
            next(evaluator.score([LOW], stage))
        with pytest.raises(InvalidParams, match=stage):
            trainer.saved(stage)
    with pytest.raises(InvalidParams, match="Unknown weights stage 'never'"):
        next(small_evaluator().score([LOW], "never"))


def test_data_without_training_images_is_refused():
    trainer = small_trainer(MemoryCheckpoints(), images=None)
    assert trainer.steps(PLAN) == 0
    for request in (
        given("first", LOW),
        SwitchableBits(stage="a", allocation=LOW, norms=NormPlan("switch", {"2/4": LOW})),
        LearnedBits(stage="b", training="c"),
        LowBits(stage="d", training="e", allocation=LOW),
    ):
        with pytest.raises(InvalidData, match="no training samples"):
            next(trainer.train(request))


def test_networks_too_large_for_a_configuration_are_refused_at_once(monkeypatch):
    monkeypatch.setattr("qcore.qat.trainer.MAX_BYTES", 2000)
    with pytest.raises(InvalidParams, match=r"small has 1,\d\d\d weights"):
        small_trainer(MemoryCheckpoints())


def test_a_stage_is_scored_alike_from_its_recipe():
    network, example = load_model("resnet8"), torch.zeros(1, 1, 28, 28)
    layers = find_layers(network, example, "resnet8")
    generator = torch.Generator().manual_seed(0)
    splits = [
        Images(
            torch.randint(0, 256, (32, 1, 28, 28), generator=generator, dtype=torch.uint8),
            torch.randint(0, 10, (32,), generator=generator),
        )
        for _ in range(3)
    ]
    data = replace(
        small_data(), classes=10, input_shape=(1, 28, 28),
        calibration=splits[0], search=splits[1], test=splits[1],
    )  # fmt: skip
    evaluator = Evaluator(QuantizedModel(network, layers), data, batch_size=16)
    options = make_options(layers.spec.layers, (2, 3), (4,))
    images = [x for x, _ in evaluator.calibration]
    setup = Setup(network, layers, options, splits[2], images, MemoryCheckpoints())
    evaluator.trainer = Trainer(setup)
    allocation = BitAllocation({name: allowed[0] for name, allowed in options.items()})
    request = given("first", allocation, plan={"epochs": 1, "batch_images": 16})
    list(evaluator.trainer.train(request))
    recipe = pack_evaluator(
        "first", network, layers.spec, data, "cpu", 16, evaluator.tuning, evaluator.trainer
    )
    elsewhere = recipe.build(*recipe.arguments)
    for window in (None, (8, 20)):
        here = next(evaluator.score([allocation], "first", window))
        there = next(iter(elsewhere.score([allocation], "first", window)))
        assert (there.key, there.search) == (here.key, here.search)
    plain = pack_evaluator("ptq", network, layers.spec, data, "cpu", 16, evaluator.tuning)
    assert plain.key != recipe.key
