"""What Explore is about: one model, its runs, their points, and what its budgets span. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from pages.shared.columns import ACTIVATION_BITS
from pages.shared.judged import CLASSIFIER, Words
from pages.shared.ranges import Range, spans_of
from qcore.allocation import FLOAT_BITS, ModelSpec
from qcore.costs.user_tables import Costs
from store import Run, Store


@dataclass(frozen=True)
class Scene:
    """What Explore is about.

    Attributes:
        store: The database.
        model: The model.
        compared: Its runs of one setting.
        frame: Their points, as `points_frame`.
        reference: Row of the point to compare with, if one was chosen.
        words: What figures are called.
    """

    store: Store
    model: ModelSpec
    compared: Sequence[Run]
    frame: pd.DataFrame
    reference: pd.Series | None = None
    words: Words = CLASSIFIER

    @property
    def widest(self) -> int:
        """Activation bits where a compute slider ends: float where points leave them so."""
        return FLOAT_BITS if bool((self.frame[ACTIVATION_BITS] == FLOAT_BITS).any()) else 8

    @property
    def pinned(self) -> bool:
        """Whether every run fixed the first and the last layer."""
        return all(run.spec.pin_first_last is not None for run in self.compared)

    @property
    def pin(self) -> int | None:
        """Bits that runs fix the first and the last layer to, the most of them; None without."""
        return max(
            (bits for run in self.compared if (bits := run.spec.pin_first_last)), default=None
        )

    @cached_property
    def costs(self) -> Costs:
        """The costs there were when the page was begun."""
        return self.store.costs

    @cached_property
    def spans(self) -> Mapping[str, Range]:
        """Cost name to the range of its slider, of the budgets always offered."""
        return spans_of(self.model, self.widest, self.pin)
