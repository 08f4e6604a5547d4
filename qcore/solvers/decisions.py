"""What is decided together: layers that ties join, with their joint options. Torch-free.

Tied layers are one *decision*. Its options are all combinations of its layers' bits in which every
tie holds; their prices and scores are sums over the layers. So a problem with ties is again a
multiple-choice knapsack, with fewer rows. A layer that no tie joins is a decision of its own.

A tie of many layers whose other part is free has more combinations than can be listed (two widths
of one shared input, four weight widths of each of 20 layers: 10^12). For a score that adds up they
need not be listed: at each width of a shared tensor the layers are independent, so that the best
combinations are found as the exact front of the layers, and the decision's options are the union
over the widths; ties within ties by recursion. That is exact for the given scores. A search that
only tries gets a sample of them; see `Decision.complete`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from qcore.allocation import FLOAT_BITS, LayerBits, in_order, width_order
from qcore.errors import InvalidParams
from qcore.rules.ties import PARTS, Part, Tie
from qcore.solvers.dynamic_program import non_dominated, solve

Options = Mapping[str, Sequence[LayerBits]]
"""Layer name to what it may have."""

LISTED = 512
"""Most combinations of a decision that are all listed."""

SAMPLED = 256
"""Most options for each score where they are not."""

Tensors = tuple[tuple[int, Part], ...]
"""(place of a layer in its decision, part) of each tensor that shares one width."""


@dataclass(frozen=True)
class Decision:
    """Layers whose bits are chosen together.

    Attributes:
        layers: Their names in execution order.
        options: What they may have, one LayerBits per layer in each.
        variables: Groups of tensors with one width: what may be turned on its own.
        complete: False where `options` are the best by some scores, not all there are.
    """

    layers: tuple[str, ...]
    options: tuple[tuple[LayerBits, ...], ...]
    variables: tuple[Tensors, ...]
    complete: bool = True

    def width(self, option: int, variable: int) -> int:
        """Bits of a variable's tensors in an option."""
        place, part = self.variables[variable][0]
        return int(getattr(self.options[option][place], part))

    def rungs(self, place: int) -> list[LayerBits]:
        """Different bits that one of the layers may have, fewest first."""
        return sorted({option[place] for option in self.options})

    def neighbours(self, option: int) -> list[int]:
        """Options one step down, up and aside: nothing lies between in all layers' bits."""
        bits = self.ranks.reshape(len(self.options), -1)
        found = []
        for sign in (-1, 1):
            beyond = np.flatnonzero((sign * (bits - bits[option]) >= 0).all(axis=1))
            beyond = beyond[beyond != option]
            for at in beyond:
                steps = sign * (bits[at] - bits[beyond])
                if not ((steps >= 0).all(axis=1) & (steps > 0).any(axis=1)).any():
                    found.append(int(at))
        for at in range(len(self.options)):
            low, high = np.minimum(bits[at], bits[option]), np.maximum(bits[at], bits[option])
            aside = bool((low < bits[at]).any() and (low < bits[option]).any())
            # of widths that go together in pairs, one may rise only where another falls
            if aside and ((bits >= low) & (bits <= high)).all(axis=1).sum() == 2:
                found.append(at)
        return found

    def wider(self, option: int) -> list[int]:
        """Per variable the option with its next wider width, all else the same, where there is one.

        Float is for tensors that may have nothing else, and is no next width.
        """
        count = range(len(self.variables))
        now = [width_order(self.width(option, v)) for v in count]
        rows = [[width_order(self.width(at, v)) for v in count] for at in range(len(self.options))]
        found = []
        for v in count:
            others = [
                (row[v], at)
                for at, row in enumerate(rows)
                if now[v] < row[v] < FLOAT_BITS and row[:v] + row[v + 1 :] == now[:v] + now[v + 1 :]
            ]
            found += [min(others)[1]] if others else []
        return found

    @cached_property
    def ranks(self) -> np.ndarray:
        """`width_order` of every option, (options, layers, 2): weights, then activations."""
        rows = [[_ranks(bits) for bits in row] for row in self.options]
        return np.array(rows, np.float64).reshape(len(rows), len(self.layers), 2)

    def nearest(self, wanted: Mapping[str, LayerBits]) -> int:
        """The option with the least summed distance to wanted bits of its layers, in bits.

        The first of equal ones, which has fewest bits in the first layer that differs.
        """
        goal = [_ranks(wanted[name]) for name in self.layers]
        return int(np.abs(self.ranks - np.array(goal)).sum(axis=(1, 2)).argmin())


