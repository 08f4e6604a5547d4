"""The record every search is listed by in SEARCHES, and how its parameters are read."""

import dataclasses
import math
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from qcore.allocation import FLOAT_BITS, width_words
from qcore.costs import COSTS
from qcore.costs.budget import Budget
from qcore.costs.formulas import CostModel
from qcore.errors import InvalidParams
from qcore.problem import Problem, Progress, Proposals, Result


def setting(default: object, label: str, words: str, **meta: object) -> Any:
    """Field of a params dataclass: its default, and what the launch form shows of it.

    Args:
        default: Value that is not given.
        label: What the form calls it.
        words: The form's help.
        meta: "min", "max" or "choices"; "any_cost" where the choices are the names of all costs, a
            user's own among them; with choices that are listed elsewhere "of", which says of what
            they are one.
    """
    return field(default=default, metadata={"label": label, "help": words, **meta})


def epoch_images() -> Any:
    """The setting `epoch_images` of a search that trains; 0 is all images there are."""
    words = "Training images of an epoch; 0 is all there are."
    return setting(0, "Images per epoch", words, min=0, max=10_000_000)


def distillation() -> Any:
    """The setting `distillation` of a search that trains: a share of the loss, 0..1."""
    words = "Share of the loss that learns the float network's outputs; at 1 no labels are needed."
    return setting(0.0, "Distillation", words, min=0.0, max=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """How the weights behind a point of a search that trains came to be; see `Search.trained`.

    Attributes:
        quantizer: Key of LEARNED; "" where another run decides.
        epochs: Passes over the training images until then.
        epoch_images: Training images of a pass; 0 is all there are.
        norms: What became of the batch-norms, in words.
        held_out: Training images, at most, that only chose between states.
        each_step: What a step trains beside one allocation, in words; "" for nothing.
        codes: Bits to the most codes of a weight, where the quantizer's own are not all used.
        scales: How many steps weights have, where not as the quantizer says.
        steps: What more is to say of the steps, in words.
        learned_inputs: Whether ranges of inputs are learned whatever the quantizer says.
        run: Number of the run whose weights these are; 0 for this one.
    """

    quantizer: str = ""
    epochs: int = 0
    epoch_images: int = 0
    norms: str = ""
    held_out: int = 0
    each_step: str = ""
    codes: Mapping[int, int] = field(default_factory=dict)
    scales: str = ""
    steps: str = ""
    learned_inputs: bool = False
    run: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What of a search that trains takes time, so that a time budget can be turned into epochs.

    Attributes:
        epochs: Names of the params that are numbers of epochs.
        repeated: (params, one of these names) to how often these epochs are trained.
        passes: (params, bits the whole network may be switched between) to how often each training
            sample passes forward and back in an epoch.
        looking: Samples that only pass forward, for each that is trained on.
        thinned: Names of the params that are numbers of candidates: where they would take most of
            a short budget there are fewer.
        looked: (params, switches, search samples, test samples) to samples that only pass forward
            besides, however long it trains.
    """

    epochs: tuple[str, ...]
    repeated: Callable[[Any, str], int] = lambda params, name: 1
    passes: Callable[[Any, int], float] = lambda params, switches: 1.0
    looking: float = 0.0
    thinned: tuple[str, ...] = ()
    looked: Callable[[Any, int, int, int], float] = lambda params, switches, search, test: (
        search + test
    )


REESTIMATED = "trained, one for all bits; statistics estimated anew at every allocation"
"""`Trained.norms` where the evaluator estimates them before it scores."""

LEARNED_WIDTHS = (*range(1, 9), FLOAT_BITS)
"""Widths that searches that train can give: those of learned quantizers, and float."""

FAMILIES = ("one-shot", "search", "trained")
"""Kinds of searches: bits from what was measured once, bits from trying many allocations, and bits
with weights of their own."""


@dataclass(frozen=True)
class Search:
    """One way to propose allocations.

    Attributes:
        name: Key in SEARCHES.
        title: What the pages call it.
        summary: One sentence: what it does and what it needs.
        params: Frozen dataclass, every field defaulted; field metadata "label", "min", "max",
            "choices", "help" builds the launch form.
        run: The generator function (problem, params, rng).
        family: One of FAMILIES; "trained" exactly where it changes weights.
        paper: Reference, or "" for a baseline.
        trains: True when it changes weights.
        chance: False when every seed finds the same.
        refuses: A budget to the reason why it cannot obey its limits, or None where it can.
        look: Number of its marker, dash and tone in the plots, which no other search has; None
            takes one by its title, and another search may have that too. Its hue is its family's.
        quick: Params with which it soon ends, for tests of small problems.
        ladder: True for the same bits in every layer, with which all others are compared.
        aims: False when what it proposes does not depend on the objective.
        standalone: False when it cannot do without settings of its own.
        leaves: The stage whose weights are a network for several bits, which others may measure
            and search once the run is done; "" where there is none.
        layer_wise: Whether the layers of that network take bits of their own.
        trained: Of a search that trains (its params, weights stage) to how those weights came to
            be, for the quantization card; the stage "" is that of its results.
        offers: Widths of weights that it may always choose, whatever others were asked for.
        work: What of it takes time; None where it trains nothing of its own.
        before: Params whose defaults have changed, with what they were: a run that was stored
            before, and left them out, goes on with these.
    """

    name: str
    title: str
    summary: str
    params: type
    run: Callable[[Problem, Any, np.random.Generator], Proposals]
    family: str = field(kw_only=True)
    paper: str = ""
    trains: bool = False
    chance: bool = True
    refuses: Callable[[Budget], str | None] = lambda budget: None
    look: int | None = None
    quick: Mapping[str, Any] = field(default_factory=dict)
    ladder: bool = False
    aims: bool = True
    standalone: bool = True
    leaves: str = ""
    layer_wise: bool = False
    trained: Callable[[Any, str], Trained] | None = None
    offers: tuple[int, ...] = ()
    work: Work | None = None
    before: Mapping[str, Any] = field(default_factory=dict)

    def check_limits(self, budget: Budget) -> None:
        """Raise unless it can obey the limits of a budget.

        Raises:
            InvalidParams: says why not, and what to do.
        """
        reason = self.refuses(budget)
        if reason is not None:
            raise InvalidParams(reason)

    def check_widths(self, widths: Iterable[int]) -> None:
        """Raise unless it can give layers these widths.

        Args:
            widths: All that weights and activations may have, of BIT_WIDTHS.

        Raises:
            InvalidParams: it trains, and a learned quantizer has no such width.
        """
        found = sorted(set(widths) - set(LEARNED_WIDTHS)) if self.trains else []
        if found:
            named = ", ".join(width_words(width) for width in found)
            raise InvalidParams(
                f"{self.title} trains with learned quantizers, which have 1 to 8 bits; got {named}."
                " Leave these widths out, or choose a search that does not train."
            )

    def read_params(self, values: Mapping[str, Any], costs: Mapping[str, CostModel] = COSTS) -> Any:
        """Build the params dataclass from plain values, checking names, types and ranges.

        Args:
            values: By name; what is left out has its default.
            costs: The costs a parameter may name.

        Raises:
            InvalidParams: unknown name, wrong type, or a value outside its metadata's range.
        """
        fields = {field.name: field for field in dataclasses.fields(self.params)}
        for name, value in values.items():
            if name not in fields:
                known = ", ".join(fields) or "none"
                raise InvalidParams(f"{self.name} has no parameter {name!r}; known: {known}.")
            _check(self.name, fields[name], value, costs)
        # JSON knows no tuples
        return self.params(**{n: tuple(v) if isinstance(v, list) else v for n, v in values.items()})


def choices_of(
    field: "dataclasses.Field[Any]", costs: Mapping[str, CostModel]
) -> tuple[Any, ...] | None:
    """What a parameter may be; None where it is no choice."""
    if field.metadata.get("any_cost"):
        return tuple(costs)
    choices = field.metadata.get("choices")
    return None if choices is None else tuple(choices)


def _check(
    search: str, field: "dataclasses.Field[Any]", value: Any, costs: Mapping[str, CostModel]
) -> None:
    label, meta = f"{search}: {field.name}", field.metadata
    choices = choices_of(field, costs)
    expected = type(field.default)
    if isinstance(field.default, (bool, int, float, str)):
        numeric = expected is float and isinstance(value, int) and not isinstance(value, bool)
        if type(value) is not expected and not numeric:
            raise InvalidParams(f"{label} must be of type {expected.__name__}; got {value!r}.")
    elif isinstance(field.default, tuple):
        if not isinstance(value, (list, tuple)):
            raise InvalidParams(f"{label} must be a list; got {value!r}.")
        unknown = [entry for entry in value if entry not in (value if choices is None else choices)]
        if unknown:
            raise InvalidParams(
                f"{label} must be among {', '.join(choices or ())}; got {unknown[0]!r}."
            )
        return
    if choices is not None and value not in choices:
        raise InvalidParams(f"{label} must be one of {', '.join(choices)}; got {value!r}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidParams(f"{label} must be a finite number; got {value!r}.")
    if ("min" in meta and value < meta["min"]) or ("max" in meta and value > meta["max"]):
        raise InvalidParams(
            f"{label} must be between {meta.get('min')} and {meta.get('max')}; got {value!r}."
        )


EPOCH_STEPS = 50
"""Steps of the progress bar that an epoch counts for; a scored candidate counts for one."""


@dataclass
class Clock:
    """Steps done of a whole search, so that progress rises to its total.

    Attributes:
        total: Steps in all.
        done: Steps done.
        epoch_steps: Steps that an epoch counts for.
    """

    total: int
    done: int = 0
    epoch_steps: int = EPOCH_STEPS

    def stage(
        self, training: Generator[Progress, None, Result], epochs: int
    ) -> Generator[Progress, None, Result]:
        """Pass a stage's progress on, its epochs as steps of the whole; returns what it returns."""
        while True:
            try:
                progress = next(training)
            except StopIteration as end:
                self.done += epochs * self.epoch_steps
                result: Result = end.value
                return result
            step = min(self.total, self.done + progress.step * self.epoch_steps)
            yield Progress(step, self.total, progress.message, progress.figures)

    def tick(self, steps: int, words: str, **figures: Any) -> Progress:
        """Progress after some more steps."""
        self.done = min(self.total, self.done + steps)
        return Progress(self.done, self.total, words, figures)
