"""Mirror descent as a search: whose bits it trains, and what it warns of."""

import dataclasses
import json

import pytest

from qcore.allocation import BitAllocation
from qcore.engine import drive
from qcore.errors import InfeasibleBudget, InvalidAllocation, InvalidParams
from qcore.problem import Progress
from qcore.qat.requests import Hardened, LowBits
from qcore.quantizers.mirror_methods import METHODS
from qcore.searches import SEARCHES
from qcore.searches.mirror import METHODS as CHOICES
from tests.helpers import FakeTrainer, Toy, toy_problem, with_budget

SEARCH = SEARCHES["mirror"]


def run(toy: Toy, gap: float = 0.0, **values):
    hardened = Hardened(gap, 0.0, ("ended too soft",) if gap > 0.005 else ())
    trainer, events = FakeTrainer({LowBits: hardened}), []
    problem = dataclasses.replace(toy.problem, trainer=trainer)
    params = SEARCH.read_params(values)
    outcome = drive(SEARCH, problem, params, 0, score=toy.score, on_event=events.append)
    return trainer, outcome, events


def toy(share: float = 0.3) -> Toy:
    return with_budget(toy_problem(5, (1, 2, 4, 8)), share)


def test_the_methods_offered_are_those_there_are():
    assert set(CHOICES) == set(METHODS)


def test_the_exact_front_gives_the_bits_and_the_result_is_one_point():
    made = toy()
    trainer, outcome, _ = run(made, epochs=2, tail_epochs=1, method="proxquant")
    (point,) = outcome.points
    assert made.damage(point.allocation) == pytest.approx(made.optimum())
    assert point.stage == "final"
    assert trainer.trained == [("final", point.allocation, 2)]
    (low,) = trainer.asked
    assert (low.stage, low.training) == ("final", "mirror")
    assert (low.method, low.tail_epochs, low.plan["optimizer"]) == ("proxquant", 1, "adam")
    assert low.plan["decay"] == 0


def test_uniform_and_given_bits_can_be_trained():
    made = toy()
    uniform = run(made, allocation="uniform")[1].points[0].allocation
    assert len(set(uniform.values())) == 1
    assert made.problem.admits(uniform)
    low = BitAllocation.uniform(made.problem.model.layers, 1)
    for entry in (low.to_json(), json.dumps(low.to_json())):
        given = run(made, allocation="given", given=[entry])[1].points[0].allocation
        assert given == low


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([], "exactly one"),
        ([""], "not JSON"),
        (["[1]"], "must map layers"),
        ([{}], "missing layers"),
    ],
)
def test_given_bits_that_cannot_be_read_are_refused(entries, words):
    with pytest.raises((InvalidParams, InvalidAllocation), match=words):
        run(toy(), allocation="given", given=entries)


def test_a_soft_ending_is_told():
    _, _, events = run(toy(), gap=0.03)
    told = [e for e in events if isinstance(e, Progress) and e.figures.get("warning")]
    assert [event.message for event in told] == ["ended too soft"]
    assert not [e for e in run(toy())[2] if isinstance(e, Progress) and e.figures.get("warning")]


def test_it_refuses_what_it_cannot_do():
    plain = toy_problem(2)
    with pytest.raises(InvalidParams, match="nothing to train with"):
        drive(SEARCH, plain.problem, SEARCH.params(), 0, score=plain.score)
    with pytest.raises(InvalidParams, match="Choose uniform or given"):
        run(toy_problem(3, sensitivity=False))
    with pytest.raises(InfeasibleBudget):
        run(toy_problem(3, limits={"weight_bytes": 1}))
