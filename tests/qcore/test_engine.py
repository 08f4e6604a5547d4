"""The engine: what it scores, what it reports, when it stops."""

import dataclasses
from dataclasses import dataclass

import pytest

from qcore.allocation import BitAllocation, LayerBits
from qcore.costs import COSTS, costs_of
from qcore.engine import Reported, drive, front_to_report
from qcore.errors import InfeasibleBudget, InvalidAllocation, InvalidParams
from qcore.front import front_points
from qcore.problem import Ask, Point, Progress
from qcore.search import Search
from qcore.searches import SEARCHES
from tests.helpers import Toy, toy_problem, with_budget


@dataclass(frozen=True)
class NoParams:
    """Nothing to choose."""


def scripted(*requests) -> tuple[Search, list]:
    """A search that yields these requests, and the list of answers it gets."""
    answers: list = []

    def run(problem, params, rng):
        for request in requests:
            answer = yield request
            answers.append(answer)

    return Search(
        "scripted", "Scripted", "Asks what it is told.", NoParams, run, family="search"
    ), answers


def uniform(toy: Toy, bits: int) -> BitAllocation:
    return BitAllocation.uniform(toy.problem.model.layers, bits)


def play(toy: Toy, *requests, **options):
    search, answers = scripted(*requests)
    events: list = []
    outcome = drive(
        search, toy.problem, NoParams(), 0, score=toy.score, on_event=events.append, **options
    )
    return outcome, answers, events


def test_a_result_over_the_budget_ends_the_search_before_it_is_scored():
    toy = with_budget(toy_problem(3), 0.3)
    # what is only asked for may be over it
    outcome, _, _ = play(toy, Ask((uniform(toy, 8),)), Ask((uniform(toy, 2),), results=True))
    assert len(outcome.points) == 2
    with pytest.raises(InfeasibleBudget, match=r"found is over the budget of \{'weight_bytes'"):
        play(toy, Ask((uniform(toy, 8),), results=True))
    assert len(toy.scored) == 2


def test_answers_come_in_the_order_of_the_ask_with_repeats():
    toy = toy_problem(3)
    two, four = uniform(toy, 2), uniform(toy, 4)
    outcome, answers, events = play(toy, Ask((four, two, four)), Ask((two,)))
    assert [[p.allocation for p in answer] for answer in answers] == [[four, two, four], [two]]
    assert toy.scored == [four, two]
    assert [p.allocation for p in outcome.points] == [four, two]
    assert events == list(outcome.points)
    assert outcome.evaluations == 2
    assert not outcome.stopped


def test_each_stage_is_scored_on_its_own():
    toy = toy_problem(2)
    two = uniform(toy, 2)
    outcome, answers, _ = play(toy, Ask((two,)), Ask((two,), "round-1/weights"))
    assert toy.scored == [two, two]
    assert [answer[0].stage for answer in answers] == ["ptq", "round-1/weights"]
    assert len(outcome.points) == 2


def test_progress_is_passed_on_and_answered_with_nothing():
    said = Progress(1, 2, "half")
    _, answers, events = play(toy_problem(2), said)
    assert events == [said]
    assert answers == [None]


def test_known_points_answer_without_scoring():
    toy = toy_problem(3)
    two, four, eight = (uniform(toy, bits) for bits in (2, 4, 8))
    known = list(toy.score([four], "ptq"))
    toy.scored.clear()
    outcome, answers, events = play(toy, Ask((two, four, eight)), known=known)
    assert toy.scored == [two, eight]
    assert answers[0][1] is known[0]
    assert [p.allocation for p in outcome.points] == [two, four, eight]
    assert outcome.evaluations == 2
    assert known[0] not in events


def test_known_points_never_asked_for_are_not_in_the_outcome():
    toy = toy_problem(3)
    known = list(toy.score([uniform(toy, 8)], "ptq"))
    outcome, _, _ = play(toy, Ask((uniform(toy, 2),)), known=known)
    assert [p.allocation for p in outcome.points] == [uniform(toy, 2)]


@pytest.mark.parametrize("most", [0, 1, 2])
def test_max_evaluations_is_kept_inside_a_batch(most):
    toy = toy_problem(3)
    outcome, answers, _ = play(
        toy, Ask(tuple(uniform(toy, b) for b in (2, 3, 4))), max_evaluations=most
    )
    assert len(toy.scored) == outcome.evaluations == len(outcome.points) == most
    assert outcome.stopped
    assert answers == []


