"""Measures exactly what it is given: hand-edited bits, or an allocation read from a file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from qcore.allocation import BitAllocation
from qcore.errors import InvalidParams
from qcore.problem import Problem, Proposals
from qcore.search import Search, setting
from qcore.solvers.space import measure


@dataclass(frozen=True)
class GivenParams:
    """What to measure."""

    allocations: tuple[str | Mapping[str, Any], ...] = setting(
        (), "Allocations", 'Each as {"layer": [weight bits, activation bits], ...}.'
    )


def given(problem: Problem, params: GivenParams, rng: np.random.Generator) -> Proposals:
    """Measure the given allocations, in order, whatever the budget.

    Raises:
        InvalidAllocation: layers or bits do not fit the problem.
        InvalidParams: there are no allocations, or one cannot be read.
    """
    if not params.allocations:
        raise InvalidParams("There is nothing to measure: give at least one allocation.")
    allocations = [read_allocation(problem, entry) for entry in params.allocations]
    yield from measure(allocations, "given allocations")


def read_allocation(problem: Problem, entry: str | Mapping[str, Any]) -> BitAllocation:
    """An allocation of this problem from {layer name: [weight bits, activation bits]} or its JSON.

    Raises:
        InvalidParams: the text is not JSON, or no mapping.
        InvalidAllocation: layers or bits do not fit the problem.
    """
    data: Any = entry
    if isinstance(entry, str):
        try:
            data = json.loads(entry)
        except json.JSONDecodeError as err:
            raise InvalidParams(f"An allocation is not JSON: {err}. Got {entry[:80]!r}.") from err
    if not isinstance(data, Mapping):
        raise InvalidParams(
            "An allocation must map each layer to [weight bits, activation bits]; "
            f"got {str(data)[:80]}."
        )
    allocation = BitAllocation.from_json(data)
    problem.check(allocation)
    return BitAllocation({name: allocation[name] for name in problem.model.names})


SEARCH = Search(
    name="given",
    title="Given allocations",
    family="search",
    summary="Measures exactly the allocations it is given, such as hand-edited bits.",
    params=GivenParams,
    run=given,
    chance=False,
    look=11,
    aims=False,
    standalone=False,
)
