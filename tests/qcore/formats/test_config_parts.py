"""Any configuration survives its file; odd parts are refused and never crash the reader."""

import contextlib
import copy
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from qcore.allocation import BitAllocation, LayerBits
from qcore.errors import InvalidConfig
from qcore.formats.config import BitConfig, dump_bits, parse_bits, write_bits
from qcore.formats.exports import EXPORTS, write
from qcore.problem import Scores
from tests.strategies import configs, model, state_of
from tests.variants import examples

CONFIG = BitConfig(
    model=model(),
    allocation=BitAllocation({"conv": LayerBits(3, 8), "fc": LayerBits(8, 32)}),
    state={"conv": state_of(np.random.default_rng(0), 4, LayerBits(3, 8))},
    norms={"conv": "bn"},
    search=Scores(100, 0.01, 0.99, 0.9, 0.3),
)
DOCUMENT = json.loads(dump_bits(CONFIG))
REMOVE = object()


@settings(deadline=None)
@given(config=configs())
def test_a_configuration_survives_its_file(config):
    found = parse_bits(dump_bits(config))
    assert replace(found, state={}) == replace(config, state={})
    assert list(found.state) == list(config.state)
    for layer, arrays in config.state.items():
        assert list(found.state[layer]) == list(arrays)
        for name, array in arrays.items():
            assert found.state[layer][name].dtype == np.float32
            assert np.array_equal(found.state[layer][name], array)


@settings(deadline=None)
@given(config=configs())
def test_every_export_renders_any_configuration(config):
    for export in EXPORTS.values():
        if not export.needs_model and export.carries(config) is None:
            assert write(export, config)
    assert parse_bits(write(EXPORTS["json"], config).decode()).allocation == config.allocation


def changed(*path, to):
    document = copy.deepcopy(DOCUMENT)
    place = document
    for key in path[:-1]:
        place = place[key]
    if to is REMOVE:
        del place[path[-1]]
    else:
        place[path[-1]] = to
    return json.dumps(document)


@pytest.mark.parametrize(("text", "words"), [
    (changed("format", to="bitdial"), "format"),
    (changed("version", to=True), "whole number"),
    (changed("model", to=REMOVE), "missing parts.*model"),
    (changed("model", "layers", to=[]), "must have layers"),
    (changed("model", "layers", to=3), "missing or odd"),
    (changed("model", "layers", 0, "weights", to="72"), "weights of layer 'conv'.*'72'"),
    (changed("model", "layers", 0, "macs", to=-1), "macs of layer 'conv'.*-1"),
    (changed("model", "layers", 0, "channels", to=4.0), "channels of layer 'conv'"),
    (changed("model", "layers", 0, "surprise", to=1), "surprise"),
    (changed("model", "layers", 0, "kind", to=None), "must be text"),
    (changed("model", "layers", 1, "name", to="conv"), "a name of its own"),
    (changed("model", "name", to=7), "must be text; got 7"),
    (changed("model", "left_in_float", to={"w": "7"}), "left_in_float of w"),
    (changed("model", "input_shape", to="28"), "input_shape"),
    (changed("model", "classes", to=None), "classes"),
    (changed("bits", "conv", to=[True, 8]), "True"),
    (changed("bits", "conv", to=[3.5, 8]), "3.5"),
    (changed("bits", to=[]), '"bits" must be an object'),
    (changed("costs", "bit_ops", to=3), "bit_ops is None"),
    (changed("scores", "search", "accuracy", to=1.5), "accuracy.*from 0 to 1"),
    (changed("scores", "search", "kl", to="low"), "kl.*'low'"),
    (changed("scores", "search", "kl", to=REMOVE), "kl"),
    (changed("scores", "search", "extra", to=1), "extra"),
    (changed("scores", "search", "n", to=10.5), "whole number"),
    (changed("scores", "search", to=[1]), "scores \"search\""),
    (changed("norms", "conv", to=3), "norms"),
    (changed("norms", "head", to="bn"), "'head'"),
    (changed("state", "conv", to=[1]), "not named arrays"),
    (changed("state", "conv", "secret", to={}), "unknown; known: weight_step"),
    (changed("state", "conv", "bias", to="AAAA"), "cannot be read"),
    (changed("state", "conv", "bias", "float32", to="AAAA!"), "cannot be read"),
    (changed("state", "conv", "bias", "float32", to="AAAAAA=="), "must have 4 numbers; it has 1"),
    (changed("state", "conv", "bias", "shape", to=[10**12]), "must have 4 numbers"),
    (changed("state", "conv", "bias", "shape", to=[2, 2]), "must have 4 numbers"),
    (changed("state", "conv", "activation_grid", to={"shape": [1], "float32": "AAAAAA=="}),
     "must have 4 numbers"),
])  # fmt: skip
def test_odd_parts_are_refused_with_the_reason(text, words):
    with pytest.raises(InvalidConfig, match=words):
        parse_bits(text)


def paths_of(value, path=()):
    yield path
    if isinstance(value, (dict, list)):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from paths_of(inner, (*path, key))


JSON = (
    st.none()
    | st.booleans()
    | st.integers(-2, 40)
    | st.floats(allow_nan=False)
    | st.text(max_size=3)
)
JSON = JSON | st.lists(JSON, max_size=3) | st.dictionaries(st.text(max_size=3), JSON, max_size=2)


@settings(max_examples=examples(400), deadline=None)
@given(path=st.sampled_from([p for p in paths_of(DOCUMENT) if p]), to=JSON | st.just(REMOVE))
@example(path=("model", "layers", 0, "groups"), to=0)
@example(path=("model", "layers", 0, "groups"), to=40)
@example(path=("model", "layers", 0, "in_channels"), to=0)
def test_a_file_with_one_odd_value_is_read_or_refused_and_never_crashes(path, to):
    with contextlib.suppress(InvalidConfig):
        config = parse_bits(changed(*path, to=to))
        assert parse_bits(dump_bits(config)).allocation == config.allocation


@pytest.mark.parametrize("config", [
    replace(CONFIG, search=Scores(10, math.nan, 0.5)),
    replace(CONFIG, state={"conv": {"bias": np.array([1, 2, 3, math.inf], np.float32)}}),
    replace(CONFIG, provenance={"when": object()}),
])  # fmt: skip
def test_what_could_not_be_read_back_is_not_written(config, tmp_path):
    with pytest.raises(InvalidConfig):
        write_bits(config, tmp_path / "x.json")
    assert list(tmp_path.iterdir()) == []


def test_writing_replaces_a_file_and_leaves_nothing_beside_it(tmp_path):
    place = tmp_path / "x.json"
    place.write_text("old")
    write_bits(CONFIG, place)
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
    assert parse_bits(place.read_text()).allocation == CONFIG.allocation


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    place = tmp_path / "x.json"
    place.mkdir()
    with pytest.raises(InvalidConfig, match="Cannot write"):
        write_bits(CONFIG, place)
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