def _ranks(bits: LayerBits) -> tuple[float, float]:
    return width_order(bits.weight), width_order(bits.activation)


def decisions_of(
    names: Sequence[str],
    options: Options,
    ties: Sequence[Tie],
    prices: Mapping[str, np.ndarray] | None = None,
    scores: Sequence[Mapping[str, np.ndarray]] = (),
    most: int | None = SAMPLED,
) -> tuple[Decision, ...]:
    """Group the layers that ties join, in execution order of their first layers.

    Args:
        names: All layers in execution order.
        options: Layer name to its allowed bits.
        ties: Ties, no tensor in two of them.
        prices: Layer name to the prices of its options, (options, costs): for decisions with too
            many combinations to list; None takes their summed bits.
        scores: Damage of each option, by layer name, (options,): what the listed options of such a
            decision are best for; () takes 4^-bits, the noise of a uniform quantizer.
        most: Most of them for each score, spread evenly; None lists all that are best at some cost.
    """
    # a tie whose layers have one width left anyway joins nothing
    ties = [
        tie
        for tie in ties
        if len({getattr(bits, tie.part) for name in tie.layers for bits in options[name]}) > 1
    ]
    return tuple(
        _decision(members, options, mine, prices, scores, most)
        for members, mine in _components(names, ties)
    )


def joint_options(names: Sequence[str], options: Options, ties: Sequence[Tie]) -> Options:
    """Options of each layer that some joint option has; in their order.

    Raises:
        InvalidParams: tied layers have none in common.
    """
    if not ties:
        return options
    left: dict[str, tuple[LayerBits, ...]] = {}
    for decision in decisions_of(names, options, ties):
        if not decision.options:
            listed = "; ".join(
                f"{name} {', '.join(b.text for b in options[name])}" for name in decision.layers
            )
            raise InvalidParams(
                f"{len(decision.layers)} layers are tied, but have no bits (weight/activation) in "
                f"common that keep the tie: {listed}. Allow more widths, or take the tie off."
            )
        for place, name in enumerate(decision.layers):
            have = set(decision.rungs(place))
            left[name] = tuple(bits for bits in options[name] if bits in have)
    return {name: left[name] for name in names}


def drawn(
    decisions: Sequence[Decision], names: Sequence[str], rng: np.random.Generator
) -> dict[str, LayerBits]:
    """Every decision at an option of its own, drawn evenly."""
    chosen: dict[str, LayerBits] = {}
    for decision in decisions:
        option = decision.options[int(rng.integers(len(decision.options)))]
        chosen |= zip(decision.layers, option, strict=True)
    return {name: chosen[name] for name in names}


def nearest_allowed(
    names: Sequence[str],
    options: Options,
    ties: Sequence[Tie],
    wanted: Mapping[str, LayerBits],
) -> dict[str, LayerBits]:
    """Allowed bits of all layers, ties kept, nearest to wanted ones; fewer bits where two are."""
    chosen: dict[str, LayerBits] = {}
    for decision in decisions_of(names, options, ties):
        if decision.complete:
            found = decision.options[decision.nearest(wanted)]
            chosen |= zip(decision.layers, found, strict=True)
            continue
        # too many to list: each width for itself, among those that all of its tensors may have
        bits: dict[tuple[int, Part], int] = {}
        for tensors in decision.variables:
            sets = [
                {getattr(b, part) for b in options[decision.layers[at]]} for at, part in tensors
            ]
            at, part = tensors[0]
            goal = width_order(getattr(wanted[decision.layers[at]], part))
            width = min(
                set.intersection(*sets),
                key=lambda w: (abs(width_order(w) - goal), width_order(w)),
            )
            bits |= dict.fromkeys(tensors, width)
        found = tuple(
            LayerBits(bits[at, "weight"], bits[at, "activation"])
            for at in range(len(decision.layers))
        )
        if not all(b in options[name] for b, name in zip(found, decision.layers, strict=True)):
            # widths that go together in pairs are none of each for itself
            found = decision.options[decision.nearest(wanted)]
        chosen |= zip(decision.layers, found, strict=True)
    return {name: chosen[name] for name in names}


