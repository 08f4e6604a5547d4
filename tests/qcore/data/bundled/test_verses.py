"""Passages in the tokens of the bundled language model, and the network on them."""

import json
import math

import numpy as np
import pytest
import torch

from qcore.data import load_data
from qcore.data.bundled.verses import PAD, TOKENS
from qcore.errors import DataUnavailable, InvalidData, InvalidParams
from qcore.models import verses
from qcore.models.catalog import bundled_facts
from qcore.models.decoder import Decoder, DecoderSizes, llama_config
from qcore.models.zoo import load_model
from qcore.pictures.words import read_words, tokenizer_places
from qcore.trees import call
from tests.hugging_folders import library


def load(calibration=8, search=8, **more):
    return load_data(
        "verses", calibration=calibration, search=search, model="verse_decoder", **more
    )


def rows(samples):
    return {tuple(row.tolist()) for row in samples.columns["input_ids"]}


def test_splits_are_drawn_by_the_seed_and_do_not_meet():
    data, same, other = load(), load(), load(seed=1)
    assert data.digest == same.digest != other.digest
    assert data.inputs == verses.INPUTS
    assert (len(data.calibration), len(data.search)) == (8, 8)
    assert len(data.test) >= 500
    assert rows(data.test) == rows(other.test)
    everything = load(1536, 1024)
    parts = [rows(split) for split in (everything.calibration, everything.search, everything.test)]
    assert not parts[1] & parts[2]
    assert not parts[0] & (parts[1] | parts[2])
    left = load(training=True).training
    assert len(left) == 1536 - 8
    assert not rows(left) & rows(data.calibration)
    assert load(1536, training=True).training is None


def test_a_mask_counts_what_is_no_padding():
    columns = load().test.columns
    ids, mask = columns["input_ids"], columns["attention_mask"]
    assert ((ids == PAD) == (mask == 0)).all()
    # padding is behind a passage, never in it, and a first token before it
    lengths = mask.sum(1)
    assert (mask == (torch.arange(128) < lengths[:, None]).long()).all()
    assert (ids[:, 0] == 0).all()
    assert (lengths > 1).all()


def test_the_tokens_are_those_of_the_tokenizer_beside_them():
    tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    tokenizer = tokenizers.Tokenizer.from_file(str(verses.TOKENIZER))
    assert tokenizer.get_vocab_size() == verses.IDS.high
    tokenizer.no_padding()
    tokenizer.enable_truncation(128)
    with np.load(TOKENS) as found:
        for part in ("search", "test"):
            texts = (verses.FOLDER / f"{part}.txt").read_text().splitlines()
            assert len(texts) == len(found[part])
            for text, ids in zip(texts[::20], found[part][::20], strict=True):
                assert tokenizer.encode(text).ids == ids[ids != PAD].tolist()


def test_pages_know_the_words_of_its_tokens():
    (path, *_) = tokenizer_places("verse_decoder", "verses")
    words = read_words(path)
    assert len(words) == verses.IDS.high
    ids = load().test.columns["input_ids"][0]
    text = "".join(words[int(number)] for number in ids if number not in (0, PAD))
    assert text.strip() in (verses.FOLDER / "test.txt").read_text()


def test_other_networks_and_too_many_passages_are_refused(monkeypatch, tmp_path):
    with pytest.raises(InvalidData, match=r"takes x .* texts:/path"):
        load_data("verses", calibration=8, search=8, model="bearing")
    with pytest.raises(InvalidParams, match="passages"):
        load(calibration=2000)
    monkeypatch.setattr("qcore.data.bundled.verses.TOKENS", tmp_path / "none.npz")
    from qcore.data.bundled.verses import _samples

    _samples.cache_clear()
    try:
        with pytest.raises(DataUnavailable, match="train_decoder"):
            load()
    finally:
        _samples.cache_clear()


@torch.no_grad()
def test_the_network_predicts_about_as_well_as_is_stated():
    data, facts, judge = load(), bundled_facts("verse_decoder"), verses.NETWORK.judge
    network = load_model("verse_decoder")
    some = data.test.at(torch.arange(0, len(data.test), len(data.test) // 80))
    x, _ = next(some.batches(len(some)))
    seen, labels = judge.read(call(network, x), x), judge.truth(x, None)
    counts = (labels >= 0).sum(1)
    entropy = float((judge.loss(seen, labels) * counts).sum() / counts.sum())
    assert entropy == pytest.approx(math.log(facts["test_perplexity"]), abs=0.1)
    share = float(judge.marks(seen, labels).mean())
    error = 4 * facts["test_error"] * (facts["test_samples"] / len(some)) ** 0.5
    assert share == pytest.approx(facts["test_score"], abs=error)


@torch.no_grad()
def test_a_decoder_is_the_llama_of_transformers(tmp_path):
    """Its weights and `llama_config` are a Hugging Face folder like any other."""
    transformers = library()
    sizes = DecoderSizes(60, 16, 32, 2, 4, 2, 24)
    torch.manual_seed(0)
    network = Decoder(sizes).eval()
    for parameter in network.parameters():
        parameter.copy_(0.3 * torch.randn(parameter.shape))
    (tmp_path / "config.json").write_text(json.dumps(llama_config(sizes)))
    torch.save(network.state_dict(), tmp_path / "pytorch_model.bin")
    from qcore.models.loading.hugging import read_hugging

    other = read_hugging(tmp_path, 12)
    assert isinstance(other.network, transformers.LlamaForCausalLM)
    assert other.judge.own_labels
    ids = torch.randint(2, 60, (3, 12))
    mask = torch.ones_like(ids)
    mask[1, 7:] = 0
    wanted = other.network(input_ids=ids, attention_mask=mask).logits
    got = network(ids, mask)
    torch.testing.assert_close(got[mask > 0], wanted[mask > 0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network(ids[:1]), wanted[:1], rtol=1e-4, atol=1e-5)
