"""Configuration files come back whole, and odd ones are refused with the reason."""

import json
from dataclasses import replace

import numpy as np
import pytest

from qcore.allocation import BitAllocation, LayerBits, LayerSpec, ModelSpec
from qcore.errors import InvalidConfig
from qcore.formats.config import (
    MAX_BYTES,
    BitConfig,
    check_fits,
    dump_bits,
    load_bits,
    parse_bits,
    write_bits,
)
from qcore.formats.exports import EXPORTS, write
from qcore.problem import Scores

CONV = LayerSpec("conv", "conv2d", 27, 3, 3, 5400, 300, 600)
FC = LayerSpec("=fc'\"\n", "linear", 30, 10, 0, 30, 3, 10)
MODEL = ModelSpec("two", "a" * 64, (CONV, FC))
CONFIG = BitConfig(
    MODEL,
    BitAllocation({"conv": LayerBits(3, 8), FC.name: LayerBits(8, 32)}),
    state={"conv": {"bias": np.array([0.1, -2.5, 3e-8], np.float32)}},
    norms={"conv": "bn"},
    search=Scores(100, 0.01, 0.99, 0.9, 0.3),
    test=Scores(200, 0.02, 0.98),
    provenance={"search": "exact", "seed": 3},
)


def edited(**changes):
    document = json.loads(dump_bits(CONFIG))
    document.update(changes)
    return json.dumps(document)


def test_a_file_comes_back_whole(tmp_path):
    write_bits(CONFIG, tmp_path / "x.bits.json")
    found = load_bits(tmp_path / "x.bits.json")
    assert np.array_equal(found.state["conv"]["bias"], CONFIG.state["conv"]["bias"])
    assert replace(found, state={}) == replace(CONFIG, state={})
    assert dump_bits(found) == dump_bits(CONFIG)


def test_parts_of_your_own_are_allowed_under_their_prefix():
    assert parse_bits(edited(x_note="mine")).allocation == CONFIG.allocation


@pytest.mark.parametrize(("text", "words"), [
    ("not json {", "not valid JSON"),
    ("[]", "not a bit configuration"),
    ('{"format": "other"}', "not a bit configuration"),
    (edited(version=2), "reads up to 1"),
    (edited(version="1"), "whole number"),
    (edited(note="mine"), "x_"),
    (edited(bits={"conv": [3, 8]}), "missing layers"),
    (edited(bits={"conv": [3, 8], FC.name: [8, 32], "more": [8, 8]}), "unexpected layers: more"),
    (edited(bits={"conv": [0, 8], FC.name: [8, 32]}), "1 to 16"),
    (edited(bits={"conv": [19, 8], FC.name: [8, 32]}), "1 to 16"),
    (edited(bits={"conv": [17, 8], FC.name: [8, 32]}), "1 to 16"),
    (edited(bits={"conv": ["3.5", 8], FC.name: [8, 32]}), "'3.5'"),
    (edited(bits={"conv": 3, FC.name: [8, 32]}), "weight bits, activation bits"),
    (edited(costs={"weight_bytes": {"value": 1, "unit": "B"}}), "edited or damaged"),
    (edited(state={"other": {}}), "unknown layers: other"),
    (edited(state={"conv": {"bias": {"shape": [2], "float32": "AAAA"}}}), "cannot be read"),
    (edited(state={"conv": {"bias": {"shape": [3], "float32": "AADAfwAAwH8AAMB/"}}}), "not finite"),
    (edited(model={}), "missing or odd"),
    (edited(scores=[]), "must be an object"),
    ("[" * 100_000, "not valid JSON"),
    ('{"format": NaN}', "not valid JSON"),
])  # fmt: skip
def test_odd_files_are_refused_with_the_reason(text, words):
    with pytest.raises(InvalidConfig, match=words):
        parse_bits(text)


def test_a_huge_file_is_refused_before_it_is_read(tmp_path):
    with (tmp_path / "x.json").open("wb") as file:
        file.truncate(50 * 2**20)
    with pytest.raises(InvalidConfig, match=r"50\.0 MiB.*at most 20 MiB"):
        load_bits(tmp_path / "x.json")
    assert MAX_BYTES == 20 * 2**20


def test_a_missing_or_binary_file_is_explained(tmp_path):
    with pytest.raises(InvalidConfig, match="Cannot read"):
        load_bits(tmp_path / "nowhere.json")
    (tmp_path / "x.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidConfig, match="not a text file"):
        load_bits(tmp_path / "x.json")


def test_a_place_that_cannot_be_written_is_explained(tmp_path):
    with pytest.raises(InvalidConfig, match="Cannot write"):
        write_bits(CONFIG, tmp_path / "nowhere" / "x.json")


def test_another_model_is_refused_by_layers_shapes_or_weights():
    check_fits(CONFIG, MODEL)
    with pytest.raises(InvalidConfig, match="missing in the model: conv"):
        check_fits(CONFIG, replace(MODEL, layers=(FC,)))
    with pytest.raises(InvalidConfig, match="conv2d of 28 in the model"):
        check_fits(CONFIG, replace(MODEL, layers=(replace(CONV, weights=28), FC)))
    other = replace(MODEL, digest="b" * 64)
    with pytest.raises(InvalidConfig, match="not those that were measured"):
        check_fits(CONFIG, other)
    check_fits(CONFIG, other, same_weights=False)


@pytest.mark.parametrize("name", ["json", "csv", "script"])
def test_every_export_carries_the_bits_of_every_layer(name):
    export = EXPORTS[name]
    text = write(export, CONFIG).decode()
    if export.name == "json":
        assert parse_bits(text).allocation == CONFIG.allocation
    elif export.name == "csv":
        import csv

        rows = list(csv.DictReader(text.splitlines(keepends=True)))
        bits = [(int(r["weight_bits"]), int(r["activation_bits"])) for r in rows]
        assert bits == [(3, 8), (8, 32)]
        assert rows[1]["layer"].startswith("'=")
        assert sum(int(r["weight_bytes"]) for r in rows) == 41
    else:
        names = {}
        code = compile(text, "apply_bits.py", "exec")
        exec(code, names)
        assert json.loads(names["CONFIG"])["bits"] == CONFIG.allocation.to_json()
    assert export.suffix.startswith(".")
    assert export.title
