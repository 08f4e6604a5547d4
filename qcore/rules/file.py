"""Rules as a file, YAML or JSON: a list of rules, or a mapping with one as "rules". Torch-free."""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from qcore.errors import InvalidBits, InvalidParams
from qcore.intact import worded
from qcore.rules.rule import Rule

MOST_BYTES = 1_000_000
MOST_RULES = 1_000
DEEPEST = 60
"""Most lists and mappings within each other."""

MOST_PARTS = 100_000
"""Most words, lists and mappings of a text in YAML, their beginnings and ends counted."""


def parse_rules(text: str, where: str = "The rules") -> tuple[Rule, ...]:
    """Read rules from the text of a YAML or JSON file.

    Args:
        text: What the file holds.
        where: What messages call it.

    Raises:
        InvalidParams: it is neither, or a rule in it cannot be read; says which.
        InvalidBits: a width there is not.
    """
    with worded(InvalidParams, f"{where} cannot be read"):
        return read_rules(rule_entries(text, where), where)


def read_rules(document: Any, where: str = "The rules") -> tuple[Rule, ...]:
    """Read rules from plain JSON data; None and empty lists are no rules.

    Raises:
        InvalidParams: as `parse_rules`.
    """
    rules = []
    for number, entry in enumerate(_entries(document, where), start=1):
        try:
            rules.append(Rule.from_json(entry))
        except (InvalidParams, InvalidBits) as error:
            raise type(error)(f"Rule {number}: {error}") from error
    return tuple(rules)


def rule_entries(text: str, where: str = "The rules") -> tuple[Any, ...]:
    """The rules of a file's text one by one, none of them read: each may hold anything.

    Raises:
        InvalidParams: it is neither YAML nor JSON, or no list of rules.
    """
    if len(text) > MOST_BYTES:
        raise InvalidParams(f"{where} are larger than {MOST_BYTES:,} characters.")
    return _entries(_document(text, where), where)


def _entries(document: Any, where: str) -> tuple[Any, ...]:
    if isinstance(document, dict) and "rules" in document:
        document = document["rules"]
    if document is None:
        return ()
    if not isinstance(document, Sequence) or isinstance(document, str):
        raise InvalidParams(
            f'{where} must be a list of rules, each such as {{"layers": "conv1", "lock": 8}}; got '
            f"{type(document).__name__}."
        )
    if len(document) > MOST_RULES:
        raise InvalidParams(f"{where} are {len(document):,}; give at most {MOST_RULES:,}.")
    return tuple(document)


def load_rules(path: str | Path) -> tuple[Rule, ...]:
    """Read a file of rules.

    Raises:
        InvalidParams: it cannot be read, or what is in it cannot; says why.
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8-sig") as file:
            text = file.read(MOST_BYTES + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidParams(f"The rules in {path} cannot be read: {reason}.") from error
    return parse_rules(text, f"The rules in {path.name}")


def dump_rules(rules: Iterable[Rule]) -> str:
    """The text of a file of rules, JSON that is YAML too; one rule a line."""
    return dump_entries(rule.to_json() for rule in rules)


def dump_entries(entries: Iterable[Any]) -> str:
    """The same of rules that need not make sense, as `rule_entries` gives them."""
    rows = ",\n".join(
        f"  {json.dumps(entry, ensure_ascii=False, default=str)}" for entry in entries
    )
    return f'{{"rules": [\n{rows}\n]}}\n'


def _document(text: str, where: str) -> Any:
    if text.lstrip().startswith(("{", "[")):
        try:
            return json.loads(text)
        except (json.JSONDecodeError, RecursionError):
            pass  # YAML has braces too, and its reader says more exactly what is wrong
    if re.search("(?m)^%", text):
        # many of them take the square of their number in time
        raise InvalidParams(f"{where} cannot be read: a line begins with %. Remove such lines.")
    import yaml  # only where a file is read

    # in C where that was built, eight times as fast
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _check_events(yaml.parse(text, loader), where)
        return yaml.load(text, loader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        if isinstance(error, InvalidParams):
            raise
        star = re.search(r"(?m)^[^#'\"]*:\s*\*", text)
        hint = " Write patterns that begin with * in quotes." if star else ""
        reason = " ".join(str(error).split())
        raise InvalidParams(f"{where} are neither YAML nor JSON: {reason}{hint}") from error


def _check_events(events: Iterable[Any], where: str) -> None:
    """Refuse what would make more of a text than is written there, or never come to an end."""
    import yaml

    depth = 0
    for count, event in enumerate(events):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise InvalidParams(f"{where} cannot be read: they are nested too deeply.")
        if count > MOST_PARTS:
            raise InvalidParams(f"{where} have more than {MOST_PARTS:,} parts; rules have fewer.")
        if isinstance(event, yaml.AliasEvent):
            # a few of them can make a text of any size
            raise InvalidParams(
                f"{where} repeat a part by an alias (*name). Write the rule out, and patterns that "
                "begin with * in quotes."
            )