def _components(
    names: Sequence[str], ties: Sequence[Tie]
) -> Iterator[tuple[tuple[str, ...], tuple[Tie, ...]]]:
    group = {name: {name} for name in names}
    for tie in ties:
        joined = set().union(*(group[name] for name in tie.layers))
        for name in joined:
            group[name] = joined
    done: set[str] = set()
    for name in names:
        if name not in done:
            members = tuple(other for other in names if other in group[name])
            done.update(members)
            yield members, tuple(tie for tie in ties if tie.layers[0] in group[name])


def _decision(
    members: tuple[str, ...],
    options: Options,
    ties: Sequence[Tie],
    prices: Mapping[str, np.ndarray] | None,
    scores: Sequence[Mapping[str, np.ndarray]],
    most: int | None,
) -> Decision:
    if len(members) == 1:
        only = tuple((bits,) for bits in options[members[0]])
        return Decision(members, only, (((0, "weight"),), ((0, "activation"),)))
    shared = [tuple((members.index(name), tie.part) for name in tie.layers) for tie in ties]
    tied = {tensor for tensors in shared for tensor in tensors}
    single: list[Tensors] = [
        ((place, part),)
        for place in range(len(members))
        for part in PARTS
        if (place, part) not in tied
    ]
    variables = tuple(sorted([*shared, *single], key=lambda v: (v[0][0], PARTS.index(v[0][1]))))
    rows = [tuple(options[name]) for name in members]
    listed = _listed(rows, shared)
    if listed is not None:
        return Decision(members, tuple(listed), variables)
    chosen = _sampled(members, rows, shared, prices, scores, most)
    found = {tuple(row[at] for row, at in zip(rows, c, strict=True)) for c in chosen}
    return Decision(members, tuple(sorted(found)), variables, False)


def _listed(
    rows: Sequence[Sequence[LayerBits]], shared: Sequence[Tensors]
) -> list[tuple[LayerBits, ...]] | None:
    """All combinations that keep the ties, layer by layer; None once they are too many."""
    of = {tensor: number for number, tensors in enumerate(shared) for tensor in tensors}
    found: list[tuple[tuple[LayerBits, ...], dict[int, int]]] = [((), {})]
    for place, row in enumerate(rows):
        grown = []
        for made, widths in found:
            for bits in row:
                mine = {
                    of[place, part]: int(getattr(bits, part))
                    for part in PARTS
                    if (place, part) in of
                }
                if all(widths.get(number, width) == width for number, width in mine.items()):
                    grown.append(((*made, bits), {**widths, **mine}))
            if len(grown) > LISTED:
                return None
        found = grown
    return [made for made, _ in found]


def _sampled(
    members: Sequence[str],
    rows: Sequence[Sequence[LayerBits]],
    shared: Sequence[Tensors],
    prices: Mapping[str, np.ndarray] | None,
    scores: Sequence[Mapping[str, np.ndarray]],
    most: int | None,
) -> list[tuple[int, ...]]:
    """Combinations that are best for some score, or cheapest, or the same bits everywhere."""
    cost = [
        np.array([[bits.weight + bits.activation] for bits in row], np.int64)
        if prices is None
        else prices[name]
        for name, row in zip(members, rows, strict=True)
    ]
    damage = [[table[name] for name in members] for table in scores] or [
        [np.array([sum(4.0**-rank for rank in _ranks(b)) for b in row]) for row in rows]
    ]
    # the solver takes two costs; of more, each option still has its true prices
    two = [price[:, :2] for price in cost]
    found: dict[tuple[int, ...], None] = {}
    for table in damage:
        front = _front(two, table, rows, shared)
        kept = range(len(front)) if most is None else _spread(len(front), most)
        found |= dict.fromkeys(tuple(int(at) for at in front[row]) for row in kept)
    for at in range(cost[0].shape[1]):
        one = [price[:, at : at + 1] for price in cost]
        front = _front(one, [np.zeros(len(row)) for row in rows], rows, shared)
        found |= dict.fromkeys(tuple(int(i) for i in row) for row in front[:1])
    for bits in sorted({bits for row in rows for bits in row}):
        if all(bits in row for row in rows):
            found[tuple(list(row).index(bits) for row in rows)] = None
    return list(found)


