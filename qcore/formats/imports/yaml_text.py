"""Reads YAML into plain values, within limits. Torch-free."""

import re
from typing import Any

import yaml

from qcore.errors import InvalidConfig

DEEPEST = 60
"""Most lists and mappings within each other."""

MOST = 1_000_000
"""Most values of a document, those that are repeated by an alias counted each time."""

MOST_PARTS = 400_000
"""Most words, lists and mappings of a text, their beginnings and ends counted."""

MOST_DIRECTIVES = 20

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def yaml_value(text: str) -> Any:
    """The value of a YAML text; of several documents, {"document 1": value, ...}.

    Raises:
        ValueError: it is no YAML; says where.
        InvalidConfig: it is nested too deeply, or its aliases multiply it.
    """
    if len(re.findall("(?m)^%", text)) > MOST_DIRECTIVES:
        # they take the square of their number in time
        raise InvalidConfig(
            f"The file has more than {MOST_DIRECTIVES} lines that begin with %: the wrong one?"
        )
    try:
        depth = 0
        for count, event in enumerate(yaml.parse(text, Loader=_Loader)):
            if count > MOST_PARTS:
                raise InvalidConfig(
                    f"The file has more than {MOST_PARTS:,} parts; a configuration has fewer."
                )
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                raise InvalidConfig("The file is nested too deeply to be a configuration.")
        documents = list(yaml.load_all(text, Loader=_Loader))
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    for document in documents:
        _check(document)
    if len(documents) == 1:
        return documents[0]
    return {f"document {place}": value for place, value in enumerate(documents, 1)}


def _check(value: Any) -> None:
    left = MOST
    waiting = [value]
    while waiting:
        each = waiting.pop()
        left -= 1
        if left < 0:
            raise InvalidConfig(
                f"The file has more than {MOST:,} values, aliases counted each time; a "
                "configuration has fewer."
            )
        if isinstance(each, dict):
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each
