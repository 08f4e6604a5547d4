"""Rules on a model: what each layer may have, which layers are tied, and what each rule matched.

Torch-free. Rules are taken in order, so later ones win: allowed widths replace those before, min
and max narrow what is allowed by then, a lock leaves one. Ties add up; tied layers may have what
all of them may.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from qcore.allocation import FLOAT_BITS, LayerBits, LayerSpec, in_order, width_text
from qcore.costs.budget import make_options
from qcore.errors import InvalidParams
from qcore.rules.pattern import Facts, facts_of
from qcore.rules.rule import Rule, within
from qcore.rules.ties import PARTS, WORDS, Part, Tie, merged

Widths = tuple[int, ...]


@dataclass(frozen=True)
class Resolved:
    """What rules come to on a model.

    Attributes:
        options: Layer name to its allowed bits, fewest bits first.
        ties: Layers with one width; no tensor is in two of them.
        matches: Per rule, the names of the layers it is for.
        overruled: Per rule, those of them whose widths a later rule decides anew.
    """

    options: Mapping[str, tuple[LayerBits, ...]]
    ties: tuple[Tie, ...]
    matches: tuple[tuple[str, ...], ...]
    overruled: tuple[tuple[str, ...], ...]


def resolve(
    rules: Sequence[Rule],
    layers: Iterable[LayerSpec],
    weight_bits: Iterable[int],
    activation_bits: Iterable[int] = (FLOAT_BITS,),
    pin_first_last: int | None = None,
) -> Resolved:
    """Apply rules to the layers of a model, after the widths that hold everywhere.

    Args:
        rules: In order.
        layers: Quantizable layers in execution order.
        weight_bits: Weight widths allowed where no rule says otherwise.
        activation_bits: The same for activations; (32,) leaves them in float.
        pin_first_last: Bits of the first and last layer, before any rule, or None.

    Raises:
        InvalidParams: a rule matches nothing, ties nothing, or leaves a layer without a width; or
            rules contradict each other in a tie. The message names rule and layer.
        InvalidBits: a width there is not.
    """
    layers = tuple(layers)
    start = make_options(layers, weight_bits, activation_bits, pin_first_last)
    allowed = {
        layer.name: {
            part: in_order(getattr(bits, part) for bits in start[layer.name]) for part in PARTS
        }
        for layer in layers
    }
    facts, by_name = facts_of(layers), {layer.name: layer for layer in layers}
    matches = [_matches(number, rule, facts) for number, rule in enumerate(rules, start=1)]
    decided: dict[tuple[str, Part], list[int]] = {}
    for number, (rule, found) in enumerate(zip(rules, matches, strict=True)):
        for name in found:
            for part in PARTS:
                if part == "activation" and by_name[name].looks_up:
                    continue
                before = allowed[name][part]
                after = _after(number + 1, rule, name, part, before)
                if after is not None:
                    allowed[name][part] = after
                    replaces = _replaces(rule, part)
                    decided.setdefault((name, part), []).append(number if replaces else -1)
    ties = _ties(rules, matches, facts, by_name)
    _agree(ties, allowed)
    options = {
        name: tuple(LayerBits(w, a) for w in parts["weight"] for a in parts["activation"])
        for name, parts in allowed.items()
    }
    return Resolved(
        options,
        ties,
        tuple(tuple(found) for found in matches),
        tuple(_overruled(number, found, decided) for number, found in enumerate(matches)),
    )


def _matches(number: int, rule: Rule, facts: Sequence[Facts]) -> dict[str, tuple[str, ...]]:
    pattern = rule.pattern
    found = {one.name: texts for one in facts if (texts := pattern.match(one)) is not None}
    if not found:
        kinds = ", ".join(dict.fromkeys(one.kind for one in facts))
        names = ", ".join(one.name for one in facts[:4])
        raise InvalidParams(
            f"Rule {number} ({rule.layers}) matches no layer. There are {len(facts)} layers, such "
            f"as {names}; their kinds are {kinds}, their stages 1 to "
            f"{max((one.stage for one in facts), default=1)}."
        )
    return found


def _replaces(rule: Rule, part: Part) -> bool:
    place = PARTS.index(part)
    given = (rule.weights, rule.activations)[place]
    return bool(given) or rule.lock[place] is not None


def _after(number: int, rule: Rule, name: str, part: Part, before: Widths) -> Widths | None:
    """Widths after a rule; None where it says nothing of this part."""
    place = PARTS.index(part)
    given, lock = (rule.weights, rule.activations)[place], rule.lock[place]
    least, most = rule.least[place], rule.most[place]
    if lock is not None:
        # a lock written for the whole layer leaves inputs alone that are not quantized
        floats = part == "activation" and before == (FLOAT_BITS,) and rule.lock[0] == lock
        return None if floats and not rule.activations else (lock,)
    if not given and least is None and most is None:
        return None
    left = tuple(bits for bits in given or before if within(bits, least, most))
    if not left:
        raise InvalidParams(
            f"Rule {number} ({rule.layers}) leaves layer {name!r} no bits for its {WORDS[part]}: "
            f"of {', '.join(map(width_text, before))} none is {_bounds(least, most)}. "
            f"Give the allowed {WORDS[part]} in the rule too."
        )
    return left


def _bounds(least: int | None, most: int | None) -> str:
    words = [f"at least {width_text(least)}"] if least is not None else []
    words += [f"at most {width_text(most)}"] if most is not None else []
    return " and ".join(words)


def _overruled(
    number: int, found: Iterable[str], decided: Mapping[tuple[str, Part], Sequence[int]]
) -> tuple[str, ...]:
    """Layers where this rule set a width that a later rule sets anew."""
    return tuple(
        name
        for name in found
        if any(
            number in decided.get((name, part), ()) and max(decided[name, part]) > number
            for part in PARTS
        )
    )


def _ties(
    rules: Sequence[Rule],
    matches: Sequence[Mapping[str, tuple[str, ...]]],
    facts: Sequence[Facts],
    layers: Mapping[str, LayerSpec],
) -> tuple[Tie, ...]:
    found: list[Tie] = []
    for number, (rule, names) in enumerate(zip(rules, matches, strict=True), start=1):
        if not rule.tie:
            continue
        before = len(found)
        for part in PARTS:
            if rule.tie not in ("both", WORDS[part]):
                continue
            groups: dict[tuple[str, ...], list[str]] = {}
            for name, texts in names.items():
                # ids that are looked up are no activation
                if part == "weight" or not layers[name].looks_up:
                    groups.setdefault(texts, []).append(name)
            if all(len(group) == 1 for group in groups.values()):
                groups = {(): [name for group in groups.values() for name in group]}
            found += [Tie(part, tuple(group)) for group in groups.values() if len(group) > 1]
        if len(found) == before:
            raise InvalidParams(
                f"Rule {number} ({rule.layers}) ties nothing: it takes two layers with "
                f"{WORDS[PARTS[rule.tie == 'activations']]}, and it matches {', '.join(names)}."
            )
    return merged(found, [one.name for one in facts])


def _agree(ties: Iterable[Tie], allowed: Mapping[str, dict[Part, Widths]]) -> None:
    """Leave tied layers what all of them may have."""
    for tie in ties:
        shared = set.intersection(*(set(allowed[name][tie.part]) for name in tie.layers))
        if not shared:
            listed = "; ".join(
                f"{name} may have {', '.join(map(width_text, allowed[name][tie.part]))}"
                for name in tie.layers
            )
            raise InvalidParams(
                f"The rules contradict each other: the {WORDS[tie.part]} of {len(tie.layers)} "
                f"layers are tied, but no width is allowed for all of them: {listed}."
            )
        for name in tie.layers:
            allowed[name][tie.part] = in_order(shared)
