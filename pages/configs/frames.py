"""The configurations the user keeps, read and listed. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from pages.shared.columns import SMALLER
from pages.shared.judged import words_of_config
from pages.shared.text import ago, cost_text
from qcore.costs import COSTS, mean_weight_bits
from qcore.costs.smaller import smaller_text
from qcore.errors import QcoreError
from qcore.formats.config import BitConfig, parse_bits
from store import SavedConfig
from store.jobs.verify import words


@dataclass(frozen=True, slots=True)
class Kept:
    """A saved configuration, read where it can be.

    Attributes:
        saved: What is stored.
        config: What its file says; None where it cannot be read.
        problem: Why it cannot be read; "" where it can.
    """

    saved: SavedConfig
    config: BitConfig | None
    problem: str = ""


def read(saved: SavedConfig, parse: Callable[[str], BitConfig] = parse_bits) -> Kept:
    """Read a saved configuration's file; `parse` may remember what it has read before."""
    try:
        return Kept(saved, parse(saved.text))
    except QcoreError as error:
        return Kept(saved, None, str(error))


def verdict(saved: SavedConfig) -> str:
    """The badge's word: "verified", "failed", or "not verified"."""
    if saved.check is None:
        return "not verified"
    return "verified" if saved.check.get("passed") else "failed"


def check_words(saved: SavedConfig) -> str:
    """What the last verification found, in a sentence; "" where there was none."""
    return "" if saved.check is None else words(saved.check)


def came_from(saved: SavedConfig) -> str:
    """Where a configuration comes from, in a few words."""
    source = saved.source
    if "file" in source:
        return f"file {source['file']}"
    if "point" in source:
        return f"run {source.get('run', '?')}, point {source['point']}"
    return "by hand" if source else ""


def measured(config: BitConfig) -> str:
    """The measured figure with its n and interval, and on which split; "" where there is none."""
    words = words_of_config(config)
    name = "" if words.usual else f"{words.name} "
    for split, scores in (("test split", config.test), ("search split", config.search)):
        if scores is not None:
            return f"{name}{words.scores(scores)}, {split}"
    return ""


def configs_frame(kept: Sequence[Kept]) -> pd.DataFrame:
    """One row a saved configuration, in the order given."""
    rows = []
    for entry in kept:
        config, saved = entry.config, entry.saved
        size = (
            None if config is None else COSTS["weight_bytes"].total(config.model, config.allocation)
        )
        rows.append(
            {
                "Number": saved.id,
                "Name": saved.name,
                "Verified": verdict(saved),
                "Network": "cannot be read" if config is None else config.model.name,
                "Mean weight bits": (
                    None
                    if config is None
                    else round(mean_weight_bits(config.model, config.allocation), 2)
                ),
                "Weights": "" if size is None else cost_text(COSTS["weight_bytes"], size),
                SMALLER: (
                    ""
                    if config is None or size is None
                    else smaller_text(COSTS["weight_bytes"], config.model, size)
                ),
                "Measured (95 % interval)": "" if config is None else measured(config),
                "Tags": ", ".join(saved.tags),
                "From": came_from(saved),
                "Kept": ago(saved.at),
            }
        )
    return pd.DataFrame(rows)
