"""Bit-packed safetensors: promised bytes, read back by the library and by the torch-only script."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qcore.costs import costs_of
from qcore.formats.config import BitConfig
from qcore.formats.exports import EXPORTS, packed, write_with_model
from qcore.formats.exports.packing import pack_codes
from qcore.formats.exports.templates import packed_reader
from tests.qcore.formats.exports.nets import CASES, odd

ROOT = Path(__file__).parents[4]


@settings(deadline=None, max_examples=40)
@given(bits=st.integers(1, 8), data=st.data())
def test_codes_come_back_from_exactly_their_bits(bits, data):
    low, high = (0, 1) if bits == 1 else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    codes = np.array(data.draw(st.lists(st.integers(low, high), max_size=40)), np.int8)
    codes = 2 * codes - 1 if bits == 1 else codes
    content = pack_codes(codes, bits)
    assert len(content) == -(-len(codes) * bits // 8)
    raw = torch.tensor(list(content), dtype=torch.uint8)
    assert packed_reader.unpack(raw, len(codes), bits).tolist() == codes.tolist()


def test_the_layout_is_lowest_bit_first():
    assert pack_codes(np.array([1, -1, 2]), 4) == bytes([0xF1, 0x02])
    assert pack_codes(np.array([1, -1, 1, 1]), 1) == bytes([0b1101])


@pytest.fixture(scope="module", params=list(CASES))
def made(request):
    case = CASES[request.param]()
    return case, write_with_model(EXPORTS["packed"], case.config, case.model, case.sample)


def test_weights_take_exactly_weight_bytes_and_the_rest_is_itemised(made):
    case, file = made
    promised = costs_of(case.config.model, case.config.allocation)["weight_bytes"]
    assert file.report["weight_bytes"] == promised
    overhead = file.report["overhead"]
    assert promised + sum(overhead.values()) == file.report["bytes"] == len(file.content)
    layers = case.config.model.layers
    assert overhead["scales"] == 4 * sum(layer.channels for layer in layers)
    assert overhead["biases"] == 4 * sum(layer.channels for layer in layers)


def test_the_reader_gives_the_measured_logits(made):
    case, file = made
    network = packed_reader.apply(case.model, packed_reader.parse(file.content))
    with torch.no_grad():
        got = network(case.sample)
    difference = (got - case.wanted).abs()
    assert float(difference.median()) < 1e-5
    assert torch.equal(got.argmax(1), case.wanted.argmax(1))
    assert file.report["argmax_agreement"] == 1


def test_the_safetensors_library_reads_the_same_tensors(made, tmp_path):
    _, file = made
    path = tmp_path / "net.safetensors"
    path.write_bytes(file.content)
    ours = packed_reader.parse(file.content)
    with safetensors.safe_open(path, "pt") as library:
        assert library.metadata() == ours.pop("__metadata__")
        assert set(library.keys()) == set(ours)
        for name, tensor in ours.items():
            assert torch.equal(library.get_tensor(name), tensor), name


def test_the_file_is_the_same_each_time_and_says_where_it_comes_from(made):
    case, file = made
    again = write_with_model(EXPORTS["packed"], case.config, case.model, case.sample)
    assert again.content == file.content
    origin = json.loads(packed_reader.parse(file.content)["__metadata__"]["provenance"])
    assert origin["bits"] == case.config.allocation.to_json()
    assert origin["origin"] == {"data": "random", "seed": 0}


def test_trained_levels_off_the_integers_are_kept_with_their_bits():
    # two bits, levels half a step off zero: the codes are -3, -1, 1, 3
    case = odd()
    state = {name: dict(arrays) for name, arrays in case.config.state.items()}
    count = next(x.weights for x in case.config.model.layers if x.name == "up")
    codes = np.random.default_rng(0).choice([-3, -1, 1, 3], count).astype(np.int16)
    state["up"]["weight_codes"] = codes
    config = BitConfig(case.config.model, case.config.allocation, state, case.config.norms)
    file = write_with_model(EXPORTS["packed"], config, case.model, case.sample)
    assert file.report["overhead"]["levels"] == 8
    assert file.report["weight_bytes"] == costs_of(config.model, config.allocation)["weight_bytes"]
    assert file.report["median_abs_diff"] < 1e-5


def test_the_script_alone_reads_a_file(tmp_path):
    case = CASES["residual"]()
    file = write_with_model(EXPORTS["packed"], case.config, case.model, case.sample)
    (tmp_path / "net.safetensors").write_bytes(file.content)
    (tmp_path / "packed_reader.py").write_bytes(packed.READER.read_bytes())
    (tmp_path / "mine.py").write_text(
        f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "from qcore.models.bundled import ResNet\ndef net(): return ResNet(1)\n"
    )
    done = subprocess.run(
        [sys.executable, "packed_reader.py", "net.safetensors", "mine:net", "--out", "q.pt"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "10 layers read" in done.stdout
    assert torch.load(tmp_path / "q.pt", weights_only=True)["conv1.weight"].unique().numel() > 1


@pytest.mark.parametrize("cut", [0, 7, 100, -1])
def test_a_file_cut_short_is_told(cut):
    case = odd()
    file = write_with_model(EXPORTS["packed"], case.config, case.model, case.sample)
    with pytest.raises(ValueError, match="cut short"):
        packed_reader.parse(file.content[:cut])


def test_the_reader_needs_only_torch():
    tree = ast.parse(packed.READER.read_text())
    names = [alias.name for x in ast.walk(tree) if isinstance(x, ast.Import) for alias in x.names]
    names += [x.module or "" for x in ast.walk(tree) if isinstance(x, ast.ImportFrom)]
    roots = {name.partition(".")[0] for name in names}
    assert roots - set(sys.stdlib_module_names) == {"torch"}
