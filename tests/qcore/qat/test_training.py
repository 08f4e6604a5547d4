"""The training loop resumes at every epoch to the last bit, and says what it cannot do."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from qcore.allocation import BitAllocation
from qcore.data import Images
from qcore.errors import Diverged, InvalidData, InvalidParams
from qcore.problem import Progress
from qcore.qat.batches import Epoch, batches_of, flipped_and_shifted
from qcore.qat.checkpoints import MemoryCheckpoints
from qcore.qat.loop import Plan, Stage, read_state, train_stage
from tests.small_nets import small_images, small_net, small_trainable

BATCHES = [x for x, _ in small_images(64).batches(32)]


def stage(plan: Plan | None = None, **changes: object) -> Stage:
    model = small_trainable()
    model.set_allocation(BitAllocation.uniform(model.spec.layers, 3, 4))
    plan = plan or Plan(epochs=3, batch_images=32)
    made = Stage("one", model, small_images(96, 4), plan, finish=lambda: finish(model))
    return replace(made, **changes)  # type: ignore[arg-type]


def finish(model) -> None:
    model.estimate_norms(BATCHES)
    model.start_scales(BATCHES)


def weights(model) -> dict[str, torch.Tensor]:
    return {k: v for k, v in model.state_dict().items() if isinstance(v, torch.Tensor)}


def same(a, b) -> bool:
    first, second = weights(a), weights(b)
    return set(first) == set(second) and all(torch.equal(first[k], second[k]) for k in first)


PLANS = {
    "sgd": Plan(epochs=3, batch_images=32),
    "adam": Plan(epochs=3, batch_images=32, optimizer="adam", rate=1e-3, schedule="constant"),
    "part": Plan(epochs=3, batch_images=16, epoch_images=48, largest_gradient=1.0),
}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_killed_after_every_epoch_it_ends_with_identical_weights(plan):
    straight = stage(plan)
    events = list(train_stage(straight, MemoryCheckpoints()))
    kept, seen = MemoryCheckpoints(), []
    for epochs in range(1, plan.epochs + 1):
        again = stage(plan)
        training = train_stage(again, kept)
        seen = [next(training) for _ in range(epochs)]
        training.close()
    assert seen == events
    assert same(again.model, straight.model)


def test_a_finished_stage_is_loaded_and_not_trained():
    kept, first = MemoryCheckpoints(), stage()
    events = list(train_stage(first, kept))

    def refuse(*_):
        raise AssertionError("trained again")

    second = stage(loss=refuse, finish=refuse)
    assert list(train_stage(second, kept)) == events
    assert same(second.model, first.model)


def test_bits_that_change_at_every_step_resume_too():
    def run(kills: bool):
        kept = MemoryCheckpoints()
        while True:
            made = stage()
            layers, drawn = made.model.spec.layers, []

            def switch(step, generator, model=made.model, layers=layers, drawn=drawn):
                bits = (2, 3, 4)[int(torch.randint(3, (), generator=generator))]
                drawn.append(bits)
                model.set_allocation(BitAllocation.uniform(layers, bits, 4))

            training = train_stage(replace(made, before_step=switch), kept)
            last = None
            for progress in training:
                last = progress
                if kills and drawn:
                    training.close()
                    break
            if last is not None and last.step == last.total:
                return made.model, drawn

    straight, drawn = run(kills=False)
    assert len(drawn) == 9
    assert len(set(drawn)) > 1
    assert same(run(kills=True)[0], straight)


def test_it_learns():
    # labels that can be learned: the brightest quarter of the image
    images = small_images(256, 7)
    quarters = images.pixels.float().unfold(2, 4, 4).unfold(3, 4, 4).mean((1, 4, 5)).flatten(1)
    learnable = Images(images.pixels, quarters.argmax(1))
    plan = Plan(epochs=12, batch_images=32, rate=0.05, augment=False)
    losses = [
        p.figures["loss"] for p in train_stage(stage(plan, images=learnable), MemoryCheckpoints())
    ]
    assert losses[-1] < 0.8 * losses[0]


def test_progress_counts_epochs_and_carries_figures():
    events = list(train_stage(stage(), MemoryCheckpoints()))
    assert all(isinstance(event, Progress) for event in events)
    assert [(event.step, event.total) for event in events] == [(1, 3), (2, 3), (3, 3)]
    assert all(event.figures["stage"] == "one" for event in events)
    assert all(0 <= event.figures["accuracy"] <= 1 for event in events)


def test_another_seed_and_another_stage_see_other_images():
    base = [p.figures["loss"] for p in train_stage(stage(), MemoryCheckpoints())]
    for changes in ({"seed": 1}, {"name": "two"}):
        other = [p.figures["loss"] for p in train_stage(stage(**changes), MemoryCheckpoints())]
        assert other != base


def test_a_loss_that_is_nan_names_the_layer_and_the_step():
    made = stage()
    layer = made.model.layers["right"]

    def poison(step, generator):
        if step == 4:
            with torch.no_grad():
                layer.weight.fill_(float("nan"))

    kept = MemoryCheckpoints()
    words = "'one' diverged at step 5: the loss is nan, and layer 'right'"
    with pytest.raises(Diverged, match=words):
        list(train_stage(replace(made, before_step=poison), kept))
    assert kept.load("one")[0] == 1


def test_a_stage_never_keeps_parameters_that_are_nan():
    made = stage(Plan(epochs=1, batch_images=96))
    kept = MemoryCheckpoints()

    def infinite(model, x, y, generator):
        logits = model(x)
        return (logits * 0).sum() + torch.where(
            logits > 1e9, logits, 0 * logits
        ).sum().sqrt(), logits

    with pytest.raises(Diverged, match="NaN or infinite by step 1 of 1"):
        list(train_stage(replace(made, loss=infinite), kept))
    assert kept.load("one") is None


def test_without_labels_only_distillation_trains():
    unlabelled = small_images(96, 4, labelled=False)
    with pytest.raises(InvalidData, match="needs labelled samples"):
        next(train_stage(stage(images=unlabelled), MemoryCheckpoints()))
    plan = Plan(epochs=6, batch_images=32, distillation=1.0, augment=False)
    with pytest.raises(InvalidParams, match="teacher"):
        next(train_stage(stage(plan, images=unlabelled), MemoryCheckpoints()))
    made = stage(plan, images=unlabelled, teacher=small_net())
    losses = [p.figures["loss"] for p in train_stage(made, MemoryCheckpoints())]
    assert losses[-1] < losses[0]


def test_the_rate_falls_along_a_cosine():
    rates = []
    made = stage(Plan(epochs=2, batch_images=32, rate=0.5, scale_rate=0.1, momentum=0.0))
    made.model.after_step = lambda: rates.append(made.model.layers["head"].weight.detach().clone())
    gradients = []

    def loss(model, x, y, generator):
        # a gradient of one everywhere, so that a step shows its rate
        value = sum(p.sum() for group in model.groups().values() for p in group)
        gradients.append(1)
        return value, model(x)

    list(
        train_stage(
            replace(made, loss=loss, plan=replace(made.plan, decay=0.0)), MemoryCheckpoints()
        )
    )
    falls = [float((a - b).mean()) for a, b in pairwise(rates)]
    wanted = [0.25 * (1 + math.cos(math.pi * step / 6)) for step in range(1, 6)]
    assert falls == pytest.approx(wanted, rel=1e-3)


def test_a_penalty_moves_the_weights_and_is_not_in_the_loss_that_is_told():
    plan = Plan(epochs=1, batch_images=96, decay=0.0, momentum=0.0, augment=False)
    plain, pushed = stage(plan), stage(plan)
    weight = pushed.model.layers["head"].weight
    pushed = replace(pushed, penalty=lambda: 100 * weight.sum())
    told = [p.figures for s in (plain, pushed) for p in train_stage(s, MemoryCheckpoints())]
    assert told[0]["loss"] == told[1]["loss"]
    fallen = plain.model.layers["head"].weight - weight
    assert torch.allclose(fallen, torch.full_like(fallen, 100 * plan.rate), atol=1e-4)


def test_what_is_measured_after_an_epoch_is_kept_with_it():
    made, kept = stage(), MemoryCheckpoints()
    numbers = iter(range(9))
    events = list(train_stage(replace(made, measure=lambda: {"seen": next(numbers)}), kept))
    assert [event.figures["seen"] for event in events] == [0, 1, 2]
    again = list(train_stage(stage(measure=lambda: {"seen": -1}), kept))
    assert again == events


def test_other_images_than_those_stored_are_refused():
    kept = MemoryCheckpoints()
    training = train_stage(stage(), kept)
    next(training)
    with pytest.raises(InvalidData, match="from 96 training samples and 1 epochs, not 95"):
        next(train_stage(stage(images=small_images(95, 4)), kept))


def test_no_epochs_only_finish():
    kept, made = MemoryCheckpoints(), stage(Plan(epochs=0))
    assert list(train_stage(made, kept)) == []
    state = read_state(kept.load("one")[1])
    assert state["finished"]
    assert state["epoch"] == 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"optimizer": "lion"}, "optimizer must be one of"),
        ({"schedule": "step"}, "schedule must be one of"),
        ({"epochs": -1}, "epochs >= 0"),
        ({"rate": 0.0}, "a rate above 0"),
    ],
)
def test_plans_that_make_no_sense_are_refused(settings, words):
    with pytest.raises(InvalidParams, match=words):
        Plan(**settings)


def test_an_epoch_shows_every_image_once_and_normalises_like_the_batches():
    images = Images(small_images(90, 2).pixels, small_images(90, 2).labels, (0.3,), (0.2,))
    epoch = Epoch(images, 30, 0, augment=False)
    seen = list(batches_of(epoch, torch.Generator().manual_seed(1)))
    assert epoch.steps == len(seen) == 3
    found = torch.cat([x for x, _ in seen]).flatten(1).sum(1).sort().values
    wanted = torch.cat([x for x, _ in images.batches(90)]).flatten(1).sum(1).sort().values
    assert torch.allclose(found, wanted, atol=1e-3)
    assert sorted(torch.cat([y for _, y in seen]).tolist()) == sorted(images.labels.tolist())


def test_augmented_images_are_flips_and_shifts():
    pixels = torch.zeros(200, 1, 28, 28, dtype=torch.uint8)
    pixels[:, :, 10, 8] = 255
    moved = flipped_and_shifted(pixels, torch.Generator().manual_seed(0))
    assert moved.dtype == torch.uint8
    assert (moved.flatten(1).sum(1) == 255).all()
    rows, columns = moved[:, 0].nonzero()[:, 1], moved[:, 0].nonzero()[:, 2]
    assert set(rows.tolist()) == {8, 9, 10, 11, 12}
    assert set(columns.tolist()) == {6, 7, 8, 9, 10} | {17, 18, 19, 20, 21}
