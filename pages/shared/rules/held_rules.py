"""Rules and what is set on layers while dragging say the same: each as the other. Pure."""

from collections.abc import Mapping, Sequence

from pages.shared.held import Allow, Held, Together
from qcore.allocation import LayerBits, ModelSpec, in_order
from qcore.rules.pattern import quoted
from qcore.rules.resolve import Resolved, paired
from qcore.rules.rule import Rule
from qcore.rules.ties import PARTS, WORDS, Part, Tie, merged


def held_of_rules(
    resolved: Resolved, base: Mapping[str, Sequence[LayerBits]], model: ModelSpec
) -> Held:
    """What rules came to, as it can be set on layers.

    Args:
        resolved: What they came to.
        base: Layer name to what it may have where nothing is set; only what differs is set.
        model: The model, whose order ties keep.
    """
    found: list[Allow | Tie | Together] = [
        Together(name, tuple(options))
        for name, options in resolved.options.items()
        if paired(options)
    ]
    for part in PARTS:
        for name, options in resolved.options.items():
            widths, usual = ({getattr(bits, part) for bits in row} for row in (options, base[name]))
            if usual - widths:
                found.append(Allow(name, part, in_order(widths)))
    found += resolved.ties
    return Held(tuple(found))


def rules_of_held(held: Held, model: ModelSpec) -> tuple[Rule, ...]:
    """Rules that say what is set on layers: layers with the same widths share a rule.

    A part of a layer that may have no width at all has no rule: none could begin a search.
    """
    allowed = held.allowed()
    groups: dict[tuple[Part, tuple[int, ...]], list[str]] = {}
    for name in model.names:
        for part in WORDS:
            widths = allowed.get((name, part), ())
            if widths:
                groups.setdefault((part, widths), []).append(name)
    rules = [_rule(part, widths, names) for (part, widths), names in groups.items()]
    for tie in merged(held.ties(), model.names):
        pattern = ", ".join(map(quoted, tie.layers))
        rules.append(Rule(pattern, tie="weights" if tie.part == "weight" else "activations"))
    return tuple(rules)


def _rule(part: Part, widths: tuple[int, ...], names: Sequence[str]) -> Rule:
    pattern = ", ".join(map(quoted, names))
    if len(widths) == 1:
        lock = (widths[0], None) if part == "weight" else (None, widths[0])
        return Rule(pattern, lock=lock)
    return Rule(pattern, widths) if part == "weight" else Rule(pattern, activations=widths)