def _spread(count: int, most: int) -> list[int]:
    return sorted({round(at) for at in np.linspace(0, count - 1, min(most, count))})


def _front(
    prices: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
    rows: Sequence[Sequence[LayerBits]],
    shared: Sequence[Tensors],
) -> np.ndarray:
    """The exact front of layers under ties: option index of each layer, (solutions, layers)."""
    kept = [np.arange(len(row)) for row in rows]
    return _merged(list(range(len(rows))), kept, list(shared), prices, scores, rows)[2]


Merged = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Prices (solutions, costs), scores (solutions,), option indices (solutions, layers)."""


def _merged(
    members: list[int],
    kept: Sequence[np.ndarray],
    shared: list[Tensors],
    prices: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
    rows: Sequence[Sequence[LayerBits]],
) -> Merged:
    """Front of some layers, each at the options that are kept; in the members' order."""
    if not shared:
        return _independent(members, kept, prices, scores)
    tensors = max(shared, key=len)
    rest = [other for other in shared if other is not tensors]
    widths = {
        place: np.array([getattr(bits, part) for bits in rows[place]]) for place, part in tensors
    }
    common = set.intersection(*(set(widths[p][kept[p]].tolist()) for p in widths))
    parts: list[Merged] = []
    for width in in_order(common):
        fixed = list(kept)
        for place, mine in widths.items():
            fixed[place] = kept[place][mine[kept[place]] == width]
        parts.append(_joined(members, fixed, rest, prices, scores, rows))
    if not parts:
        return _nothing(prices, len(members))
    cost, score, choice = (np.concatenate(column) for column in zip(*parts, strict=True))
    best = non_dominated(cost, score)
    return cost[best], score[best], choice[best]


def _nothing(prices: Sequence[np.ndarray], layers: int) -> Merged:
    empty = np.zeros((0, prices[0].shape[1]), np.int64)
    return empty, np.zeros(0), np.zeros((0, layers), np.int64)


def _joined(
    members: list[int],
    kept: Sequence[np.ndarray],
    shared: list[Tensors],
    prices: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
    rows: Sequence[Sequence[LayerBits]],
) -> Merged:
    """Front of layers that the remaining ties may leave in several parts."""
    groups: list[set[int]] = [{place} for place in members]
    for tensors in shared:
        touched = {place for place, _ in tensors}
        joined = set().union(*(g for g in groups if g & touched))
        groups = [*(g for g in groups if not g & touched), joined]
    parts, order = [], []
    for group in groups:
        inside = [place for place in members if place in group]
        mine = [tensors for tensors in shared if tensors[0][0] in group]
        parts.append(_merged(inside, kept, mine, prices, scores, rows))
        order += inside
    if any(not len(part[1]) for part in parts):
        return _nothing(prices, len(members))
    front, _ = solve([part[0] for part in parts], [part[1] for part in parts])
    choice = np.concatenate(
        [part[2][front.choices[:, at]] for at, part in enumerate(parts)], axis=1
    )
    back = np.argsort(order)
    return front.costs, front.scores, choice[:, back]


def _independent(
    members: list[int],
    kept: Sequence[np.ndarray],
    prices: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
) -> Merged:
    mine = [kept[place] for place in members]
    if any(not len(row) for row in mine):
        return _nothing(prices, len(mine))
    front, _ = solve(
        [prices[place][row] for place, row in zip(members, mine, strict=True)],
        [scores[place][row] for place, row in zip(members, mine, strict=True)],
    )
    choice = np.stack([row[front.choices[:, at]] for at, row in enumerate(mine)], axis=1)
    return front.costs, front.scores, choice
