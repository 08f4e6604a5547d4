"""Several predictions of damage, each solved, all measured, the best improved by exchanges.

No single sensitivity wins everywhere, and how well one ranks allocations says little about its
optimum. So the exact optimum under each of several is truly measured and the best kept, then
layers exchange bits at constant budget while measurements show that it pays; each measurement also
corrects what is predicted of the next exchanges. The pairwise members
follow Deng et al., CLADO, 2023, with a Gram matrix of gradients, or of measured changes of the
answers, in place of measured pairs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qcore.errors import InvalidParams
from qcore.problem import Ask, Problem, Progress, Proposals, SensitivityTable
from qcore.search import Search, setting
from qcore.searches.greedy import KINDS
from qcore.solvers.exchange import handful, learn, predicted_changes, ranked_exchanges
from qcore.solvers.quadratic import SHRUNK, Flat, best_pairs, flatten, form_value, pair_matrix
from qcore.solvers.space import Space, measure, sensitivity_of, space_of

PAIRS = "gradient_pairs"
PAIRWISE = (PAIRS, "logit_gram")
"""What takes part with its pairs, of which SHRUNK is kept."""

HANDFUL = 4
"""Exchanges measured side by side."""

PATIENCE = 3
"""Handfuls without improvement that end the exchanges of a level."""


@dataclass(frozen=True)
class PortfolioParams:
    """Which predictions take part and how much is measured.

    "gradient_pairs" is the pairwise form of "gradient"; "logit_gram" always takes part with its
    pairs.
    """

    kinds: tuple[str, ...] = setting(
        ("gradient", PAIRS, "kl"),
        "Sensitivities",
        "What predicts damage; the best allocation under each is measured.",
        choices=(*KINDS[:1], PAIRS, *KINDS[1:]),
    )
    points: int = setting(
        8,
        "Cost levels",
        "With a budget: the budget itself and levels below it. Without: levels from "
        "the dearest to the cheapest allocation.",
        min=1,
        max=100,
    )
    exchanges: int = setting(
        24,
        "Exchanges per level",
        "Most measurements spent on letting layers trade bits at each level.",
        min=0,
        max=1000,
    )


Choice = tuple[int, ...]
"""A choice as a dictionary key."""

Solved = dict[str, list[np.ndarray | None]]
"""Per kind, the optimum within each level, or None where nothing fits."""


def portfolio(problem: Problem, params: PortfolioParams, rng: np.random.Generator) -> Proposals:
    """Solve, measure, keep the best at every cost level, then exchange bits between layers.

    All optima of all levels are measured first, so that an early stop leaves a whole front; then
    exchanges go level by level, the budget first.

    Raises:
        InfeasibleBudget: nothing fits the budget.
        InvalidParams: no sensitivity is chosen, the problem offers none, or more than two summed
            costs have limits.
    """
    kinds = tuple(dict.fromkeys(params.kinds))
    if not kinds:
        raise InvalidParams("Choose at least one sensitivity for the portfolio.")
    space = space_of(problem)
    space.check_solvable()
    levels = space.levels(params.points)
    total = len(kinds) + len(levels) * (len(kinds) + params.exchanges)

    tables: dict[str, SensitivityTable] = {}
    for step, kind in enumerate(kinds):
        measured = kind.removesuffix("_pairs")
        yield Progress(step, total, f"computing the {measured} sensitivity")
        tables[kind] = sensitivity_of(problem, "portfolio", measured)
    if problem.ties:
        space = space_of(problem, list(tables.values()))
    forms = {kind: _form(space, kind, table) for kind, table in tables.items()}
    solved: Solved = {}
    for words in _solve(space, forms, levels, rng, solved):
        yield Progress(len(kinds), total, words)
    if all(choices[0] is None for choices in solved.values()):
        raise space.infeasible()

    # level by level, so that what is asked first is what the budget is about
    wanted = list(
        dict.fromkeys(
            _key(choice)
            for level in zip(*solved.values(), strict=True)
            for choice in level
            if choice is not None
        )
    )
    allocations = [space.allocation(choice) for choice in wanted]
    points = yield from measure(allocations, "optima", step=len(kinds), total=total)
    values = {key: problem.value(point) for key, point in zip(wanted, points, strict=True)}

    known = _Known(problem, space, flatten(space), forms, _trust(solved, values), values)
    for number, level in enumerate(levels):
        done = Progress(
            len(kinds) * (1 + len(levels)) + number * params.exchanges,
            total,
            f"exchanges at level {number + 1} of {len(levels)}",
        )
        yield from _exchange(known, level, params.exchanges, done)
    yield Progress(total, total, f"measured {len(values)} allocations at {len(levels)} levels")


@dataclass(frozen=True)
class _Known:
    """What the exchanges work with; `values` grows as they measure."""

    problem: Problem
    space: Space
    flat: Flat
    forms: Mapping[str, np.ndarray]
    trust: Mapping[str, float]
    values: dict[Choice, float]

    def damage(self, choice: Choice) -> float:
        """Damage of a measured choice: its divergence, or as predicted where it is a loss."""
        rows = self.flat.first + choice
        told = [form_value(form, rows) for form in self.forms.values()]
        damage = self.values[choice] if self.problem.objective == "kl" else float(np.median(told))
        return max(abs(damage), 1e-300)


def _key(choice: np.ndarray) -> Choice:
    return tuple(choice.tolist())


def _form(space: Space, kind: str, table: SensitivityTable) -> np.ndarray:
    """Predicted damage as a form over flat rows; an additive score is a diagonal one."""
    if kind in PAIRWISE:
        return pair_matrix(space, table, SHRUNK)
    return np.diag(np.concatenate(space.scores(table)))


def _solve(
    space: Space,
    forms: Mapping[str, np.ndarray],
    levels: Sequence[np.ndarray],
    rng: np.random.Generator,
    solved: Solved,
) -> Iterator[str]:
    """Fill `solved`: per kind the optimum within each level; yield what was just done."""
    cuts = flatten(space).first[1:]
    for kind, form in forms.items():
        solved[kind] = []
        for choice in space.optima(np.split(np.diagonal(form), cuts), levels):
            solved[kind].append(choice)
            yield f"solving {kind}: {len(solved[kind])} of {len(levels)} cost levels"
    # the additive optima, its own diagonal's among them, are where a pairwise search starts
    starts = list(zip(*solved.values(), strict=True))
    for kind in [kind for kind in PAIRWISE if kind in forms]:
        for number, (level, choices) in enumerate(zip(levels, starts, strict=True)):
            start = [choice for choice in choices if choice is not None]
            if start:
                solved[kind][number] = best_pairs(space, forms[kind], level, start, rng)
            yield f"solving {kind} with interactions: {number + 1} of {len(levels)} cost levels"


def _trust(solved: Solved, values: Mapping[Choice, float]) -> dict[str, float]:
    """Weight of each kind's predictions: 1, and 1 more for each level where its optimum is best."""
    trust = dict.fromkeys(solved, 1.0)
    for level in zip(*solved.values(), strict=True):
        found = {
            kind: values[_key(choice)]
            for kind, choice in zip(solved, level, strict=True)
            if choice is not None
        }
        for kind, value in found.items():
            trust[kind] += value == min(found.values())
    return trust


