"""YAML that would take long, or much memory, is refused before values are made of it."""

import time

import pytest

from qcore.errors import InvalidConfig
from qcore.formats.imports.yaml_text import MOST_PARTS, yaml_value


@pytest.mark.parametrize(
    "text",
    ["- a\n" * MOST_PARTS, "%TAG ! x\n" * 100_000, "- " * 100_000, "{a: " * 100_000],
    ids=["many", "directives", "lists in lists", "mappings in mappings"],
)
def test_what_would_take_long_is_refused(text):
    began = time.process_time()
    with pytest.raises(InvalidConfig):
        yaml_value(text)
    assert time.process_time() - began < 15
    assert yaml_value("%YAML 1.2\n---\na: [1]\n") == {"a": [1]}
