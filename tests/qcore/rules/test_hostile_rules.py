"""A text of rules takes no longer than its length says, whatever is in it."""

import time

import pytest

from qcore.errors import InvalidParams
from qcore.rules.file import MOST_BYTES, parse_rules

MOST = MOST_BYTES - 1
HOSTILE = {
    "brackets": "[" * MOST,
    "brackets under a name": "a: " + "[" * (MOST - 3),
    "lists in lists": "- " * (MOST // 2),
    "mappings in mappings": "{a: " * (MOST // 4),
    "keys of keys": "? " * (MOST // 2),
    "indented names": "\n".join(" " * at + "a:" for at in range(1300)),
    "many lists": "a: [" + "[]," * (MOST // 3 - 9) + "[]]",
    "directives": "%TAG ! x\n" * (MOST // 9),
    "anchors": "".join(f"- &a{at} b\n" for at in range(60_000)),
    "dates": "- 2001-01-01\n" * (MOST // 13),
    "a number of many digits": "- " + "1" * (MOST - 2),
    "aliases": "a: &a [b]\nc: [" + "*a," * 1000 + "*a]",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_would_take_long_is_refused_in_words(name):
    began = time.process_time()
    with pytest.raises(InvalidParams) as refused:
        parse_rules(HOSTILE[name])
    assert len(str(refused.value)) < 1_000
    # the worst takes a second; what grows with the square of a length took minutes
    assert time.process_time() - began < 15
