"""Which runs may be compared, and why others may not. Pure functions.

Accuracies may lie in one picture only where they were measured alike: the same network, the same
images, the same choice of bits for activations, the same quantization around the bits. What may
differ is what is compared: the search, its settings, its budget and weight bits, its seed, and the
class of the device.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pages.shared.judged import words_of
from pages.shared.rules.words import rules_words
from pages.shared.run_numbers import run_words
from pages.shared.text import counted, widths_text
from qcore.run_spec import RunSpec, method_label
from qcore.searches import SEARCHES
from qcore.setting import Setting
from store import Run, StoredPoint


def metric_of(points: Sequence[StoredPoint], judge: Mapping[str, Any] | None = None) -> str:
    """The metric behind a run's figures, of a judge as `RunSpec.judge` has it."""
    return words_of(judge, points).name


OBJECTIVES = {"kl": "divergence from the float network", "loss": "cross-entropy"}

FACTS = {
    "model": ("Network", "figures of different networks say nothing about the allocations"),
    "digest": ("Weights of the network", "the network was trained again or replaced in between"),
    "data": ("Data", "accuracies on different images cannot be compared"),
    "search_images": ("Search images", "the splits hold different images"),
    "images_seed": (
        "Seed of the images",
        "other images were drawn, so that runs cannot be held against one another image by image",
    ),
    "calibration_images": ("Calibration images", "the quantizers were set on different images"),
    "judge": ("Judge", "scores and divergences of different judges are different things"),
    "metric": ("Metric", "agreement is not accuracy"),
    "objective": ("Objective", "the searches were not after the same thing"),
    "tuning": ("Tuning", "tuned weights are not the weights the others were scored with"),
    "quantizer": ("Quantizer", "the same bits are other weights"),
    "rounding": ("Rounding", "the same bits are other weights"),
    "correction": ("Correction", "the same bits are other scales and biases"),
    "activations": (
        "Bits of activations",
        "fewer of them cost accuracy, and no size of weights shows it",
    ),
    "rules": (
        "Device rules",
        "other allocations were to be had, so that a difference may be that of the rules",
    ),
}
"""Field of a setting to what a reader calls it and why it must be equal."""


def value_words(field: str, setting: Setting) -> str:
    """The value of one field in words."""
    value = getattr(setting, field)
    if field == "activations":
        return widths_text(setting.activations)
    if field == "tuning":
        return "tuned without labels" if value else "not tuned"
    if field == "objective":
        return OBJECTIVES.get(value, str(value) or "none")
    if field == "rules":
        return rules_words(setting.rules, 4)
    if field == "digest":
        return value[:12] or "not known yet"
    return f"{value:,}" if isinstance(value, int) else str(value)


@dataclass(frozen=True, slots=True)
class Group:
    """Runs that may be compared with one another, and what tells them from the others."""

    runs: tuple[int, ...]
    words: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether runs may share a picture.

    Attributes:
        groups: Runs that may; one group means all of them. The largest comes first.
        reasons: Why the groups may not be mixed, one sentence per differing fact.
    """

    groups: tuple[Group, ...]
    reasons: tuple[str, ...]

    @property
    def comparable(self) -> bool:
        """True when all runs may share a picture."""
        return len(self.groups) <= 1


def aim_of(specs: Sequence[RunSpec]) -> str:
    """What points of several runs are judged by together: "kl" or "loss".

    The loss where one of them trained by it: then the divergence from the float network, which
    training leaves, says little. Else what the first that minimises something went by.
    """
    known = [(SEARCHES[spec.search], spec.objective) for spec in specs if spec.search in SEARCHES]
    if any(search.trains and aim == "loss" for search, aim in known):
        return "loss"
    return next((aim for search, aim in known if search.aims), "kl")


def judge(settings: Mapping[int, Setting]) -> Verdict:
    """Sort runs into groups that may be compared.

    A run whose digest is not known yet, or that minimises nothing, goes with runs it agrees with
    otherwise.

    Args:
        settings: Run id to its setting.
    """
    known = _filled(_free_beside_ruled(settings))
    groups: dict[Setting, list[int]] = {}
    for number, setting in known.items():
        groups.setdefault(setting, []).append(number)
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), min(item[1])))
    differing = [
        # what is not known of a run is no difference
        field
        for field in FACTS
        if len({getattr(setting, field) for setting in groups} - {""}) > 1
    ]
    # another network has other weights: saying so once is enough
    if "model" in differing and "digest" in differing and not _retrained(list(groups)):
        differing.remove("digest")
    return Verdict(
        tuple(
            Group(
                tuple(sorted(numbers)),
                ", ".join(f"{FACTS[f][0].lower()} {value_words(f, setting)}" for f in differing),
            )
            for setting, numbers in ordered
        ),
        tuple(_reason(field, known) for field in differing),
    )


def _free_beside_ruled(settings: Mapping[int, Setting]) -> Mapping[int, Setting]:
    """Runs without rules go with those under one list of them, to show what the rules cost.

    They are methods of their own there. Runs under several lists are not mixed.
    """
    if len({setting.rules for setting in settings.values()} - {()}) > 1:
        return settings
    return {number: replace(setting, rules=()) for number, setting in settings.items()}


def _filled(settings: Mapping[int, Setting]) -> dict[int, Setting]:
    """Settings whose open fields are taken from one they agree with otherwise."""
    filled = dict(settings)
    for field in ("digest", "objective"):
        for number, setting in filled.items():
            if getattr(setting, field):
                continue
            for other in filled.values():
                known = {field: getattr(other, field)}
                if known[field] and _agree(replace(setting, **known), other):
                    filled[number] = replace(setting, **known)
                    break
    return filled


def _agree(a: Setting, b: Setting) -> bool:
    """True when nothing that is known of both differs."""
    pairs = ((getattr(a, field), getattr(b, field)) for field in FACTS)
    return all(x == y or x == "" or y == "" for x, y in pairs)


def _retrained(settings: Sequence[Setting]) -> bool:
    pairs = {(setting.model, setting.digest) for setting in settings}
    return len(pairs) > len({model for model, _ in pairs})


def _reason(field: str, settings: Mapping[int, Setting]) -> str:
    title, why = FACTS[field]
    by_value: dict[str, list[int]] = {}
    for number, setting in settings.items():
        by_value.setdefault(value_words(field, setting), []).append(number)
    parts = [f"{run_words(numbers)}: {value}" for value, numbers in by_value.items()]
    return f"{title} ({'; '.join(parts)}): {why}."


def run_label(run: Run, model: str = "") -> str:
    """How a run is offered: "22: CMA-ES, 4 bits, seed 2, 240 points".

    Args:
        run: The run.
        model: The network the page is about, which needs no mention.

    Returns:
        Number, method, another network, what its own name adds, seed and points.
    """
    title = method_label(run.spec.search, ruled=bool(run.spec.rules))
    seed = f"seed {run.spec.seed}"
    place = [f"on {run.spec.model}"] if run.spec.model != model else []
    said = {run.spec.search, title, seed, f"{title} on {run.spec.model}"}
    name = ", ".join(part for part in run.name.split(", ") if part not in said)
    name = _printable(name if len(name) <= 40 else f"{name[:39]}…")
    head = " ".join([f"{run.id}: {title}", *place])
    return ", ".join(filter(None, [head, name, seed, counted(run.evaluations, "point")]))


def _printable(text: str) -> str:
    """Without what turns the direction of writing: it would turn the whole sentence."""
    return "".join(c for c in text if c.isprintable())
