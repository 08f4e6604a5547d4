"""How often a promise "loses at most x points" of a front's pick is kept. Pure.

A front is int8 (members, n), by falling cost: what each member does on each of n images against
the float network, +1 where it loses the image, -1 where it gains it. The pick for a limit is the
last member down to which `qcore.paired.promises` reaches.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qcore.paired import loss_bounds, promises

WITHIN = 0.5
"""Points against the float network that are promised."""


@dataclass(frozen=True)
class Promises:
    """What came of many promises.

    Attributes:
        asked: Draws of confirming images, each of which asks a front for its pick.
        made: Draws in which a pick is promised; in the others the front says it has none.
        kept: Promises whose pick loses no more than was promised on the images left over.
        broken: Promises whose pick is shown to lose more there: one-sided, at 95 %.
        true: Promises whose pick loses no more than was promised on all images.
    """

    asked: int
    made: int
    kept: int
    broken: int
    true: int


def reached(bounds: np.ndarray, limit: float) -> int:
    """Members of a front that a promise reaches, from the first on; their bounds in points."""
    return int((promises(bounds.tolist()) <= limit).sum())


def on_halves(front: np.ndarray, draws: int, rng: np.random.Generator) -> Iterator[Promises]:
    """Promise on one half of the images and look at the other, `draws` times: one promise each."""
    count = front.shape[1]
    whole = 100 * front.mean(axis=1, dtype=float)
    halves = rng.permuted(np.tile(np.arange(count) % 2 == 0, (draws, 1)), axis=1)
    lost, gained = tallies(front, halves)
    other_lost, other_gained = tallies(front, ~halves)
    confirming = halves.sum(axis=1)[:, None]
    bounds = loss_bounds(confirming, lost, gained)
    others = count - confirming
    losses = 100 * (other_lost - other_gained) / others
    # the least that is lost is the most that is gained
    least = -loss_bounds(others, other_gained, other_lost)
    for draw in range(draws):
        members = reached(bounds[draw], WITHIN)
        if not members:
            yield Promises(1, 0, 0, 0, 0)
            continue
        pick = members - 1
        yield Promises(
            asked=1,
            made=1,
            kept=int(losses[draw, pick] <= WITHIN),
            broken=int(least[draw, pick] > WITHIN),
            true=int(whole[pick] <= WITHIN),
        )


def tallies(front: np.ndarray, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images lost and gained by each member, where each image counts as often as `images` says.

    Args:
        front: int8 (members, n).
        images: Whole numbers or bools (draws, n).

    Returns:
        Both float64 (draws, members), whole numbers.
    """
    # float32 holds whole numbers exactly up to 2 ** 24
    weights = images.astype(np.float32)
    lost, gained = (
        (weights @ (front == sign).T.astype(np.float32)).astype(float) for sign in (1, -1)
    )
    return lost, gained


def total(parts: Iterable[Promises]) -> Promises:
    """The sum of several counts."""
    rows = [(p.asked, p.made, p.kept, p.broken, p.true) for p in parts]
    return Promises(*(sum(column) for column in zip(*rows, strict=True)))


def first_made(fronts: Sequence[np.ndarray], wanted: int, rng: np.random.Generator) -> Promises:
    """Ask one front after another, on new halves each time, until `wanted` promises are made.

    Fronts that promise nothing in `wanted` rounds end it: fewer are made then.
    """
    parts: list[Promises] = []
    for _ in range(wanted):
        for front in fronts:
            if sum(part.made for part in parts) == wanted:
                return total(parts)
            parts += on_halves(front, 1, rng)
    return total(parts)


def failures(
    fronts: Mapping[str, np.ndarray], images: int, draws: int, rng: np.random.Generator
) -> list[dict[str, float | str]]:
    """How often a promise fails where the truth is known, at `WITHIN` and at the hardest limits.

    All images of a front are the world, so what a member loses on them is the truth. Confirming
    images are drawn from them with replacement. Of all limits those are the hardest that lie just
    below what some member truly loses. A promise fails when any member that it reaches truly loses
    more than the limit.

    Args:
        fronts: Name to front, all on the same images.
        images: Confirming images of a draw.
        draws: Draws for each front and limit.
        rng: Draws them.

    Returns:
        For each front and limit: front, limit in points, whether it is a hardest one, and the
        share of draws in which the promise fails.
    """
    found: list[dict[str, float | str]] = []
    count = next(iter(fronts.values())).shape[1]
    chosen = rng.multinomial(images, np.full(count, 1 / count), size=draws)
    for name, front in fronts.items():
        truth = 100 * front.mean(axis=1, dtype=float)
        bounds = loss_bounds(np.full((draws, 1), images), *tallies(front, chosen))
        promised = np.maximum.accumulate(bounds, axis=1)
        below = 50 / count  # points, half an image
        hardest = sorted({float(loss) - below for loss in truth if loss > below})
        for limit in (WITHIN, *hardest):
            fails = ((promised <= limit) & (truth > limit)).any(axis=1)
            kind = "asked" if limit == WITHIN else "hardest"
            share = float(fails.mean())
            found.append({"front": name, "limit": limit, "kind": kind, "share": share})
    return found