def test_known_points_do_not_count_as_evaluations():
    toy = toy_problem(3)
    known = list(toy.score([uniform(toy, 2), uniform(toy, 3)], "ptq"))
    outcome, _, _ = play(
        toy, *(Ask((uniform(toy, b),)) for b in (2, 3, 4)), known=known, max_evaluations=1
    )
    assert len(outcome.points) == 3
    assert not outcome.stopped


def test_stop_is_asked_before_every_evaluation_and_at_every_progress():
    toy = toy_problem(3)
    outcome, _, _ = play(
        toy,
        Ask(tuple(uniform(toy, b) for b in (2, 3, 4, 8))),
        should_stop=lambda: len(toy.scored) == 2,
    )
    assert len(toy.scored) == 2
    assert outcome.stopped
    toy = toy_problem(3)
    outcome, _, _ = play(
        toy, Progress(0, 1, "x"), Ask((uniform(toy, 2),)), should_stop=lambda: True
    )
    assert toy.scored == []
    assert outcome.stopped


def test_a_stopped_search_is_closed():
    closed = []

    def run(problem, params, rng):
        try:
            yield Progress(0, 1, "x")
            yield Progress(1, 1, "y")
        finally:
            closed.append(True)

    search = Search("s", "S", "S.", NoParams, run, family="search")
    toy = toy_problem(2)
    drive(search, toy.problem, NoParams(), 0, score=toy.score, should_stop=lambda: True)
    assert closed == [True]


def test_a_scorer_that_gives_up_early_stops_the_search():
    toy = toy_problem(3)
    search, answers = scripted(Ask((uniform(toy, 2), uniform(toy, 4))))

    def tired(allocations, stage, images):
        yield from toy.score(allocations[:1], stage)

    outcome = drive(search, toy.problem, NoParams(), 0, score=tired)
    assert outcome.stopped
    assert len(outcome.points) == 1
    assert answers == []


def test_the_search_gets_a_generator_made_from_the_seed():
    drawn = []

    def run(problem, params, rng):
        drawn.append(rng.integers(1 << 40))
        yield Progress(1, 1, "x")

    toy = toy_problem(2)
    for seed in (1, 1, 2):
        search = Search("s", "S", "S.", NoParams, run, family="search")
        drive(search, toy.problem, NoParams(), seed, score=toy.score)
    assert drawn[0] == drawn[1] != drawn[2]


def test_bits_outside_the_options_are_refused_before_scoring():
    toy = toy_problem(3, (2, 4))
    with pytest.raises(InvalidAllocation, match="allowed here: 2/32, 4/32"):
        play(toy, Ask((uniform(toy, 2), uniform(toy, 8))))
    with pytest.raises(InvalidAllocation, match="missing layers"):
        play(toy, Ask((BitAllocation({"layer0": LayerBits(2)}),)))
    assert toy.scored == []


def test_an_infeasible_budget_is_refused_before_the_search_starts():
    toy = toy_problem(3, limits={"weight_bytes": 1})
    with pytest.raises(InfeasibleBudget) as info:
        play(toy, Ask((uniform(toy, 2),)))
    assert info.value.cheapest["weight_bytes"] == toy.cost(uniform(toy, 2))


def test_params_of_another_search_are_refused():
    toy = toy_problem(2)
    with pytest.raises(InvalidParams, match="random needs RandomParams"):
        drive(SEARCHES["random"], toy.problem, NoParams(), 0, score=toy.score)


def everything(toy: Toy) -> list[Point]:
    return list(toy.score(toy.all_allocations(), "ptq"))


@pytest.mark.parametrize("activation_bits", [(32,), (4, 8)])
def test_reported_points_are_members_of_a_front(activation_bits):
    toy = with_budget(toy_problem(3, (2, 4, 8), activation_bits), 0.7)
    points = everything(toy)
    chosen = front_to_report(toy.problem, points, most=10_000)
    inside = [p for p in points if toy.problem.admits(p.allocation)]
    names = ["weight_bytes"] if activation_bits == (32,) else ["weight_bytes", "bit_ops"]
    wanted = set()
    for name in names:
        costs = [costs_of(toy.problem.model, p.allocation)[name] for p in inside]
        front = front_points(costs, [toy.problem.value(p) for p in inside])
        wanted |= {inside[i].key for i in front}
    assert {p.key for p in chosen} == wanted
    assert len(chosen) == len(wanted)


