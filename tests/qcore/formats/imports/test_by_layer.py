import json

import pytest

from qcore.allocation import BitAllocation, LayerBits
from qcore.errors import InvalidAllocation, InvalidConfig, QcoreError
from qcore.formats.imports.by_layer import read_bits
from tests.pages import sample

MODEL = sample.MODEL
MIXED = sample.allocations(1, seed=4, activations=(4, 8))[0]


def only(text):
    (found,) = read_bits(text.encode(), MODEL).values()
    return found


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(MIXED.to_json()),
        repr(MIXED.to_json()),
        json.dumps(dict(reversed(MIXED.to_json().items()))),
        json.dumps([list(pair) for pair in MIXED.to_json().values()]),
        f"strategy = {[list(pair) for pair in MIXED.to_json().values()]}",
        sample.config_of(sample.point(MIXED, 900)),
    ],
    ids=["json", "python", "other order", "list of pairs", "assignment", "configuration"],
)
def test_the_same_bits_are_read_from_every_spelling(text):
    assert only(text) == MIXED
    assert tuple(only(text)) == MODEL.names


def test_weight_bits_alone_leave_activations_in_float_and_minus_one_is_float():
    text = json.dumps(dict.fromkeys(MODEL.names[1:], 4) | {MODEL.names[0]: [8, -1]})
    assert only(text) == sample.uniform(4).replace(MODEL.names[0], LayerBits(8))


def test_all_layers_with_bits_out_of_range_are_named():
    bits = sample.uniform(4).to_json() | {"conv1": [19, 8], "fc": ["four", 8]}
    with pytest.raises(InvalidAllocation, match=r"conv1 \(\[19, 8\]\), fc \(\['four', 8\]\)"):
        only(json.dumps(bits))


def test_missing_and_unknown_layers_are_named():
    bits = sample.uniform(4).to_json() | {"nowhere": [4, 8]}
    del bits["fc"]
    with pytest.raises(InvalidAllocation, match=r"missing layers: fc; unexpected layers: nowhere"):
        only(json.dumps(bits))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no bits at all",
        "__import__('os').system('true')",
        "[[8, -1]]",
        "{}",
        "[" * 5000,
        "null",
        '{"conv1": {"weight": 4}}',
    ],
)
def test_what_is_no_list_of_bits_is_refused_in_words(text):
    with pytest.raises(QcoreError) as caught:
        only(text)
    assert str(caught.value).endswith(".")


def test_a_binary_file_is_refused():
    with pytest.raises(InvalidConfig):
        read_bits(b"\xff\xfe\x00\x01", MODEL)


def test_a_file_of_another_model_names_what_does_not_fit():
    other = BitAllocation({"a": LayerBits(4), "conv1": LayerBits(4)})
    with pytest.raises(QcoreError, match="a"):
        only(json.dumps(other.to_json()))
