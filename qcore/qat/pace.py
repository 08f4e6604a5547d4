"""What a time budget buys of a search that trains: its epochs, from how fast this machine trains.

Torch-free and pure; `store.jobs.measured_pace` measures a pace.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qcore.errors import InvalidData, InvalidParams
from qcore.search import Search, Work

MINUTES = (5, 30, 120)
"""Budgets that are offered."""

MOST = 10**12
"""Seconds or samples above which a pace is no measured one."""

FEWEST_IMAGES = 256
"""Images of the shortest epoch; below, a budget buys no training worth the name."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a network is trained and looked at on a machine.

    Attributes:
        train_seconds: Wall-clock seconds for each image of a step: forward, backward, update.
        look_seconds: For each image that only passes forward.
        start_seconds: Until the first step: loading and calibrating.
        images: Training images there are.
        search_images: Images of the search split.
        test_images: Images of the test split.
    """

    train_seconds: float
    look_seconds: float
    start_seconds: float
    images: int
    search_images: int = 1024
    test_images: int = 0

    def to_json(self) -> dict[str, float | int]:
        """Plain JSON data; `Pace.from_json` reads it back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> "Pace":
        """Read what `to_json` wrote.

        Raises:
            InvalidData: it is something else.
        """
        try:
            train, look, start = (
                float(data[n]) for n in ("train_seconds", "look_seconds", "start_seconds")
            )
            images, search, test = (
                int(data[n]) for n in ("images", "search_images", "test_images")
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InvalidData("A measured pace is damaged; measure it again.") from error
        known = all(0 <= each <= MOST for each in (train, look, start, images, search, test))
        if not known or images < 1 or train <= 0:
            raise InvalidData("A measured pace is damaged; measure it again.")
        return cls(train, look, start, images, search, test)


def work_of(search: Search) -> Work:
    """What a search trains.

    Raises:
        InvalidParams: it trains nothing, so that time buys nothing of it.
    """
    if search.work is None:
        raise InvalidParams(
            f"{search.title} trains nothing of its own, so that no number of minutes can be set. "
            "Leave the minutes out."
        )
    return search.work


def seconds_of(search: Search, params: Any, pace: Pace, switches: int) -> float:
    """Wall-clock seconds that a run is expected to take.

    Args:
        search: A search that trains.
        params: Its params.
        pace: How fast.
        switches: Bits that the whole network may be switched between.
    """
    work = work_of(search)
    epochs = _epochs(work, params)
    images = min(params.epoch_images or pace.images, pace.images)
    trained = epochs * images * work.passes(params, switches)
    looked = work.looked(params, switches, pace.search_images, pace.test_images)
    looked += trained * work.looking
    return pace.start_seconds + trained * pace.train_seconds + looked * pace.look_seconds


def paced(
    search: Search,
    minutes: float,
    pace: Pace,
    switches: int,
    given: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The params with which a run takes about so many minutes.

    Epochs are scaled together, those of one stage to those of another as by default. Where the
    minutes are too few for an epoch of each stage, epochs have fewer images; where they are too few
    for the candidates, there are fewer of those.

    Args:
        search: A search that trains.
        minutes: Of wall-clock time, start included.
        pace: How fast.
        switches: Bits that the whole network may be switched between.
        given: Params that are set already; their epochs are what is scaled.

    Returns:
        `given` with the fields that change.

    Raises:
        InvalidParams: it trains nothing, or the minutes are too few for any training.
    """
    work, given = work_of(search), dict(given or {})
    if not minutes > 0 or not math.isfinite(minutes):
        raise InvalidParams(f"Give a positive number of minutes; got {minutes:g}.")
    thin = _thinned(search, minutes, pace, switches, given)
    begun = search.read_params({**given, **thin, "epoch_images": 0})
    none = dataclasses.replace(begun, **dict.fromkeys(work.epochs, 0))
    fixed = seconds_of(search, none, pace, switches)
    left = 60 * minutes - fixed
    whole = seconds_of(search, begun, pace, switches) - fixed
    total = _epochs(work, begun)
    if left <= 0 or total == 0 or pace.images * total * left / whole < FEWEST_IMAGES:
        raise InvalidParams(
            f"{search.title} needs {fixed / 60:.1f} minutes on this machine beside its training; "
            f"{minutes:g} are too few. Give more minutes, or look at fewer samples."
        )
    share = left / whole
    most = {
        field.name: field.metadata["max"]
        for field in dataclasses.fields(begun)
        if field.name in work.epochs
    }
    wanted = _rounded([getattr(begun, name) for name in work.epochs], share)
    epochs = [min(each, most[name]) for name, each in zip(work.epochs, wanted, strict=True)]
    found: dict[str, Any] = dict(zip(work.epochs, epochs, strict=True))
    now = _epochs(work, dataclasses.replace(begun, **found))
    if now > 1.1 * share * total:
        found["epoch_images"] = max(2, math.floor(pace.images * share * total / now))
    return {**given, **thin, **found}


LOOKED_SHARE = 0.4
"""Most of a budget that candidates take; where they would take more there are fewer."""


def _thinned(
    search: Search, minutes: float, pace: Pace, switches: int, given: Mapping[str, Any]
) -> dict[str, Any]:
    work, params = work_of(search), search.read_params(dict(given))
    counts = (switches, pace.search_images, pace.test_images)
    looked = work.looked(params, *counts) * pace.look_seconds
    share = LOOKED_SHARE * 60 * minutes / max(looked, 1e-9)
    if share >= 1:
        return {}
    fields = {field.name: field for field in dataclasses.fields(params)}
    fewest = {name: int(fields[name].metadata["min"]) for name in work.thinned}
    if "evaluations" in fewest:
        # a generation fits
        fewest["evaluations"] = max(fewest["evaluations"], getattr(params, "population", 0))
    return {
        name: max(least, math.floor(share * getattr(params, name)))
        for name, least in fewest.items()
    }


def _epochs(work: Work, params: Any) -> int:
    return sum(getattr(params, name) * work.repeated(params, name) for name in work.epochs)


def _rounded(epochs: Sequence[int], share: float) -> list[int]:
    """Whole epochs in proportion, at least one where there was one, about as many in all."""
    wanted = [each * share for each in epochs]
    out = [max(1, math.floor(each)) if each else 0 for each in wanted]
    spare = math.floor(sum(wanted) + 1e-9) - sum(out)
    order = sorted(range(len(out)), key=lambda at: out[at] - wanted[at])
    for at in order[: max(0, spare)]:
        out[at] += 1
    return out


def epochs_words(search: Search, params: Mapping[str, Any], pace: Pace) -> str:
    """What a budget buys, in words: "84 epochs of bits, 56 at the end, of 6,362 images each"."""
    work = work_of(search)
    read = search.read_params(dict(params))
    labels = {
        field.name: str(field.metadata.get("label", field.name))
        for field in dataclasses.fields(read)
    }
    fewer = [name for name in work.thinned if getattr(read, name) < getattr(search.params(), name)]
    parts = [f"{labels[name]}: {getattr(read, name):,}" for name in (*work.epochs, *fewer)]
    images = min(read.epoch_images or pace.images, pace.images)
    rate = 1 / pace.train_seconds
    return f"{'; '.join(parts)}; of {images:,} samples each, at {rate:,.0f} samples a second here"
