"""What holds for every entry of SEARCHES, however it works inside."""

import dataclasses

import pytest

from qcore.allocation import LayerBits
from qcore.costs import COSTS
from qcore.costs.budget import Budget
from qcore.engine import Outcome, Reported, drive
from qcore.errors import InfeasibleBudget, InvalidParams
from qcore.problem import Point, Progress
from qcore.qat.requests import AdoptedStage, Hardened, Learned, LearnedBits, LowBits
from qcore.qat.switches import NormPlan, rungs_of, switches_of
from qcore.quantization_card import NOT_SAID, card_of, rows
from qcore.rules.rule import Rule
from qcore.run_spec import RunSpec
from qcore.search import FAMILIES
from qcore.searches import SEARCHES
from tests.helpers import FakeTrainer, Toy, ruled, toy_problem, with_budget
from tests.variants import crossed

ALLOWED_TYPES = (bool, int, float, str, tuple)


def cheapest(toy: Toy):
    return min(toy.all_allocations(), key=toy.cost)


def params_for(name: str, toy: Toy):
    values = dict(SEARCHES[name].quick)
    if name == "given":  # which bits there are only the problem knows
        values = {"allocations": [cheapest(toy).to_json()]}
    return SEARCHES[name].read_params(values)


def trainer_for(toy: Toy) -> FakeTrainer:
    return FakeTrainer(
        {
            AdoptedStage: NormPlan(
                "pair", switches_of(rungs_of(toy.problem), toy.problem.ties), toy.problem.ties
            ),
            LearnedBits: Learned(cheapest(toy), True, 0.5),
            LowBits: Hardened(0.0, 0.0),
        }
    )


def run(name: str, toy: Toy, **options) -> tuple[Outcome, list]:
    events: list = []
    problem = toy.problem
    if SEARCHES[name].trains:
        trainer = options.pop("trainer", None) or trainer_for(toy)
        problem = dataclasses.replace(problem, trainer=trainer)
    outcome = drive(
        SEARCHES[name],
        problem,
        params_for(name, toy),
        options.pop("seed", 0),
        score=toy.score,
        on_event=events.append,
        **options,
    )
    return outcome, events


every_search = pytest.mark.parametrize("name", list(SEARCHES))

CHOOSING = [
    name for name, s in SEARCHES.items() if not s.trains and name not in ("uniform", "given")
]
"""Searches that choose among allocations by what they cost; the others are told what to measure."""

WITHIN = [name for name in CHOOSING if name != "greedy"]
"""Those that measure nothing over the budget; a descent comes from above."""


def test_no_two_searches_look_alike():
    looks = [search.look for search in SEARCHES.values() if search.look is not None]
    assert len(set(looks)) == len(looks)


@every_search
def test_record_is_complete(name):
    search = SEARCHES[name]
    assert search.name == name
    assert search.title
    assert search.summary.endswith(".")
    assert search.family in FAMILIES
    assert (search.family == "trained") == search.trains
    assert dataclasses.is_dataclass(search.params)
    assert search.params() == search.read_params({})
    for field in dataclasses.fields(search.params):
        assert field.metadata["label"], field.name
        assert field.metadata["help"], field.name
        assert isinstance(field.default, ALLOWED_TYPES), field.name


@every_search
def test_params_are_frozen(name):
    params = SEARCHES[name].params()
    for field in dataclasses.fields(params):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(params, field.name, field.default)


@every_search
@pytest.mark.parametrize("activation_bits", [(32,), (4, 8)])
def test_asks_only_for_allowed_options_of_all_layers(name, activation_bits):
    toy = toy_problem(3, (2, 4, 8), activation_bits, pin_first_last=8)
    outcome, _ = run(name, toy)
    assert outcome.points
    assert not outcome.stopped
    for point in outcome.points:
        assert tuple(point.allocation) == toy.problem.model.names
        toy.problem.check(point.allocation)
        assert point.allocation["layer0"].weight == 8
        assert point.allocation["layer2"].weight == 8


RULES = (
    Rule("layer0", lock=(8, 8)),
    Rule("layer{1,2}", tie="weights"),
    Rule("layer{2,3}", tie="activations"),
    Rule("layer[13]", weights=(4, 8), activations=(4, 8)),
    Rule("layer4", least=(4, None)),
)
"""A lock, ties that cross, widths of its own, a floor."""