def _exchange(known: _Known, level: np.ndarray, most: int, done: Progress) -> Proposals:
    """Measure exchanges around the best choice within a level while they pay."""
    flat, values = known.flat, known.values
    inside = [k for k in values if (flat.prices[flat.first + k].sum(axis=0) <= level).all()]
    if not inside:
        return
    best = min(inside, key=values.__getitem__)
    spent, patience, learned = 0, PATIENCE, np.zeros(len(flat.owner))
    while patience and spent < most:
        rows = flat.first + best
        ranked = ranked_exchanges(flat, known.forms, known.trust, rows, level, learned)
        fresh = (after for after in ranked if _key(after - flat.first) not in values)
        batch = [_key(a - flat.first) for a in handful(fresh, rows, min(HANDFUL, most - spent))]
        if not batch:
            return
        words = f"{done.message}: best {values[best]:.4g} nats"
        yield Progress(done.step + spent, done.total, words)
        answer = yield Ask(tuple(known.space.allocation(choice) for choice in batch))
        predicted = predicted_changes(flat, known.forms, known.trust, rows, learned)
        damage = known.damage(best)
        for choice, point in zip(batch, answer or (), strict=True):
            values[choice] = known.problem.value(point)
            change = (values[choice] - values[best]) / damage
            learn(learned, predicted, rows, flat.first + choice, change)
        spent += len(batch)
        found = min(batch, key=values.__getitem__)
        improved = values[found] < values[best]
        best = found if improved else best
        patience = PATIENCE if improved else patience - 1


SEARCH = Search(
    name="portfolio",
    title="Portfolio",
    family="search",
    summary="Solves several sensitivities exactly, measures each optimum, improves the best by "
    "exchanging bits between layers.",
    params=PortfolioParams,
    run=portfolio,
    paper="Deng et al., Mixed-Precision Quantization with Cross-Layer Dependencies, 2023",
    look=3,
)
