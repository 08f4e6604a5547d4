"""Hugging Face networks on texts go the whole way: searched, applied, built anew elsewhere."""

import pickle

import pytest
import torch

from qcore.add_network import add_network
from qcore.allocation import BitAllocation
from qcore.formats.apply import apply_bits
from qcore.formats.config import dump_bits, parse_bits
from qcore.models.new_network import NewNetwork
from qcore.models.zoo import load_model
from qcore.prepare import prepare
from qcore.run_spec import RunSpec
from qcore.scoring.verification import measure
from qcore.trees import call
from tests.hugging_folders import saved, tokenizer
from tests.qcore.data.test_texts import sentences, write_lines
from tests.variants import some


@pytest.fixture
def texts(request, monkeypatch, tmp_path):
    """Add a small network; gives the name of sixty short texts for it."""
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path / "data"))
    folder = tmp_path / "folder"
    saved(request.param, folder)
    tokenizer(folder / "tokenizer.json")
    add_network(NewNetwork("mine", "huggingface", weights=str(folder), length=8))
    return f"texts:{write_lines(tmp_path / 't.txt', sentences(60))}"


def of(*kinds):
    """Run a test with networks of these classes."""
    return pytest.mark.parametrize("texts", kinds, indirect=True)


@of(*some(["BertModel", "GPT2LMHeadModel", "LlamaForCausalLM"], 2))
def test_a_configuration_gives_back_what_was_measured(texts):
    spec = RunSpec(
        "mine", texts, "exact", calibration_images=20, search_images=20, weight_bits=(2, 4, 8)
    )
    prepared = prepare(spec)
    layers = prepared.model.layers
    low, high = (next(prepared.score([BitAllocation.uniform(layers, bits)])) for bits in (2, 8))
    assert 0 < high.search.kl < low.search.kl
    for kind in ("gradient", "kl"):
        assert set(prepared.problem.sensitivity(kind).weight) == set(prepared.model.names)
    point = prepared.report(low)
    causal = prepared.evaluator.judge.own_labels
    assert (point.test.accuracy is not None) == causal
    told = {"data": texts, "calibration_images": 20, "search_images": 20}
    config = parse_bits(dump_bits(prepared.config(point, told)))
    assert measure(config).kl == pytest.approx(point.test.kl, rel=1e-4)
    x = prepared.evaluator.search[0][0]
    next(prepared.score([point.allocation]))
    with torch.no_grad():
        ours, theirs = (
            next(iter(call(network, x).values()))
            for network in (prepared.evaluator.model, apply_bits(load_model("mine"), config))
        )
    assert torch.allclose(ours, theirs, atol=1e-5)


@of("BertModel")
def test_another_process_builds_the_same_network_from_what_it_is_sent(texts, monkeypatch, tmp_path):
    spec = RunSpec("mine", texts, "exact", calibration_images=20, search_images=20)
    prepared = prepare(spec)
    sent = pickle.dumps(prepared.recipe("ptq"))
    allocation = BitAllocation.uniform(prepared.model.layers, 3)
    here = next(prepared.score([allocation])).search
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path / "elsewhere"))
    there = next(pickle.loads(sent).context().score([allocation])).search
    assert there.kl == pytest.approx(here.kl, rel=1e-4)
