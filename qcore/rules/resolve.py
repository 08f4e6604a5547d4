"""Rules on a model: what each layer may have, which layers are tied, and what each rule matched.

Torch-free. Rules are taken in order, so later ones win: allowed widths and pairs replace those
before, min and max narrow what is allowed by then, a lock leaves one. Weights and activations are
free of each other until a rule pairs them; of widths that a later rule gives one of them, those
that the pairs have keep their partners, and others may go with any. Ties add up; tied layers may
have what all of them may.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from qcore.allocation import FLOAT_BITS, LayerBits, LayerSpec, in_order, width_text
from qcore.costs.budget import make_options
from qcore.errors import InvalidParams
from qcore.rules.pattern import Facts, facts_of
from qcore.rules.rule import Rule, pairs_text, within
from qcore.rules.ties import PARTS, WORDS, Part, Tie, merged

Widths = tuple[int, ...]
Options = tuple[LayerBits, ...]


@dataclass(frozen=True)
class Resolved:
    """What rules come to on a model.

    Attributes:
        options: Layer name to its allowed bits, fewest bits first.
        ties: Layers with one width; no tensor is in two of them.
        matches: Per rule, the names of the layers it is for.
        overruled: Per rule, those of them whose widths a later rule decides anew.
    """

    options: Mapping[str, Options]
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
    allowed = {layer.name: start[layer.name] for layer in layers}
    facts, by_name = facts_of(layers), {layer.name: layer for layer in layers}
    matches = [_matches(number, rule, facts) for number, rule in enumerate(rules, start=1)]
    decided: dict[tuple[str, Part], list[int]] = {}
    for number, (rule, found) in enumerate(zip(rules, matches, strict=True)):
        for name in found:
            parts = PARTS[:1] if by_name[name].looks_up else PARTS
            if rule.pairs:
                allowed[name] = _paired(number + 1, rule, name, parts)
                for part in parts:
                    decided.setdefault((name, part), []).append(number)
                continue
            for part in parts:
                after = _after(number + 1, rule, name, part, allowed[name])
                if after is not None:
                    allowed[name] = after
                    replaces = _replaces(rule, part)
                    decided.setdefault((name, part), []).append(number if replaces else -1)
    ties = _ties(rules, matches, facts, by_name)
    _agree(ties, allowed)
    if any(rule.pairs for rule in rules) and not _keeps(ties, allowed):
        tied = dict.fromkeys(name for tie in ties for name in tie.layers)
        listed = "; ".join(f"{name} {pairs_text(allowed[name])}" for name in tied)
        raise InvalidParams(
            f"The rules contradict each other: {len(tied)} layers are tied, but no choice of what "
            f"each may have keeps all ties at once: {listed}."
        )
    return Resolved(
        allowed,
        ties,
        tuple(tuple(found) for found in matches),
        tuple(_overruled(number, found, decided) for number, found in enumerate(matches)),
    )


def paired(options: Sequence[LayerBits]) -> bool:
    """Whether a layer's weights and activations go together in pairs, not each with any."""
    count = len({bits.weight for bits in options}) * len({bits.activation for bits in options})
    return len(set(options)) < count


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


def _paired(number: int, rule: Rule, name: str, parts: Sequence[Part]) -> Options:
    """The pairs of a rule; of a layer that looks ids up only their weights count."""
    found = (bits if len(parts) > 1 else LayerBits(bits.weight) for bits in rule.pairs)
    left = tuple(sorted({bits for bits in found if rule.bounded(bits)}))
    if not left:
        raise InvalidParams(
            f"Rule {number} ({rule.layers}) leaves layer {name!r} no bits: of its pairs, "
            f"{pairs_text(rule.pairs)}, none is within min and max."
        )
    return left


def _replaced(before: Options, part: Part, widths: Widths) -> Options:
    """Options with these widths of a part; those that there were keep their partners."""
    place = PARTS.index(part)
    known = {getattr(bits, part) for bits in before}
    partners = {getattr(bits, PARTS[1 - place]) for bits in before}
    found = {bits for bits in before if getattr(bits, part) in widths}
    for width in set(widths) - known:
        found |= {
            LayerBits(*((width, other) if place == 0 else (other, width))) for other in partners
        }
    return tuple(sorted(found))


def _after(number: int, rule: Rule, name: str, part: Part, before: Options) -> Options | None:
    """Options after a rule; None where it says nothing of this part."""
    place = PARTS.index(part)
    given, lock = (rule.weights, rule.activations)[place], rule.lock[place]
    least, most = rule.least[place], rule.most[place]
    if lock is not None:
        # a lock written for the whole layer leaves inputs alone that are not quantized
        had = {getattr(bits, part) for bits in before}
        floats = part == "activation" and had == {FLOAT_BITS} and rule.lock[0] == lock
        return None if floats and not rule.activations else _replaced(before, part, (lock,))
    if not given and least is None and most is None:
        return None
    found = _replaced(before, part, given) if given else before
    left = tuple(bits for bits in found if within(getattr(bits, part), least, most))
    if not left:
        listed = in_order(getattr(bits, part) for bits in before)
        raise InvalidParams(
            f"Rule {number} ({rule.layers}) leaves layer {name!r} no bits for its {WORDS[part]}: "
            f"of {', '.join(map(width_text, listed))} none is {_bounds(least, most)}. "
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


def _agree(ties: Sequence[Tie], allowed: dict[str, Options]) -> None:
    """Leave tied layers what all of them may have."""
    sizes: list[int] = []
    # what one tie takes from a layer, its pairs may take from another
    while sizes != (sizes := [len(row) for row in allowed.values()]):
        for tie in ties:
            _share(tie, allowed)


def _share(tie: Tie, allowed: dict[str, Options]) -> None:
    widths = {name: {getattr(bits, tie.part) for bits in allowed[name]} for name in tie.layers}
    shared = set.intersection(*widths.values())
    if not shared:
        listed = "; ".join(
            f"{name} may have {', '.join(map(width_text, in_order(mine)))}"
            for name, mine in widths.items()
        )
        raise InvalidParams(
            f"The rules contradict each other: the {WORDS[tie.part]} of {len(tie.layers)} "
            f"layers are tied, but no width is allowed for all of them: {listed}."
        )
    for name in tie.layers:
        allowed[name] = tuple(b for b in allowed[name] if getattr(b, tie.part) in shared)


def _keeps(ties: Sequence[Tie], allowed: Mapping[str, Options]) -> bool:
    """Whether some choice of options keeps all ties; each width may be shared, and yet none may."""
    for tie in ties:
        widths = {getattr(bits, tie.part) for bits in allowed[tie.layers[0]]}
        if len(widths) > 1:
            return any(
                _keeps(ties, left) for width in widths if (left := _at(tie, width, ties, allowed))
            )
    return True


def _at(
    tie: Tie, width: int, ties: Sequence[Tie], allowed: Mapping[str, Options]
) -> dict[str, Options] | None:
    """What is left with a tie at one of its widths; None where that is nothing for some layer."""
    left = dict(allowed)
    for name in tie.layers:
        left[name] = tuple(bits for bits in left[name] if getattr(bits, tie.part) == width)
    try:
        _agree(ties, left)
    except InvalidParams:
        return None
    return left
