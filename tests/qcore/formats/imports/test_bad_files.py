"""Files that are not what they should be are refused in words, and never run."""

import json
import time

import pytest

from qcore.errors import InvalidAllocation, InvalidConfig, QcoreError
from qcore.formats.config import dump_bits
from qcore.formats.exports import EXPORTS, write
from qcore.formats.imports import IMPORTS, read_allocations
from tests import configs

MODEL = configs.RESNET8


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe", "not text"),
        (b"PK\x03\x04\x00\x00", "neither JSON"),
        (b"hello world", "neither JSON"),
        (b"import os\nos.system('true')", "neither JSON"),
        (b"{", "not valid JSON"),
        (b'{"a": 1', "not valid JSON"),
        (b"[[8, -1], [4", "not valid JSON"),
        (b"{}", "not one of"),
        (b"[]", "not one of"),
        (b"null", "not one of"),
        (b"4", "not one of"),
        (b'"text"', "not one of"),
        (b"[1, 2, [3, 4]]", "not one of"),
        (b"NaN", "not one of"),
        (b"[" * 100_000, "deeply"),
        (b"(" * 5_000, "neither JSON"),
        (b"-" * 50_000 + b"1", "neither JSON"),
        (b'{"quant_cfg": 4}', "not one of"),
        (b"WEIGHT_BITS = [4]", "has 1 entries"),
        (b'{"a": [1e999, NaN]}', "The list 'a' holds inf, which is no number of bits"),
        (b"[NaN]", "The list holds nan, which is no number of bits"),
        (b"[[4, -Infinity]]", "The list holds -inf, which is no number of bits"),
    ],
)
def test_what_is_no_configuration_is_refused(content, said):
    with pytest.raises(InvalidConfig, match=said):
        read_allocations(content, MODEL)


def test_fifty_megabytes_are_refused_at_once():
    started = time.process_time()
    with pytest.raises(InvalidConfig, match=r"50\.0 MiB; a configuration is at most 20 MiB"):
        read_allocations(b" " * (50 * 2**20), MODEL)
    assert time.process_time() - started < 1


def test_no_line_of_a_file_is_run(tmp_path):
    mark = tmp_path / "ran"
    lines = [
        f"strategy = [[8, -1]] * 10 + [open({str(mark)!r}, 'w')]",
        f"__import__('pathlib').Path({str(mark)!r}).touch()",
        f"strategy = {[[4, 4]] * 10}",
    ]
    found = read_allocations("\n".join(lines).encode(), MODEL)
    assert set(found.choices) == {"strategy"}
    assert not mark.exists()


def outcome(content, name):
    """(message, None) where the file is refused, else ("", allocations)."""
    try:
        return "", list(read_allocations(content, MODEL, name).choices.values())
    except QcoreError as error:
        return str(error), None


@pytest.mark.parametrize("name", sorted(set(IMPORTS) - {"gguf"}))
def test_a_truncated_file_is_refused(name):
    bits = configs.BitAllocation.uniform(MODEL.layers, 4, 8)
    content = write(EXPORTS[name], configs.config(bits=bits)).rstrip()
    for end in (len(content) - 1, len(content) // 2, 10):
        words, choices = outcome(content[:end], name)
        # a script may have lost nothing but code that is not looked at
        assert choices == [bits] or 10 < len(words) < 1500
        assert choices is None or (name == "mct" and end > 10)


@pytest.mark.parametrize("name", ["json", "hawq", "haq", "mct", "modelopt"])
def test_a_file_for_another_model_names_what_does_not_fit(name):
    bits = configs.BitAllocation.uniform(MODEL.layers, 4, 8)
    content = write(EXPORTS[name], configs.config(bits=bits))
    other = configs.MOBILENET if name != "hawq" else configs.RESNET20
    if name == "modelopt":
        content = content.replace(b"conv1", b"other1").replace(b"conv2", b"x").replace(b"fc", b"y")
        content = content.replace(b"shortcut", b"z")
    with pytest.raises(InvalidConfig) as caught:
        read_allocations(content, other)
    words = str(caught.value)
    assert other.name in words
    assert any(layer in words for layer in (*MODEL.names, *other.names))


@pytest.mark.parametrize(
    "width", [0, 17, 18, 19, -2, 31, 4.0, "4", None, True, [4], 10**400, float("nan"), {}]
)
def test_widths_that_do_not_exist_name_the_layer(width):
    text = f"WEIGHT_BITS = {dict.fromkeys(MODEL.names, 4) | {'fc': width}!r}".replace("nan", "None")
    with pytest.raises(InvalidConfig, match=r"fc has weight bits|not one of|neither JSON"):
        read_allocations(text.encode(), MODEL)


def test_hostile_names_in_a_file_are_cut_in_its_message():
    text = f"WEIGHT_BITS = {dict.fromkeys(configs.HOSTILE_NAMES, 4)!r}"
    with pytest.raises(InvalidConfig) as caught:
        read_allocations(text.encode(), MODEL)
    assert "x" * 61 not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_asking_for_one_format_refuses_another():
    content = dump_bits(configs.config()).encode()
    with pytest.raises(InvalidConfig, match="not one of: HAQ"):
        read_allocations(content, MODEL, "haq")


def test_our_own_file_is_checked_as_strictly_as_ever():
    document = json.loads(dump_bits(configs.config()))
    document["bits"]["fc"] = [19, 32]
    with pytest.raises((InvalidConfig, InvalidAllocation), match="19"):
        read_allocations(json.dumps(document).encode(), MODEL)
    document["bits"]["fc"] = [8, 32]
    with pytest.raises(InvalidConfig, match="edited or damaged"):
        read_allocations(json.dumps(document).encode(), MODEL)
