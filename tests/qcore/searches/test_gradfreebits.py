"""GradFreeBits alternates as described, can be switched apart, and resumes to the same points."""

import dataclasses

import pytest
import torch

from qcore.allocation import BitAllocation
from qcore.costs import costs_of
from qcore.costs.budget import Budget
from qcore.engine import drive
from qcore.errors import Diverged, InfeasibleBudget, InvalidParams
from qcore.problem import Point, Problem, Progress
from qcore.qat.checkpoints import MemoryCheckpoints
from qcore.qat.loop import Plan
from qcore.searches import SEARCHES
from tests.helpers import FakeTrainer, Toy, toy_problem, with_budget
from tests.small_nets import found, small_evaluator, small_options, small_trainer
from tests.variants import some

SEARCH = SEARCHES["gradfreebits"]
FEW = {"evaluations": 24, "population": 8}


def run(toy: Toy, **values):
    trainer, events = FakeTrainer(), []
    problem = dataclasses.replace(toy.problem, trainer=trainer)
    params = SEARCH.read_params({**FEW, **values})
    outcome = drive(SEARCH, problem, params, 0, score=toy.score, on_event=events.append)
    return trainer, outcome, events


def tight(seed: int = 0) -> Toy:
    toy = toy_problem(6, (2, 3, 4, 8), (2, 4, 8), seed=seed)
    return with_budget(with_budget(toy, 0.25, "weight_bytes"), 0.25, "bit_ops")


def test_it_trains_and_searches_in_turn():
    trainer, outcome, _ = run(tight())
    stages = [stage for stage, _, _ in trainer.trained]
    assert stages == ["pretraining", "round-1/weights", "round-2/weights", "final"]
    assert [epochs for _, _, epochs in trainer.trained] == [2, 1, 1, 2]
    asked = list(dict.fromkeys(point.stage for point in outcome.points))
    assert asked == ["pretraining", "round-1/weights", "final"]


def test_every_trained_and_final_allocation_meets_both_limits():
    toy = tight()
    trainer, outcome, _ = run(toy)
    assert all(toy.problem.admits(allocation) for _, allocation, _ in trainer.trained)
    assert all(toy.problem.admits(point.allocation) for point in outcome.points)
    final = [point for point in outcome.points if point.stage == "final"]
    assert [point.allocation for point in final] == [trainer.trained[-1][1]]
    assert final[0].images is None


def test_pretraining_is_at_uniform_bits_that_fit():
    toy = tight()
    allocation = run(toy)[0].trained[0][1]
    assert len(set(allocation.values())) == 1


def test_each_round_is_at_least_as_good_as_uniform_and_as_before():
    for seed in range(4):
        toy = tight(seed)
        trainer, _, _ = run(toy)
        damages = [toy.damage(allocation) for _, allocation, _ in trainer.trained]
        assert damages == sorted(damages, reverse=True)
        assert damages[-1] < damages[0]


def test_candidates_of_a_generation_share_a_window_that_moves_on():
    _, outcome, _ = run(tight(), window=100, slide=30)
    windows = [p.images for p in outcome.points if p.stage == "pretraining" and p.images]
    assert list(dict.fromkeys(windows)) == [(0, 100), (30, 100), (60, 100)]
    whole = [p for p in outcome.points if p.stage == "pretraining" and p.images is None]
    assert {trained for _, trained, _ in run(tight())[0].trained[:2]} <= {
        p.allocation for p in whole
    }


def test_without_super_batches_all_images_are_used():
    _, outcome, _ = run(tight(), super_batches=False)
    assert all(point.images is None for point in outcome.points)


def test_without_alternation_one_long_round_comes_before_all_training():
    trainer, outcome, _ = run(tight(), alternation=False)
    assert [(s, e) for s, _, e in trainer.trained] == [("pretraining", 2), ("final", 4)]
    assert {point.stage for point in outcome.points} == {"pretraining", "final"}
    both = run(tight())[0]
    assert sum(e for _, _, e in trainer.trained) == sum(e for _, _, e in both.trained)
    windowed = [p for p in outcome.points if p.images is not None]
    assert len(windowed) <= 48


def test_one_clip_begins_in_the_middle():
    for values, wanted in (
        ({}, ("clip", None)),
        ({"bit_dependent_clips": False}, ("clip", 3)),
        ({"quantizer": "lsq"}, ("lsq", None)),
    ):
        first, *later = run(tight(), **values)[0].asked
        assert (first.after, first.quantizer, first.one_clip) == ("", *wanted)
        # every other stage goes on from the one before it
        assert [request.after for request in later] == [
            request.stage for request in (first, *later[:-1])
        ]


