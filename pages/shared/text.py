"""Numbers and states in the words a reader sees. Pure functions."""

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from qcore.allocation import FLOAT_BITS, width_text
from qcore.costs import COSTS
from qcore.costs.formulas import CostModel
from qcore.problem import wilson_interval
from qcore.run_spec import RunSpec
from store import Run

STATES = {
    "queued": "queued: waits for a free worker",
    "running": "running",
    "paused": "paused: keeps its place and goes on when resumed",
    "done": "done",
    "cancelled": "cancelled: what was measured until then is kept",
    "failed": "failed: its error is shown in its details",
}
"""What each run state means."""

CANCELLING = "cancelling: stops after the evaluation in hand"
PAUSING = "pausing: stops when the batch in hand is measured"
STOPPING = "stopping: what is in hand is measured again when resumed"

ACTIVE = frozenset({"queued", "running"})
"""States in which a run may still change."""


def scale_of(cost: CostModel, largest: float) -> tuple[float, str]:
    """Choose the unit in which values of a cost up to `largest` read well.

    Returns:
        (factor, unit): divide by the factor to get the unit, such as (1024.0, "KiB").

    Example:
        >>> scale_of(COSTS["bit_ops"], 3.2e8)
        (1000000.0, 'M bit-ops')
    """
    return cost.scale(largest)


def cost_text(cost: CostModel, value: float) -> str:
    """Write a cost with its unit, three significant digits.

    Example:
        >>> cost_text(COSTS["weight_bytes"], 9700)
        '9.47 KiB'
    """
    factor, unit = scale_of(cost, value)
    if factor == 1.0:
        return f"{value:,.0f} {unit}"
    return f"{significant(value / factor)} {unit}"


def exact_cost_text(cost: CostModel, value: float) -> str:
    """Write a cost exactly, with the rounded figure beside it: "9,700 B (9.47 KiB)"."""
    exact = f"{value:,.0f} {cost.unit}"
    return exact if scale_of(cost, value)[0] == 1.0 else f"{exact} ({cost_text(cost, value)})"


def significant(value: float, digits: int = 3) -> str:
    """Write a number with this many significant digits, but never drop whole digits."""
    if value == 0 or not math.isfinite(value):
        return f"{value:.0f}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"


def percent(share: float, n: int) -> str:
    """Write a share (0..1) of n images with its 95 % interval.

    Example:
        >>> percent(0.906, 1024)
        '90.6 % (88.7 to 92.2, n=1,024)'
    """
    low, high = wilson_interval(share, n)
    return f"{100 * share:.1f} % ({100 * low:.1f} to {100 * high:.1f}, n={n:,})"