@every_search
@pytest.mark.parametrize("share", [None, 0.3])
def test_asks_only_for_what_rules_allow(name, share):
    toy = ruled(toy_problem(5, (2, 3, 4, 8), (2, 4, 8), interaction=0.5), RULES)
    toy = toy if share is None else with_budget(toy, share)
    outcome, _ = run(name, toy)
    assert outcome.points
    assert not outcome.stopped
    for point in outcome.points:
        bits = point.allocation
        assert bits["layer0"] == LayerBits(8, 8)
        assert bits["layer1"].weight == bits["layer2"].weight
        assert bits["layer2"].activation == bits["layer3"].activation
        assert {bits["layer1"].weight, bits["layer3"].weight} <= {4, 8}
        assert bits["layer4"].weight >= 4


@every_search
def test_asks_only_for_pairs_that_rules_allow(name):
    pairs = (LayerBits(4), LayerBits(8, 8))
    rules = (Rule("*", pairs=pairs), Rule("layer0", lock=(8, 8)), Rule("layer{1,2}", tie="weights"))
    toy = with_budget(ruled(toy_problem(4, (2, 4, 8), (8, 32)), rules), 0.6)
    outcome, _ = run(name, toy)
    assert outcome.points
    for point in outcome.points:
        bits = point.allocation
        assert bits["layer0"] == LayerBits(8, 8)
        assert bits["layer1"] == bits["layer2"]
        assert {bits[f"layer{at}"] for at in (1, 2, 3)} <= set(pairs)


@pytest.mark.parametrize("name", ["exact", "portfolio", "cmaes", "nsga2"])
def test_finds_the_best_that_rules_leave(name):
    toy = with_budget(ruled(toy_problem(5, (2, 3, 4, 8), (4, 8)), RULES), 0.4)
    outcome, _ = run(name, toy)
    inside = [p for p in outcome.points if toy.problem.admits(p.allocation)]
    best = min(toy.damage(p.allocation) for p in inside)
    slack = {"exact": 1e-9, "portfolio": 1e-9}.get(name, 0.5)
    assert best <= toy.optimum() * (1 + slack) + 1e-12


@every_search
def test_a_budget_below_what_ties_allow_is_infeasible_before_anything_is_scored(name):
    free = toy_problem(4, (2, 8))
    tied = ruled(free, (Rule("layer0", lock=(8, None)), Rule("layer{0,1,2,3}", tie="weights")))
    smallest = tied.cost(tied.all_allocations()[0])
    limits = {"weight_bytes": smallest - 1}
    problem = dataclasses.replace(tied.problem, budget=Budget(limits))
    if SEARCHES[name].trains:
        problem = dataclasses.replace(problem, trainer=trainer_for(tied))
    with pytest.raises(InfeasibleBudget):
        drive(SEARCHES[name], problem, params_for(name, tied), 0, score=tied.score)
    assert not tied.scored


@every_search
def test_same_seed_same_events(name):
    first = run(name, toy_problem(5, interaction=0.8), seed=7)[1]
    second = run(name, toy_problem(5, interaction=0.8), seed=7)[1]
    assert first == second


@every_search
def test_scores_nothing_twice(name):
    toy = toy_problem(4)
    outcome, events = run(name, toy)
    keys = [event.key for event in events if isinstance(event, Point)]
    assert len(set(keys)) == len(keys) == len(toy.scored) == outcome.evaluations
    assert keys == [point.key for point in outcome.points]


@every_search
def test_progress_rises_to_its_total(name):
    progress = [event for event in run(name, toy_problem(4))[1] if isinstance(event, Progress)]
    steps = [event.step for event in progress]
    assert steps == sorted(steps)
    assert all(0 <= event.step <= event.total and event.message for event in progress)
    assert progress[-1].step == progress[-1].total


@pytest.mark.parametrize(("name", "allowed"), crossed(SEARCHES, [3, 1, 0]))
def test_stops_within_one_evaluation(name, allowed):
    toy = toy_problem(4)
    everything = len(run(name, toy_problem(4))[0].points)
    outcome, _ = run(name, toy, should_stop=lambda: len(toy.scored) >= allowed)
    assert len(toy.scored) == min(allowed, everything)
    assert outcome.stopped or allowed >= everything


