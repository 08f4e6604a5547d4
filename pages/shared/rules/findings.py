"""What rules come to while they are written: what each matches, what is wrong with it. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pages.shared.rules.entries import LAYERS, Entries, cells_of
from pages.shared.rules.words import rule_words
from qcore.allocation import ModelSpec
from qcore.errors import QcoreError
from qcore.rules.pattern import Facts, facts_of, parse_pattern
from qcore.rules.resolve import Resolved, resolve
from qcore.rules.rule import Rule


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule as it stands.

    Attributes:
        pattern: The layers it is for, as written.
        words: What it says of them; "" where it cannot be read.
        layers: Names of the layers that its pattern matches; () where they are not known.
        overruled: Those of them whose widths a later rule decides anew.
        wrong: Why no search can have it; "" where it can.
    """

    pattern: str
    words: str
    layers: tuple[str, ...] = ()
    overruled: tuple[str, ...] = ()
    wrong: str = ""


@dataclass(frozen=True, slots=True)
class Findings:
    """All rules as they stand.

    Attributes:
        each: One a rule, in order.
        rules: The rules; () where one of them is wrong.
        resolved: What they come to on the model; None where one is wrong, or layers or widths are
            not known.
        wrong: Why no search can begin, the first reason; "" where it can.
    """

    each: tuple[Finding, ...] = ()
    rules: tuple[Rule, ...] = ()
    resolved: Resolved | None = None
    wrong: str = ""


Resolving = Callable[[Sequence[Rule]], Resolved]


def find(
    entries: Entries,
    model: ModelSpec | None,
    weight_bits: Sequence[int],
    activation_bits: Sequence[int],
    pin_first_last: int | None = None,
) -> Findings:
    """Check rules against a model, whichever they were written for.

    Args:
        entries: The rules as a file has them; each may hold anything.
        model: The model that is searched; None where its layers are not known yet.
        weight_bits: Weight widths where no rule says otherwise.
        activation_bits: The same of activations.
        pin_first_last: Bits of the first and last layer, or None.
    """
    facts = [] if model is None else facts_of(model.layers)
    read = [_read(entry, facts) for entry in entries]
    each, rules = [one for one, _ in read], [rule for _, rule in read if rule is not None]
    resolved = None
    if model is not None and not any(one.wrong for one in each):
        layers = model.layers

        def resolving(some: Sequence[Rule]) -> Resolved:
            return resolve(some, layers, weight_bits, activation_bits, pin_first_last)

        each, resolved = _together(each, rules, resolving)
    wrong = next((f"Rule {at}: {one.wrong}" for at, one in enumerate(each, 1) if one.wrong), "")
    return Findings(tuple(each), () if wrong else tuple(rules), resolved, wrong)


def _read(entry: Any, facts: Sequence[Facts]) -> tuple[Finding, Rule | None]:
    """A rule by itself, and which layers its pattern has even where the rest makes no sense."""
    pattern = cells_of(entry)[LAYERS].strip()
    names: tuple[str, ...] = ()
    try:
        if pattern and isinstance(entry, dict):
            found = parse_pattern(pattern)
            names = tuple(one.name for one in facts if found.match(one) is not None)
        rule = Rule.from_json(entry)
    except QcoreError as error:
        return Finding(pattern, "", names, (), str(error)), None
    wrong = ""
    if facts and not names:
        wrong = (
            f"it matches no layer. There are {len(facts)}, such as "
            f"{', '.join(one.name for one in facts[:4])}; their kinds are "
            f"{', '.join(dict.fromkeys(one.kind for one in facts))}, their stages 1 to "
            f"{max(one.stage for one in facts)}."
        )
    return Finding(rule.layers, rule_words(rule), names, (), wrong), rule


def _together(
    each: Sequence[Finding], rules: Sequence[Rule], resolving: Resolving
) -> tuple[list[Finding], Resolved | None]:
    """All rules at once; a contradiction is said at the rule that completes it."""
    try:
        resolving(())
    except QcoreError:
        return list(each), None  # the widths are wrong, which the form says, and not the rules
    try:
        resolved = resolving(rules)
    except QcoreError:
        held, broken = 0, len(rules)
        while broken - held > 1:
            middle = (held + broken) // 2
            held, broken = (held, middle) if _wrong(rules[:middle], resolving) else (middle, broken)
        wrong = _wrong(rules[:broken], resolving).removeprefix(
            f"Rule {broken} ({rules[broken - 1].layers}) "
        )
        return [
            _but(one, wrong=wrong) if at == broken - 1 else one for at, one in enumerate(each)
        ], None
    return [
        _but(one, overruled=lost) for one, lost in zip(each, resolved.overruled, strict=True)
    ], resolved


def _wrong(rules: Sequence[Rule], resolving: Resolving) -> str:
    try:
        resolving(rules)
    except QcoreError as error:
        return str(error)
    return ""


def _but(one: Finding, overruled: tuple[str, ...] = (), wrong: str = "") -> Finding:
    return Finding(one.pattern, one.words, one.layers, overruled, wrong)