@pytest.mark.parametrize("most", [2, 5])
def test_reported_points_are_limited_and_keep_the_ends_of_the_front(most):
    toy = toy_problem(4)
    points = everything(toy)
    whole = front_to_report(toy.problem, points, most=10_000)
    chosen = front_to_report(toy.problem, points, most)
    assert len(whole) > 5
    assert len(chosen) == most
    assert [chosen[0], chosen[-1]] == [whole[0], whole[-1]]
    assert {p.key for p in chosen} <= {p.key for p in whole}


def test_the_front_uses_the_objective_of_the_problem():
    toy = toy_problem(2, (2, 8))
    problem = dataclasses.replace(toy.problem, objective="loss")
    points = [
        dataclasses.replace(p, search=dataclasses.replace(p.search, loss=-p.search.kl))
        for p in everything(toy)
    ]
    cheapest = min(points, key=lambda p: COSTS["weight_bytes"].total(problem.model, p.allocation))
    # with the sign of the loss turned round, the cheapest is best and alone on the front
    assert front_to_report(problem, points, 24) == [cheapest]
    assert len(front_to_report(toy.problem, points, 24)) > 1


def test_drive_reports_front_members_with_test_scores():
    toy = toy_problem(4)
    events: list = []
    search = SEARCHES["random"]
    outcome = drive(
        search,
        toy.problem,
        search.params(),
        0,
        score=toy.score,
        report=toy.report,
        on_event=events.append,
        max_reported=5,
    )
    members = front_to_report(toy.problem, outcome.points, 5)
    assert [p.key for p in outcome.reported] == [p.key for p in members]
    assert 2 <= len(outcome.reported) <= 5
    assert all(p.test is not None for p in outcome.reported)
    assert [e for e in events if isinstance(e, Reported)] == [Reported(p) for p in outcome.reported]
    assert all(p.test is None for p in outcome.points)


def ladder(**options):
    """Drive the uniform search on a toy, reporting."""
    toy = toy_problem(4)
    search = SEARCHES["uniform"]
    if "looks" in options:
        looks = options.pop("looks")
        options["should_stop"] = lambda: len(toy.scored) >= looks
    return drive(
        search, toy.problem, search.params(), 0, score=toy.score, report=toy.report, **options
    )


def test_spent_evaluations_still_report_the_front_found_so_far():
    outcome = ladder(max_evaluations=2)
    assert outcome.stopped
    assert len(outcome.reported) == 2


def test_a_search_told_to_stop_reports_nothing():
    outcome = ladder(looks=2)
    assert len(outcome.points) == 2
    assert outcome.reported == ()


def test_each_window_of_images_is_scored_on_its_own_and_none_is_reported():
    toy = toy_problem(3)
    two = uniform(toy, 2)
    search, answers = scripted(
        Ask((two,), images=(0, 16)), Ask((two,), images=(16, 16)), Ask((two,))
    )
    outcome = drive(search, toy.problem, NoParams(), 0, score=toy.score, report=toy.report)
    assert toy.scored == [two, two, two]
    assert [p.images for batch in answers for p in batch] == [(0, 16), (16, 16), None]
    assert len({p.key for p in outcome.points}) == 3
    assert [p.images for p in outcome.reported] == [None]


def test_points_on_a_window_are_replayed():
    toy = toy_problem(3)
    ask = Ask((uniform(toy, 2),), images=(8, 16))
    known = list(toy.score(ask.allocations, ask.stage, ask.images))
    toy.scored.clear()
    outcome, _, _ = play(toy, ask, known=known)
    assert toy.scored == []
    assert outcome.points == tuple(known)


def test_nothing_within_the_budget_reports_nothing():
    toy = with_budget(toy_problem(3), 0.0)
    outcome, _, _ = play(toy, Ask((uniform(toy, 8),)), report=toy.report)
    assert len(outcome.points) == 1
    assert outcome.reported == ()