@every_search
@pytest.mark.parametrize(
    "toy",
    [
        toy_problem(1),
        toy_problem(3, (4,)),
        toy_problem(1, (4,)),
        toy_problem(2, (32,)),
        toy_problem(2, (2, 8), pin_first_last=4),
    ],
    ids=["one layer", "one option", "one layer and option", "all float", "all pinned"],
)
def test_finishes_on_degenerate_problems(name, toy):
    outcome, _ = run(name, toy)
    assert outcome.points
    assert not outcome.stopped


@pytest.mark.parametrize(
    ("name", "tight"),
    crossed(
        SEARCHES,
        [
            (("weight_bytes", "bit_ops"), 0.02),
            (("bit_ops",), 0.02),
            (("weight_bytes",), 0.0),
            (("weight_bytes", "bit_ops"), 0.3),
        ],
    ),
)
def test_finds_points_within_a_tight_budget(name, tight):
    costs, share = tight
    toy = toy_problem(4, (2, 3, 4, 8), (4, 8), seed=5)
    for cost in costs:
        toy = with_budget(toy, share, cost)
    outcome, _ = run(name, toy)
    assert any(toy.problem.admits(point.allocation) for point in outcome.points)


@pytest.mark.parametrize("name", WITHIN)
def test_measures_nothing_over_the_budget(name):
    toy = with_budget(toy_problem(5, (2, 3, 4, 8), (4, 8)), 0.2, "model_bytes")
    outcome, _ = run(name, toy)
    assert outcome.points
    assert all(toy.problem.admits(point.allocation) for point in outcome.points)


@pytest.mark.parametrize("name", CHOOSING)
def test_respects_a_limit_on_the_largest_layer(name):
    toy = toy_problem(4, (2, 4), (2, 4, 8))
    toy = with_budget(with_budget(toy, 0.5, "activation_bytes_max"), 0.5, "weight_bytes")
    outcome, _ = run(name, toy)
    most = toy.problem.budget.limits["activation_bytes_max"]
    assert outcome.points
    assert all(toy.cost(p.allocation, "activation_bytes_max") <= most for p in outcome.points)


@every_search
def test_infeasible_budget_names_the_smallest(name):
    toy = toy_problem(3)
    smallest = toy.cost(cheapest(toy))
    toy = toy_problem(3, limits={"weight_bytes": smallest - 1})
    with pytest.raises(InfeasibleBudget, match=f"smallest possible is {smallest:,} B") as info:
        run(name, toy)
    assert info.value.cheapest == {"weight_bytes": smallest}
    assert not toy.scored


@pytest.mark.parametrize("name", CHOOSING)
def test_limits_that_only_clash_together_are_infeasible(name):
    toy = toy_problem(2, (2, 8), (2, 8))
    # options that trade weights for activations: each limit can be met, both cannot
    trading = {n: (LayerBits(2, 8), LayerBits(8, 2)) for n in toy.problem.model.names}
    low = {n: LayerBits(2, 2) for n in toy.problem.model.names}
    limits = {
        cost: COSTS[cost].total(toy.problem.model, low)
        for cost in ("weight_bytes", "activation_bytes_sum")
    }
    problem = dataclasses.replace(toy.problem, options=trading, budget=Budget(limits))
    with pytest.raises(InfeasibleBudget, match="all limits at once") as info:
        run(name, dataclasses.replace(toy, problem=problem))
    assert info.value.cheapest == limits


@pytest.mark.parametrize("name", [name for name, search in SEARCHES.items() if search.trains])
def test_a_search_that_trains_is_refused_where_nothing_can_train(name):
    toy = toy_problem(3)
    with pytest.raises(InvalidParams, match="nothing to train with"):
        drive(SEARCHES[name], toy.problem, params_for(name, toy), 0, score=toy.score)
    assert not toy.tables


