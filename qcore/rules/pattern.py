r"""Which layers a rule is for: globs on names, kinds, roles and stages. Torch-free.

    layer1.*                     names, `*` any text, `?` one character, `[0-9]` one of some
    *.{q,k,v}_proj               one of several texts
    kind:conv2d, role:first      what `LayerSpec.kind` says; one of ROLES
    stage:2                      from 1, a new one wherever the resolution falls
    kind:conv* & !role:first     all of several; `!` takes a condition the other way round
    conv1, fc                    any of several
    odd\*name                    a backslash takes the next character as it is

`*`, `?` and `[...]` also say which layers a tie keeps apart: those whose matched text differs, so
that "*.{q,k,v}_proj" ties within each block. Where it differs for all of them, all are tied. `**`
is any text that keeps nothing apart.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from qcore.allocation import LayerSpec
from qcore.costs.budget import ends_of
from qcore.errors import InvalidParams

ROLES = ("first", "last", "depthwise", "embedding", "head")
"""What `role:` may name: the ends that published tables fix, depthwise convolutions, embeddings,
and the layers that no other layer reads."""

FIELDS = ("kind", "role", "stage")


@dataclass(frozen=True)
class Facts:
    """What patterns ask of a layer.

    Attributes:
        name: Its name.
        kind: Its kind.
        roles: Those of ROLES that it has.
        stage: From 1, one more wherever the number of output positions falls.
    """

    name: str
    kind: str
    roles: frozenset[str]
    stage: int


@dataclass(frozen=True)
class Term:
    """One condition.

    Attributes:
        field: "name", or one of FIELDS.
        glob: What is asked for.
        inverted: Whether it must not be so.
    """

    field: str
    glob: str
    inverted: bool

    def match(self, facts: Facts) -> tuple[str, ...] | None:
        """The texts behind wildcards where a layer is meant, else None."""
        if self.field == "role":
            texts: Sequence[str] = sorted(facts.roles)
        else:
            texts = [str(getattr(facts, self.field))]
        expression = _expression(self.glob)
        found = next((m for text in texts if (m := expression.fullmatch(text))), None)
        if self.inverted:
            return () if found is None else None
        if found is None:
            return None
        # kinds, roles and stages only choose; names tell ties apart
        return tuple(found.groups()) if self.field == "name" else ()


@dataclass(frozen=True)
class Pattern:
    """Alternatives, each of conditions that must all hold."""

    alternatives: tuple[tuple[Term, ...], ...]

    def match(self, facts: Facts) -> tuple[str, ...] | None:
        """The texts behind the wildcards of the first alternative that holds, else None."""
        for terms in self.alternatives:
            found = [term.match(facts) for term in terms]
            if all(one is not None for one in found):
                return tuple(text for one in found for text in one or ())
        return None


def parse_pattern(text: str) -> Pattern:
    """Read a pattern.

    Raises:
        InvalidParams: it is empty, a brace is left open, or a word before a colon is not one of
            FIELDS, or a role is unknown; says what can be written.
    """
    alternatives = []
    for part in _split(text, ","):
        terms = tuple(_term(one.strip(), text) for one in _split(part, "&"))
        alternatives.append(terms)
    return Pattern(tuple(alternatives))


def _split(text: str, at: str) -> list[str]:
    """Split at a character outside of braces."""
    parts, depth = [""], 0
    for char in _characters(text):
        depth += (char == "{") - (char == "}")
        if depth not in (0, 1):
            break
        if char == at and not depth:
            parts.append("")
        else:
            parts[-1] += char
    if depth:
        raise InvalidParams(
            f"The pattern {text!r} has a brace that is not closed, or one within another. Write "
            "{q,k,v} for one of several texts."
        )
    return parts


def _characters(text: str) -> Iterator[str]:
    """The characters of a pattern; one behind a backslash together with it."""
    at = 0
    while at < len(text):
        length = 2 if text[at] == "\\" and at + 1 < len(text) else 1
        yield text[at : at + length]
        at += length


def _term(written: str, whole: str) -> Term:
    inverted = written.startswith("!")
    rest = written[1:].strip() if inverted else written
    if not rest:
        raise InvalidParams(
            f"The pattern {whole!r} has an empty part. Write a layer's name, with * for any text, "
            "or kind:, role: or stage: and what it is; a comma between alternatives."
        )
    asked = re.match(r"(\w+)\s*:", rest)
    if asked is None:
        return Term("name", rest, inverted)
    field, value = asked[1].lower(), rest[asked.end() :].strip()
    if field not in FIELDS or not value:
        raise InvalidParams(
            f"The pattern {whole!r} asks for {rest!r}; what stands before a colon must be one of "
            f"{', '.join(FIELDS)}, and something must follow."
        )
    if field == "role" and not any(_expression(value).fullmatch(role) for role in ROLES):
        raise InvalidParams(f"There is no role {value!r}; a layer's roles are {', '.join(ROLES)}.")
    return Term(field, value, inverted)


def quoted(name: str) -> str:
    """A pattern that matches a layer's name, whatever characters it has."""
    return "".join(f"\\{char}" if char in "\\*?[]{},&!:" else char for char in name)


@lru_cache(maxsize=256)
def _expression(glob: str) -> re.Pattern[str]:
    made, at = "", 0
    while at < len(glob):
        char = glob[at]
        if glob.startswith("**", at):
            made, at = made + ".*?", at + 1
        elif char == "\\" and at + 1 < len(glob):
            made, at = made + re.escape(glob[at + 1]), at + 1
        elif char == "*":
            made += "(.*?)"
        elif char == "?":
            made += "(.)"
        elif char == "{":
            end = glob.index("}", at)
            texts = glob[at + 1 : end].split(",")
            made += f"(?:{'|'.join(re.escape(text.strip()) for text in texts)})"
            at = end
        elif char == "[" and (end := glob.find("]", at + 2)) > 0:
            inside = glob[at + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            inside = f"^{inside[1:]}" if inside[0] in "!^" else inside
            made += f"([{inside}])"
            at = end
        else:
            made += re.escape(char)
        at += 1
    try:
        return re.compile(made, re.DOTALL)
    except re.error as error:
        raise InvalidParams(
            f"The pattern {glob!r} has a range that cannot be read: {error}."
        ) from error


def facts_of(layers: Sequence[LayerSpec]) -> list[Facts]:
    """What patterns may ask of each layer of a model, in order."""
    ends = ends_of(layers)
    first, last = (ends[0].name, ends[-1].name) if ends else ("", "")
    found, stage, least = [], 1, 0
    for layer in layers:
        embeds = layer.kind.endswith("embedding")
        positions = 0 if embeds else layer.outputs // max(1, layer.channels)
        if positions and least and positions < least:
            stage += 1
        least = min(least, positions) if least and positions else least or positions
        roles = {
            "first": layer.name == first,
            "last": layer.name == last,
            "depthwise": layer.depthwise,
            "embedding": embeds,
            "head": not layer.consumers and not layer.looks_up,
        }
        mine = frozenset(role for role, has in roles.items() if has)
        found.append(Facts(layer.name, layer.kind, mine, stage))
    return found
