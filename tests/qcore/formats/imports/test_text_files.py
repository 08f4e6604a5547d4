"""Lists of bits in log lines, as NumPy prints them, in YAML, as floats, and our own YAML file."""

import json
import random

import pytest

from qcore.allocation import BFLOAT16, FLOAT16, FLOAT_BITS, LayerBits
from qcore.errors import InvalidConfig
from qcore.formats.exports import EXPORTS, write
from qcore.formats.imports import read_allocations
from tests import configs

MODEL = configs.RESNET8
PAIRS = [[8, -1], [6, 5], [5, 6], [4, 4], [6, 6], [7, 4], [5, 5], [4, 6], [3, 5], [8, 8]]
FLOATS = [[float(width) for width in pair] for pair in PAIRS]
WIDTHS = [weight for weight, _ in PAIRS]
SPACED = "[" + "\n ".join(f"[{a: d}. {b: d}.]" for a, b in PAIRS) + "]"
AS_NUMPY = f"[{', '.join(f'[np.int64({a}), np.float64({b}.0)]' for a, b in PAIRS)}]"


@pytest.mark.parametrize(
    "text",
    [
        f"==> reward 0.1 strategy: {PAIRS}",
        f"New best policy: {PAIRS}, reward: 0.123, acc: 71.230, cost_ratio: 0.600",
        f"\x1b[92m New best policy: {PAIRS}, reward: 0.1\x1b[00m\n",
        f"[2021-03-04 12:00:00] (epoch 3/90) INFO best {PAIRS} [=====>   ] 53%",
        f"Namespace(arch='r8')\nfinal {tuple(map(tuple, PAIRS))} done: yes",
        f"strategy {FLOATS} in 3.2 s, because: it fits",
        f"strategy:\n{SPACED}\nreward: [0.1 0.2]; done",
        f"array({SPACED}) is it: yes",
        f"policy = {AS_NUMPY}",
        f"policy is {AS_NUMPY} now: yes",
        f'{{"reward": 0.1, "ok": true}}\n{{"reward": 0.2, "strategy": {PAIRS}, "ok": null}}\n',
        f"strategy: {PAIRS}",
        "strategy:\n" + "".join(f"  - [{a}, {b}]\n" for a, b in PAIRS),
        "best:\n  strategy:\n" + "".join(f"    - - {a}\n      - {b}\n" for a, b in PAIRS),
        f"strategy = {FLOATS}",
        f"{FLOATS}",
        f"({tuple(map(tuple, PAIRS))})",
        f'{{"best": {{"strategy": {PAIRS}}}}}',
    ],
)
def test_a_list_of_pairs_is_found_in_any_text(text):
    (bits,) = read_allocations(text.encode(), MODEL).choices.values()
    assert [[bits[n].weight, bits[n].activation] for n in MODEL.names] == [
        [32 if width == -1 else width for width in pair] for pair in PAIRS
    ]


@pytest.mark.parametrize("text", [f"{tuple(WIDTHS)}", f"w = {tuple(WIDTHS)}", f"w: {WIDTHS}\nn: 3"])
def test_single_numbers_are_weight_bits(text):
    (bits,) = read_allocations(text.encode(), MODEL).choices.values()
    assert [bits[name] for name in MODEL.names] == [LayerBits(w, 32) for w in WIDTHS]


def test_a_notebook_is_read_by_its_program():
    sources = ["%matplotlib inline\n", "!pip install x\n", f"strategy = {PAIRS}\n", "plot([1, 2])"]
    cells = [
        {"cell_type": "markdown", "source": ["# [1]"]},
        {"cell_type": "code", "source": sources},
    ]
    text = json.dumps({"cells": cells, "nbformat": 4, "metadata": {}})
    assert list(read_allocations(text.encode(), MODEL).choices) == ["strategy"]


def test_every_list_of_a_log_is_offered_by_its_line():
    text = f"start\nbest: {PAIRS}, 0.1\nbest: {PAIRS[::-1]}, 0.2, of [1, 2]"
    found = read_allocations(text.encode(), MODEL)
    assert list(found.choices) == ["line 2", "line 3"]
    assert found.choices["line 3"]["conv1"] == LayerBits(8, 8)