@pytest.mark.parametrize(("name", "survived"), crossed(SEARCHES, [5, 1, 40]))
def test_replay_gives_the_same_points_and_scores_the_rest_once(name, survived):
    whole, events = run(name, toy_problem(5, interaction=0.5), seed=3)
    measured = [event for event in events if isinstance(event, Point)]
    known = measured[:survived]
    toy = toy_problem(5, interaction=0.5)
    again, _ = run(name, toy, seed=3, known=known)
    assert again.points == whole.points
    assert toy.scored == [point.allocation for point in measured[survived:]]
    assert again.evaluations == len(toy.scored)


@every_search
def test_params_out_of_range_are_refused(name):
    search = SEARCHES[name]
    with pytest.raises(InvalidParams, match="no parameter 'nonsense'"):
        search.read_params({"nonsense": 1})
    for field in dataclasses.fields(search.params):
        meta = field.metadata
        wrong = []
        if "min" in meta:
            wrong.append(meta["min"] - 1)
        if "max" in meta:
            wrong.append(meta["max"] + 1)
        if "choices" in meta:
            wrong.append(["tea"] if isinstance(field.default, tuple) else "tea")
        wrong.append(None)
        for value in wrong:
            with pytest.raises(InvalidParams, match=field.name):
                search.read_params({field.name: value})


@pytest.mark.parametrize("name", ["greedy", "exact", "portfolio", "cmaes"])
def test_missing_sensitivities_are_named(name):
    toy = toy_problem(3, sensitivity=False)
    with pytest.raises(InvalidParams, match=f"'{name}' needs the '.*' sensitivity"):
        run(name, toy)


@pytest.mark.parametrize("name", ["exact", "portfolio", "cmaes"])
def test_three_summed_limits_are_refused(name):
    toy = toy_problem(3, (2, 4), (4, 8))
    for cost in ("weight_bytes", "bit_ops", "model_bytes"):
        toy = with_budget(toy, 0.5, cost)
    with pytest.raises(InvalidParams, match="at most two"):
        run(name, toy)


@every_search
def test_reports_test_scores_once_for_each_front_member(name):
    toy = toy_problem(4)
    outcome, events = run(name, toy, report=toy.report)
    reported = [event.point for event in events if isinstance(event, Reported)]
    assert tuple(reported) == outcome.reported
    assert reported
    assert len({point.key for point in reported}) == len(reported)
    assert all(point.test is not None for point in reported)


@pytest.mark.parametrize("name", [name for name, search in SEARCHES.items() if not search.chance])
def test_a_search_without_chance_finds_the_same_with_every_seed(name):
    problems = [toy_problem(5, interaction=0.8) for _ in range(3)]
    found = [run(name, toy, seed=seed)[0].points for seed, toy in enumerate(problems)]
    assert found[0]
    assert found[1] == found[0]
    assert found[2] == found[0]


@pytest.mark.parametrize(("name", "activation_bits"), crossed(SEARCHES, [(32,), (4, 8)]))
def test_every_search_gives_a_complete_quantization_card(name, activation_bits):
    search = SEARCHES[name]
    asked = RunSpec(
        "toy", "fashion-mnist", name, dict(search.quick), activation_bits=activation_bits
    )
    stages = {point.stage for point in run(name, toy_problem(3))[0].points}
    for stage in ("", *stages):
        said = rows(card_of(asked, stage))
        assert [label for label, words in said if not words or words == NOT_SAID] == []


@pytest.mark.parametrize(
    "name", [name for name, each in SEARCHES.items() if each.trains and each.standalone]
)
def test_the_card_counts_the_epochs_that_were_asked_of_the_trainer(name):
    toy, search = toy_problem(4), SEARCHES[name]
    trainer = trainer_for(toy)
    outcome, _ = run(name, toy, trainer=trainer)
    asked = {request.stage: request for request in trainer.asked}

    def epochs(stage: str) -> int:
        request = asked[stage]
        before = getattr(request, "after", "")
        own = request.plan["epochs"] + getattr(request, "tail_epochs", 0)
        return own + (epochs(before) if before else 0)

    params = params_for(name, toy)
    for stage in {point.stage for point in outcome.points}:
        assert search.trained(params, stage).epochs == epochs(stage), stage
    assert search.trained(params, "").epochs == epochs(outcome.points[-1].stage)
