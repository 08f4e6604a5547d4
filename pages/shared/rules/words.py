"""Rules in words, and what they leave each layer, as tables. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pages.shared.text import bits_text
from qcore.allocation import BitAllocation, LayerBits, ModelSpec, in_order
from qcore.errors import QcoreError
from qcore.rules.file import read_rules
from qcore.rules.resolve import Resolved, paired, resolve
from qcore.rules.rule import Rule, pairs_text
from qcore.rules.ties import WORDS, Tie, holds

MOST_NAMES = 6
"""Layers named one by one."""


def named(layers: Sequence[str], most: int = MOST_NAMES) -> str:
    """Names of layers, the first ones of many: "conv1, fc", "a, b and 3 more"."""
    if len(layers) <= most:
        return ", ".join(layers)
    return f"{', '.join(layers[: most - 1])} and {len(layers) - most + 1:,} more"


def rule_words(rule: Rule) -> str:
    """What a rule says of its layers: "weights 4 or 8, at least 4; weights tied"."""
    said = []
    whole = rule.lock[0] is not None and rule.lock[0] == rule.lock[1] and not rule.activations
    if whole:
        # where activations are in float, such a lock leaves them there
        said.append(f"locked at {bits_text(rule.lock[0])}")
    for place, what in enumerate(WORDS.values()):
        allowed = (rule.weights, rule.activations)[place]
        least, most, lock = rule.least[place], rule.most[place], rule.lock[place]
        parts = [f"locked at {bits_text(lock)}"] if lock is not None and not whole else []
        if allowed and lock is None:
            parts.append(f"{' or '.join(map(bits_text, allowed))}")
        parts += [f"at least {bits_text(least)}"] if least is not None else []
        parts += [f"at most {bits_text(most)}"] if most is not None else []
        if parts:
            said.append(f"{what} {', '.join(parts)}")
    if rule.pairs:
        together = " or ".join(bits.text for bits in rule.pairs)
        said.insert(0, f"weights/activations {together}")
    if rule.tie:
        said.append(f"{'weights and activations' if rule.tie == 'both' else rule.tie} tied")
    return "; ".join(said)


def rules_words(rules: Sequence[Rule], most: int = 8) -> str:
    """Rules in one sentence, "none" without: "conv1: weights locked at 8; fc: weights tied"."""
    if not rules:
        return "none"
    said = [f"{rule.layers}: {rule_words(rule)}" for rule in rules[:most]]
    more = [f"and {len(rules) - most} more"] if len(rules) > most else []
    return " | ".join(said + more)


def rules_rows(rules: Sequence[Rule], resolved: Resolved | None) -> list[tuple[str, str, str]]:
    """(layers, what is said of them, which they are) of each rule; later ones win."""
    rows = []
    for at, rule in enumerate(rules):
        found = "" if resolved is None else _found(resolved.matches[at], resolved.overruled[at])
        rows.append((f"{at + 1}. {rule.layers}", rule_words(rule), found))
    return rows


def _found(layers: Sequence[str], overruled: Sequence[str]) -> str:
    return named(layers) + (f"; a later rule decides {named(overruled)}" if overruled else "")


LEFT = ("Layer", "Weights", "Activations", "Tied with")


def left_rows(resolved: Resolved) -> list[tuple[str, str, str, str]]:
    """What rules leave each layer, columns LEFT: its widths, and whom it shares them with."""
    return [
        (name, *_widths(options), _partners(name, resolved.ties))
        for name, options in resolved.options.items()
    ]


def _widths(options: Sequence[LayerBits]) -> tuple[str, str]:
    """What weights may have, and activations; of pairs, which with which."""
    weights, inputs = ({getattr(b, part) for b in options} for part in ("weight", "activation"))
    if paired(options):
        return _listed(weights), f"as pairs: {pairs_text(options)}"
    return _listed(weights), _listed(inputs)


def _listed(widths: Iterable[int]) -> str:
    return ", ".join(map(bits_text, in_order(widths)))


def _partners(name: str, ties: Iterable[Tie]) -> str:
    mine = [
        (WORDS[tie.part], named([other for other in tie.layers if other != name], 4))
        for tie in ties
        if name in tie.layers
    ]
    if len(mine) == 2 and mine[0][1] == mine[1][1]:
        return f"both: {mine[0][1]}"
    return "; ".join(f"{part}: {others}" for part, others in mine)


def kept_by(resolved: Resolved, allocation: BitAllocation) -> bool:
    """Whether bits are what rules allow, ties included."""
    return all(allocation[name] in row for name, row in resolved.options.items()) and holds(
        resolved.ties, allocation
    )


def kept_words(resolved: Resolved, allocation: BitAllocation) -> str:
    """Whether a configuration keeps rules, as a sentence."""
    if kept_by(resolved, allocation):
        return "These bits keep all of them."
    return "These bits do not keep all of them: they were changed, or measured by hand."


def told_rules(
    provenance: Mapping[str, Any], model: ModelSpec
) -> tuple[tuple[Rule, ...], Resolved | None]:
    """The rules a configuration was found under, and what they left where that is known.

    Args:
        provenance: Of a configuration's file, which may hold anything.
        model: Its model.

    Raises:
        QcoreError: the file's rules cannot be read.
    """
    rules = read_rules(provenance.get("rules"))
    widths = (provenance.get("weight_bits"), provenance.get("activation_bits"))
    if not rules or not all(isinstance(each, list) and each for each in widths):
        return rules, None
    pin = provenance.get("pin_first_last")
    try:
        return rules, resolve(rules, model.layers, *widths, pin)  # type: ignore[arg-type]
    except (QcoreError, TypeError):
        # of another network, or edited: the rules themselves are still worth telling
        return rules, None
