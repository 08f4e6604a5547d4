"""Any text is a configuration, a file of rules, a judge or an input, or refused in words."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcore.allocation import ModelSpec
from qcore.errors import QcoreError
from qcore.formats.config import parse_bits
from qcore.formats.imports import read_allocations
from qcore.inputs import parse_input
from qcore.intact import intact
from qcore.judges import parse_judge, read_judge
from qcore.models.cards import Card, read_spec
from qcore.models.catalog import bundled_spec
from qcore.models.sound import parse_sound
from qcore.rules.file import parse_rules
from qcore.run_spec import RunSpec
from tests.pages import sample
from tests.variants import examples

MODEL: ModelSpec = bundled_spec("resnet8")
WHOLE = sample.config_of(sample.point(sample.uniform(4), 800, tested=True))
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.sampled_from([10**400, -(10**400), 2**63, 1e308]),
    st.floats(), st.text(max_size=6), st.lists(st.integers(), max_size=2), st.just({}),
)  # fmt: skip
JSON = st.recursive(
    ODD, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)  # fmt: skip


def told(read, *given):
    """A refusal is words of bounded length; all else is read."""
    said = ""
    try:
        read(*given)
    except QcoreError as error:
        said = str(error)
    assert len(said) < 5_000


def places(value, path=()):
    """Where something lies in a document."""
    yield path
    if not isinstance(value, dict | list):
        return
    for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
        yield from places(entry, (*path, key))


def with_odd(document, path, odd):
    if not path:
        return odd
    copy = dict(document) if isinstance(document, dict) else list(document)
    copy[path[0]] = with_odd(copy[path[0]], path[1:], odd)
    return copy


PLACES = [path for path in places(json.loads(WHOLE)) if len(path) < 5]


@settings(max_examples=examples(200))
@given(path=st.sampled_from(PLACES), odd=ODD)
def test_a_file_with_one_odd_value(path, odd):
    text = json.dumps(with_odd(json.loads(WHOLE), path, odd))
    told(parse_bits, text)
    told(read_allocations, text.encode(), MODEL)


@settings(max_examples=examples(100))
@given(text=st.text(max_size=80) | JSON.map(json.dumps) | JSON.map(repr))
def test_any_text_at_every_entrance(text):
    for read in (parse_bits, parse_rules, parse_judge, parse_input, parse_sound):
        told(read, text)
    told(read_allocations, text.encode("utf-8", "replace"), MODEL)


@pytest.mark.parametrize(
    "text",
    [
        "x = {[]: 1}", "x = {{}}", "x = {{}: {}}", "x = " + "9" * 5_000, "x = 10**400", "\ud800",
        '{"bits": ' + "9" * 5_000 + "}", "\0", "? []\n: 1", "{1: 2, [3]: 4}", "&a [*a]", "[1e999]",
        "!!python/object/apply:os.system ['true']",
    ],
    ids=lambda text: repr(text[:20]),
)  # fmt: skip
def test_odd_texts(text):
    told(parse_bits, text)
    told(parse_rules, text)
    told(read_allocations, text.encode("utf-8", "surrogatepass"), MODEL)


@settings(max_examples=examples(100))
@given(document=JSON)
def test_any_json_as_something_stored(document):
    def read():
        with intact("It"):
            RunSpec.from_json(document)

    told(read)
    for reader in (read_judge, Card.from_json):
        with_dict = document if isinstance(document, dict) else {"name": document}
        told(reader, with_dict)

    def layers():
        with intact("It"):
            read_spec(document)

    told(layers)