@pytest.mark.parametrize("width", [8.5, 0.0, 19.0, float("nan"), float("inf"), -1.5, True])
def test_widths_that_are_not_whole_name_the_layer(width):
    text = f"strategy = {[*WIDTHS[:-1], width]}".replace("nan", "1e999 - 1e999")
    with pytest.raises(InvalidConfig, match=r"fc has weight bits|not one of|without running"):
        read_allocations(text.replace("inf", "1e999").encode(), MODEL)


def test_a_list_beside_it_that_holds_no_bits_does_no_harm():
    text = f"milestones = {list(range(30, 40))}\nstrategy = {WIDTHS}"
    assert list(read_allocations(text.encode(), MODEL).choices) == ["strategy"]


@pytest.mark.parametrize("cut", [0.3, 0.5, 0.7, 0.99])
def test_a_log_that_ends_inside_a_list_is_refused(cut):
    text = f"best policy: {PAIRS}"
    with pytest.raises(InvalidConfig, match=r"cut short|not one of|entries"):
        read_allocations(text[: int(14 + cut * (len(text) - 14))].encode(), MODEL)


@pytest.mark.parametrize("seed", range(3))
def test_our_own_yaml_is_read_whole(seed):
    bits = configs.allocation(MODEL, range(1, 9), (1, 2, 4, 8, 32), seed=seed)
    found = read_allocations(write(EXPORTS["yaml"], configs.config(bits=bits)), MODEL)
    assert found.format == "json"
    assert found.choices == {"": bits}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- " * 5000 + "4", "deeply"),
        ("a: " + "[" * 500 + "]" * 500, "deeply"),
        ("a: &a [1, 1]\n" + "".join(
            f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
            for old, new in zip("abcdefghi", "bcdefghij", strict=True)
        ), "aliases counted"),
        ("a: !!python/object/apply:os.system ['true']\nb: 3", "neither JSON|not one of"),
        ("a: &a [*a, 4]", "aliases counted|neither JSON|not one of"),
    ],
)  # fmt: skip
def test_hostile_yaml_is_refused(text, said):
    with pytest.raises(InvalidConfig, match=said):
        read_allocations(text.encode(), MODEL)


def test_text_of_any_kind_is_read_or_refused_in_words():
    rng = random.Random(0)
    pieces = [*"[]{}():,=8a'\"\n #*$\\", "-1", "if a:", "for x in y:", "&a", "def f(", "[8] * 10"]
    for _ in range(3000):
        text = "".join(rng.choice(pieces) for _ in range(rng.randrange(1, 30)))
        assert outcome(text.encode())


def outcome(data):
    """What a file is read as, or the words it is refused with."""
    try:
        return str(read_allocations(data, MODEL).choices)
    except InvalidConfig as error:
        return str(error)


@pytest.mark.parametrize(
    ("written", "width"),
    [
        ("fp16", FLOAT16),
        ("bf16", BFLOAT16),
        ("half", FLOAT16),
        ("int16", 16),
        ("a16", 16),
        (12, 12),
    ],
)
def test_sixteen_bits_of_other_tools_are_read_as_they_write_them(written, width):
    text = f"WEIGHT_BITS = {dict.fromkeys(MODEL.names, 4) | {'fc': written}!r}"
    (bits,) = read_allocations(text.encode(), MODEL).choices.values()
    assert bits["fc"].weight == width
    assert bits["conv1"].weight == 4


@pytest.mark.parametrize(("form", "width"), [((5, 10), FLOAT16), ((8, 7), BFLOAT16)])
def test_modelopts_floats_of_sixteen_bits_are_known_by_exponent_and_mantissa(form, width):
    entries = {"*weight_quantizer": {"num_bits": form}, "*input_quantizer": {"enable": False}}
    text = f"CFG = {{'quant_cfg': {entries}, 'algorithm': 'max'}}"
    (bits,) = read_allocations(text.encode(), MODEL).choices.values()
    assert {pair.weight for pair in bits.values()} == {width}
    assert {pair.activation for pair in bits.values()} == {FLOAT_BITS}