def test_random_bits_are_within_the_budget_and_end_before_the_last_round_is_trained():
    toy = tight()
    asked = {request.stage: request for request in run(toy, random_bits=True)[0].asked}
    assert asked["round-2/weights"].draw is asked["final"].draw is None
    for stage in ("pretraining", "round-1/weights"):
        draw = asked[stage].draw
        drawn = [draw(step, None) for step in range(30)]
        assert drawn == [draw(step, None) for step in range(30)]
        assert len(set(drawn)) > 20
        assert all(toy.problem.admits(allocation) for allocation in drawn)
    assert all(request.draw is None for request in run(toy)[0].asked)


def test_progress_tells_what_each_round_chose():
    trainer, _, events = run(tight())
    progress = [event for event in events if isinstance(event, Progress)]
    chosen = [p.figures for p in progress if "round" in p.figures]
    assert [figures["round"] for figures in chosen] == [1, 2]
    for figures, (_, allocation, _) in zip(chosen, trainer.trained[1:3], strict=True):
        assert BitAllocation.from_json(figures["allocation"]) == allocation
    assert any("sigma" in p.figures for p in progress)
    assert all(p.step <= p.total for p in progress)


def test_bad_settings_are_refused():
    with pytest.raises(InvalidParams, match="population of 30 does not fit 24"):
        run(tight(), population=30)
    toy = toy_problem(3)
    with pytest.raises(InvalidParams, match="nothing to train with"):
        drive(SEARCH, toy.problem, SEARCH.read_params({}), 0, score=toy.score)
    toy = with_budget(toy_problem(3), 0.0)
    limits = {name: limit - 1 for name, limit in toy.problem.budget.limits.items()}
    below = dataclasses.replace(toy.problem, budget=Budget(limits))
    with pytest.raises(InfeasibleBudget):
        run(dataclasses.replace(toy, problem=below))


REAL = {
    "evaluations": 12, "population": 6, "window": 32, "slide": 8, "pretraining_epochs": 2,
    "final_epochs": 2, "epoch_images": 64, "rounds": 2,
}  # fmt: skip


def real(kept: MemoryCheckpoints, known=(), stop_after: int | None = None, **values):
    """The search on a real small network; stopped after so many events."""
    evaluator = small_evaluator()
    trainer = small_trainer(kept, evaluator)
    limits = costs_of(found(0).spec, BitAllocation.uniform(found(0).spec.layers, 3, 4))
    budget = Budget({name: limits[name] for name in ("weight_bytes", "bit_ops")})
    options = {n: tuple(o for o in all_ if 32 not in (o.weight, o.activation))
               for n, all_ in small_options().items()}  # fmt: skip
    problem = Problem(found(0).spec, options, budget, None, "loss", trainer)
    events: list = []
    outcome = drive(
        SEARCH, problem, SEARCH.read_params({**REAL, **values}), 3,
        score=evaluator.score, report=evaluator.report, known=known, on_event=events.append,
        should_stop=lambda: stop_after is not None and len(events) >= stop_after,
    )  # fmt: skip
    return outcome, events


def figures(points):
    return [(point.key, point.search, point.test) for point in points]


@pytest.fixture(scope="module")
def whole():
    return real(MemoryCheckpoints())


@pytest.mark.parametrize("share", some([0.55, 0.25, 0.9], 1))
def test_killed_anywhere_it_resumes_to_the_same_points(whole, share):
    kept = MemoryCheckpoints()
    _, before = real(kept, stop_after=max(1, int(share * len(whole[1]))))
    known = [event for event in before if isinstance(event, Point)]
    outcome, _ = real(kept, known)
    assert figures(outcome.points) == figures(whole[0].points)
    assert figures(outcome.reported) == figures(whole[0].reported)
    assert outcome.evaluations + len(known) == whole[0].evaluations


def test_the_final_point_is_reported(whole):
    final = [point for point in whole[0].reported if point.stage == "final"]
    assert len(final) == 1
    assert final[0].test is not None


def test_a_loss_that_is_nan_ends_the_search_and_keeps_its_points(monkeypatch):
    seen: list = []

    def reckless(**settings):
        return Plan(**{**settings, "rate": 1e30 if len(seen) else settings["rate"]})

    monkeypatch.setattr("qcore.qat.given_bits.training.Plan", reckless)
    kept = MemoryCheckpoints()
    evaluator = small_evaluator()
    trainer = small_trainer(kept, evaluator)
    problem = Problem(found(0).spec, small_options((2, 3), (4,)), Budget(), None, "loss", trainer)
    with pytest.raises(Diverged, match="round-1/weights"):
        drive(
            SEARCH, problem, SEARCH.read_params(REAL), 0, score=evaluator.score,
            on_event=lambda event: seen.append(event) if isinstance(event, Point) else None,
        )  # fmt: skip
    assert seen
    assert not torch.isnan(torch.tensor([point.search.kl for point in seen])).any()