def counted(count: int, thing: str) -> str:
    """Write a number of things: "1 evaluation", "1,024 evaluations"."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def bits_text(bits: int | None) -> str:
    """What a cell of the heatmap says: the digit, "fp16", or "float" where it is left in float."""
    return "" if bits is None else width_text(bits)


def limits_text(limits: Mapping[str, float], costs: Mapping[str, CostModel] = COSTS) -> str:
    """Write a budget: "Weights at most 40 KiB, Compute at most 12 M bit-ops", or "none"."""
    if not limits:
        return "none"
    return ", ".join(
        f"{costs[name].title} at most {cost_text(costs[name], limit)}"
        if name in costs
        else f"{name} (its table is gone) at most {limit:,.0f}"
        for name, limit in limits.items()
    )


def short_limits_text(limits: Mapping[str, float], costs: Mapping[str, CostModel] = COSTS) -> str:
    """Write a budget for a legend: "≤ 40 KiB, ≤ 12 M bit-ops", or "no budget".

    Weights come first and without their name, compute is known by its unit.
    """
    plain = ("weight_bytes", "bit_ops")
    ordered = sorted(limits, key=lambda name: (plain.index(name) if name in plain else 2, name))
    parts = [
        f"≤ {cost_text(costs[name], limits[name])}"
        if name in plain
        else f"{costs[name].title} ≤ {cost_text(costs[name], limits[name])}"
        if name in costs
        else f"{name} ≤ {limits[name]:,.0f}"
        for name in ordered
    ]
    return ", ".join(parts) or "no budget"


def widths_text(bits: Iterable[int]) -> str:
    """List bit-widths in a sentence: "2, 4", or "float"."""
    return ", ".join(width_text(width) for width in bits)


def mean_text(bits: float) -> str:
    """Write mean bits: "3.21", or "float" where all is left in float."""
    return "float" if bits == FLOAT_BITS else f"{bits:.2f}"


def activations_text(low: float, high: float | None = None) -> str:
    """Write mean activation bits: "float", "8", or as a range "3.1 to 8"; 32 bits are float."""
    ends = (low, low if high is None else high)
    words = ("float" if end == FLOAT_BITS else f"{end:.1f}".removesuffix(".0") for end in ends)
    return " to ".join(dict.fromkeys(words))


def bits_set_text(spec: RunSpec) -> str:
    """Write which bits a run may use, and which layers are fixed."""
    ends = spec.pin_first_last
    pinned = "" if ends is None else f"; first and last at {width_text(ends)}"
    if set(spec.activation_bits) == {FLOAT_BITS}:
        return f"weights {widths_text(spec.weight_bits)}; activations in float{pinned}"
    activations = widths_text(spec.activation_bits)
    return f"weights {widths_text(spec.weight_bits)}; activations {activations}{pinned}"


def ago(moment: str | None, now: datetime | None = None) -> str:
    """Write how long ago an ISO time (UTC) was: "12 s ago", "3 min ago", "2026-11-21 05:03"."""
    if not moment:
        return ""
    then = datetime.fromisoformat(moment)
    then = then if then.tzinfo else then.replace(tzinfo=UTC)
    seconds = ((now or datetime.now(UTC)) - then).total_seconds()
    if abs(seconds) < 90:
        return f"{max(0, seconds):.0f} s ago"
    if 0 < seconds < 5400:  # of a moment to come, which a clock made up, the date is said
        return f"{seconds / 60:.0f} min ago"
    return then.strftime("%Y-%m-%d %H:%M UTC")


def file_stem(model: str, mean_weight: float, mean_activation: float, method: str, at: int) -> str:
    """Name a download: model, mean bits, method, point; letters, digits, "._-" only.

    Example:
        >>> file_stem("resnet8", 3.21, 32.0, "Exact front", 57)
        'resnet8_3.2w32a_exact-front_57'
    """
    bits = f"{mean_weight:.1f}w{mean_activation:.1f}a".replace(".0", "")
    return file_safe(f"{model}_{bits}_{method.lower().replace(' ', '-')}_{at}")


def file_safe(words: str) -> str:
    """The ASCII letters, digits and "._-" of some words: what a file may be called anywhere."""
    return "".join(c for c in words if c.isascii() and (c.isalnum() or c in "._-"))


def params_text(params: Mapping[str, Any]) -> str:
    """Write what differs from a search's defaults: "points = 32", or "defaults"."""
    parts = []
    for name, value in params.items():
        entries = value if isinstance(value, (list, tuple)) else [value]
        plain = all(isinstance(entry, (str, int, float)) for entry in entries)
        words = ", ".join(map(str, entries)) if plain else f"{len(entries)} given"
        parts.append(f"{name} = {words}")
    return "; ".join(parts) or "defaults"


def is_stopping(run: Run) -> bool:
    """True from the wish to pause, stop or cancel a run until its worker has obeyed."""
    return run.cancelling or run.pausing


def state_words(run: Run) -> str:
    """Say what a run's state means for the reader."""
    if not is_stopping(run):
        return STATES[run.state]
    return {"cancel": CANCELLING, "pause": PAUSING, "stop": STOPPING}[run.want]


_MARKS = re.compile(r"([\\`*_{}\[\]()<>#+.!|~$:^&=@/-])")
_ADDRESS = re.compile(r"(?i)(https?:|www)(?=//|\.)|(?<=\w)(@)(?=\w)")
_JOINERS = "\u200c\u200d"
"""Not seen, but letters of some scripts and some emoji are written with them."""


def literal(words: str, most: int = 1500) -> str:
    """Words that others chose, as Markdown that shows them unchanged.

    No markup, no picture, no link, one line, and nothing that turns the direction of writing.

    Args:
        words: A name or a message from a file, a database or a link.
        most: Longer words are cut to so many characters.
    """
    cut = words if len(words) <= most else f"{words[: most - 1]}…"
    kept = "".join(
        c if c.isprintable() or c in _JOINERS else " " if c.isspace() else "" for c in cut
    )
    # addresses become links even where every sign is escaped: a word joiner is not seen
    apart = _ADDRESS.sub(lambda found: f"{found.group()}\u2060", kept)
    return _MARKS.sub(r"\\\1", apart)


def tidy(name: str, most: int = 40) -> str:
    """A layer's name made fit to print: no control or direction marks, shortened in its middle.

    Example:
        >>> tidy("layer1.0.conv1", 9)
        'laye…nv1'
    """
    kept = "".join(c for c in name if unicodedata.category(c)[0] != "C")
    half = (most - 1) // 2
    return kept if len(kept) <= most else f"{kept[:half]}…{kept[len(kept) - half + 1 :]}"
