"""Hugging Face folders: read without code from them, with inputs and judge told from them."""

import json

import numpy as np
import pyarrow
import pytest
import torch
from pyarrow import parquet

from qcore.add_network import add_network
from qcore.data import load_data
from qcore.errors import (
    DataUnavailable,
    InvalidConfig,
    InvalidData,
    InvalidParams,
    UnsupportedModel,
)
from qcore.judges import parse_judge
from qcore.models.cards import card_folder, read_cards
from qcore.models.hugging_folder import kept_files
from qcore.models.loading.hugging import read_hugging
from qcore.models.new_network import NewNetwork
from qcore.models.zoo import load_model
from tests.hugging_folders import KINDS, library, made, saved, tokenizer
from tests.own_networks import Payload
from tests.variants import some

MASK = "mask=attention_mask"
JUDGES = {
    "BertModel": f"embedding:output=last_hidden_state:{MASK}",
    "RobertaModel": f"embedding:output=last_hidden_state:{MASK}",
    "BertForSequenceClassification": "classes:output=logits",
    "BertForTokenClassification": f"tokens:output=logits:{MASK}",
    "BertForMaskedLM": f"tokens:output=logits:{MASK}",
    "GPT2LMHeadModel": f"tokens:output=logits:{MASK}:ids=input_ids",
    "LlamaForCausalLM": f"tokens:output=logits:{MASK}:ids=input_ids",
    "ViTForImageClassification": "classes:output=logits",
}
HEADS = {
    "BertForSequenceClassification": 2,  # the pooler as well
    "BertForTokenClassification": 1,
    "BertForMaskedLM": 2,
    "GPT2LMHeadModel": 1,
    "LlamaForCausalLM": 1,
    "ViTForImageClassification": 2,  # the patches as well
}
"""Layers of each network beside those of its two blocks."""

BLOCKS = {"GPT2LMHeadModel": 8, "LlamaForCausalLM": 14}


@pytest.fixture
def place(monkeypatch, tmp_path):
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path / "data"))
    return tmp_path / "folder"


def texts(network, length=12):
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(4, network.config.vocab_size, (3, length), generator=generator)
    mask = (torch.arange(length) < torch.tensor([[length], [7], [2]])).long()
    return {"input_ids": ids * mask, "attention_mask": mask}


def alike(one, other):
    return torch.allclose(one, other, atol=1e-5)


def answer(network, inputs):
    with torch.no_grad():
        return next(iter(network(**inputs).values()))


@pytest.mark.parametrize("kind", some(KINDS, 5))
def test_a_folder_is_added_with_its_inputs_and_judge_and_comes_back_as_it_was(kind, place):
    original = saved(kind, place)
    card, spec, _ = add_network(NewNetwork("mine", "huggingface", weights=str(place)))
    assert card.judge == parse_judge(JUDGES[kind])
    assert card.architecture == kind
    assert read_cards()[0]["mine"] == card
    again = load_model("mine")
    if kind == "ViTForImageClassification":
        assert (card.inputs, card.input_shape, card.classes) == ((), (3, 16, 16), 3)
        x = {"pixel_values": torch.randn(2, 3, 16, 16)}
    else:
        expected = {"input_ids", "attention_mask"}
        if kind.startswith("Bert"):
            expected.add("token_type_ids")
        assert {each.name for each in card.inputs} == expected
        assert card.inputs[0].high == 60
        x = texts(original)
    assert alike(answer(again, x), answer(original, x))
    kinds = ("linear", "conv2d", "tied_embedding")
    layers = [layer for layer in spec.layers if layer.kind in kinds]
    assert len(layers) == BLOCKS.get(kind, 12) + HEADS.get(kind, 0)


def test_lengths_are_those_that_the_network_knows(place):
    saved("BertModel", place)
    assert read_hugging(place).input_shape == (40,)
    assert read_hugging(place, 9).input_shape == (9,)
    with pytest.raises(InvalidParams, match="40 positions; got a length of 41"):
        read_hugging(place, 41)


def test_a_long_text_is_read_up_to_128_positions(place):
    saved("BertModel", place, max_position_embeddings=300)
    assert read_hugging(place).input_shape == (128,)


def test_positions_that_are_counted_from_behind_the_padding_id_are_fewer(place):
    saved("RobertaModel", place)
    assert read_hugging(place).input_shape == (39,)


def test_weights_in_several_files_and_in_one_bin_file_are_read_alike(place, tmp_path):
    original = saved("GPT2LMHeadModel", place, shards="20KB")
    assert len(list(place.glob("*.safetensors"))) > 1
    x = texts(original)
    wanted = answer(original, x)
    assert alike(answer(read_hugging(place).network, x), wanted)
    for path in place.glob("*.safetensors*"):
        path.unlink()
    torch.save(original.state_dict(), place / "pytorch_model.bin")
    assert alike(answer(read_hugging(place).network, x), wanted)


def test_half_precision_weights_become_float(place):
    saved("BertModel", place)
    library_folder = place.with_name("half")
    made("BertModel").half().save_pretrained(library_folder)
    network = read_hugging(library_folder).network
    assert {p.dtype for p in network.parameters()} == {torch.float32}


def test_a_pooler_that_nobody_looks_at_has_no_layer(place):
    saved("BertModel", place)
    _, spec, notes = add_network(NewNetwork("mine", "huggingface", weights=str(place)))
    assert not [layer.name for layer in spec.layers if "pooler" in layer.name]
    assert any("pooler" in note for note in notes)
    judge = parse_judge("embedding:output=pooler_output")
    new = NewNetwork("other", "huggingface", weights=str(place), judge=judge)
    assert "pooler.dense" in {layer.name for layer in add_network(new)[1].layers}
    assert load_model("other").pooler is not None


def test_a_classifier_that_cannot_tell_where_a_text_ends_is_refused(place):
    saved("BertForSequenceClassification", place, pad_token_id=None)
    with pytest.raises(InvalidConfig, match="no pad_token_id"):
        read_hugging(place)


_T5 = {"vocab_size": 60, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
_BART = {
    "vocab_size": 60, "d_model": 16, "encoder_layers": 1, "decoder_layers": 1,
    "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32, "max_position_embeddings": 40,
}  # fmt: skip
WRITERS = {
    "T5ForConditionalGeneration": ("T5Config", _T5),
    "BartForConditionalGeneration": ("BartConfig", _BART),
    "BartModel": ("BartConfig", _BART),
}


def writer(place, kind):
    transformers = library()
    config, sizes = WRITERS.get(kind, WRITERS["BartModel"])
    torch.manual_seed(0)
    network = getattr(transformers, kind)(getattr(transformers, config)(**sizes)).eval()
    network.save_pretrained(place)
    return network


@pytest.mark.parametrize("kind", WRITERS)
def test_a_network_that_reads_one_text_and_writes_another_takes_both(place, kind):
    original = writer(place, kind)
    card, _, notes = add_network(NewNetwork("mine", "huggingface", weights=str(place), length=12))
    names = [each.name for each in card.inputs]
    assert names[:3] == ["input_ids", "attention_mask", "decoder_input_ids"]
    assert {each.shape for each in card.inputs} == {(12,)}
    assert any("writes another" in note for note in notes)
    mask = "mask=decoder_attention_mask"
    wanted = f"tokens:output=logits:{mask}:ids=decoder_input_ids"
    if kind == "BartModel":
        wanted = f"embedding:output=last_hidden_state:{mask}"
    assert card.judge == parse_judge(wanted)
    x = texts(original)
    other = texts(original).values()
    x |= dict(zip(("decoder_input_ids", "decoder_attention_mask"), other, strict=True))
    assert alike(answer(load_model("mine"), x), answer(original, x))


def test_what_it_wrote_is_a_column_and_its_score_that_of_the_next_tokens(place, tmp_path):
    original = writer(place, "BartForConditionalGeneration")
    add_network(NewNetwork("mine", "huggingface", weights=str(place), length=6))
    rng = np.random.default_rng(0)
    lists = {
        name: [rng.integers(4, 60, int(n)).tolist() for n in rng.integers(2, 6, 12)]
        for name in ("input_ids", "decoder_input_ids")
    }
    parquet.write_table(pyarrow.table(lists), tmp_path / "pairs.parquet")
    data = load_data(f"tensors:{tmp_path}/pairs.parquet", calibration=3, search=3, model="mine")
    test = data.test
    for name in ("", "decoder_"):
        ids, mask = (test.columns[f"{name}{end}"] for end in ("input_ids", "attention_mask"))
        assert torch.equal(mask, (ids != original.config.pad_token_id).long())
    assert not torch.equal(test.columns["attention_mask"], test.columns["decoder_attention_mask"])
    judge = read_cards()[0]["mine"].judge
    ((x, y),) = test.batches(100)
    truth = judge.truth(x, y)
    with torch.no_grad():
        named = original(**x).logits.argmax(2)
    right = []
    for row, written in enumerate(x["decoder_input_ids"]):
        n = int(x["decoder_attention_mask"][row].sum())
        right.append((named[row, : n - 1] == written[1:n]).float().mean())
    seen = judge.read(original(**x), x)
    assert torch.allclose(judge.marks(seen, truth), torch.stack(right))
    tokenizer(tmp_path / "tokenizer.json")
    (tmp_path / "texts.txt").write_text("w1 w2\n" * 9)
    with pytest.raises(InvalidData, match="takes input_ids and decoder_input_ids"):
        load_data(f"texts:{tmp_path}/texts.txt", calibration=2, search=2, model="mine")


@pytest.mark.parametrize("layers", [10**7, -1])
def test_more_layers_than_tensors_are_refused_before_any_is_built(place, layers):
    saved("BertModel", place)
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps(config | {"num_hidden_layers": layers}))
    with pytest.raises(InvalidConfig, match=f"num_hidden_layers {layers:,}, and its weights hold"):
        read_hugging(place)


def test_two_texts_for_one_class_are_refused(place):
    writer(place, "BartForSequenceClassification")
    with pytest.raises(UnsupportedModel, match="reads one text and writes another"):
        read_hugging(place)


def test_a_sound_network_takes_as_many_samples_as_are_asked_for(place):
    transformers = library()
    sizes = {
        "vocab_size": 9, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 32, "conv_dim": (8, 8), "conv_stride": (5, 4), "conv_kernel": (10, 8),
        "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2,
    }  # fmt: skip
    original = transformers.Wav2Vec2ForCTC(transformers.Wav2Vec2Config(**sizes)).eval()
    original.save_pretrained(place)
    card, _, _ = add_network(NewNetwork("mine", "huggingface", weights=str(place), length=400))
    assert [each.words for each in card.inputs] == ["input_values (400,) float32"]
    x = {"input_values": torch.randn(2, 400)}
    assert alike(answer(load_model("mine"), x), answer(original, x))


def test_sentence_transformers_say_whose_vector_counts(place):
    saved("BertModel", place)
    (place / "1_Pooling").mkdir()
    (place / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    (place / "2_Dense").mkdir()
    (place / "2_Dense" / "config.json").write_text("{}")
    read = read_hugging(place)
    assert read.judge.pool == "first"
    assert "2_Dense" in read.notes[-1]


def test_the_folder_is_copied_and_a_change_of_the_copy_is_noticed(place):
    saved("BertModel", place)
    tokenizer(place / "tokenizer.json")
    (place / "README.md").write_text("not needed")
    (place / "modeling_bert.py").write_text("raise SystemExit")
    add_network(NewNetwork("mine", "huggingface", weights=str(place)))
    copy = card_folder("mine") / "weights"
    names = sorted(path.name for path in copy.iterdir())
    assert (
        names == ["config.json", "model.safetensors", "tokenizer.json"] == sorted(kept_files(copy))
    )
    for path in place.iterdir():
        path.unlink()
    load_model("mine")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"layer_norm_eps": 0.5}))
    with pytest.raises(InvalidConfig, match="has changed since"):
        load_model("mine")


def changed(place, **fields):
    path = place / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"auto_map": {"AutoModel": "modeling.Net"}}, "code of its own.*modeling.Net"),
        ({"text_config": {"auto_map": {"AutoModel": "a.B"}}}, "code of its own"),
        ({"model_type": "newest"}, "'newest', which transformers"),
        ({"model_type": None}, "no model_type"),
        ({"architectures": ["BertForNothing"]}, "no network 'BertForNothing'"),
        ({"architectures": ["PreTrainedModel"]}, "no network"),
        ({"architectures": ["AutoModel"]}, "no network"),
        ({"architectures": ["__import__('os')"]}, "no network"),
        ({"architectures": ["GPT2Model"]}, "not of its model_type"),
        ({"architectures": ["BertForMaskedLM"]}, "lack cls"),
        ({"hidden_size": 24}, "config.json|other shapes"),
        ({"num_hidden_layers": 3}, "lack encoder.layer.2"),
        ({"quantization_config": {"quant_method": "gptq"}}, r"quantized already \(gptq\)"),
        ({"hidden_size": "many"}, "config.json"),
        ({"max_position_embeddings": -1}, "config.json"),
    ],
)
def test_what_a_configuration_cannot_say_is_refused_in_words(place, fields, words):
    saved("BertModel", place)
    changed(place, **fields)
    with pytest.raises((UnsupportedModel, InvalidConfig), match=words):
        add_network(NewNetwork("mine", "huggingface", weights=str(place)))
    assert "mine" not in read_cards()[0]


def test_a_configuration_cannot_choose_code_to_be_fetched(place):
    saved("BertModel", place)
    changed(place, _attn_implementation="someone/kernels", attn_implementation="someone/kernels")
    assert read_hugging(place).network.config._attn_implementation == "eager"


def test_without_an_architecture_the_network_has_no_head(place):
    saved("BertModel", place)
    changed(place, architectures=None)
    assert read_hugging(place).architecture == "BertModel"


def test_what_is_no_folder_of_a_network_is_refused_with_what_it_lacks(place, tmp_path):
    def refused(kind, words, path=place):
        with pytest.raises(kind, match=words):
            NewNetwork("mine", "huggingface", weights=str(path)).check()

    refused(DataUnavailable, "no folder")
    place.mkdir()
    refused(DataUnavailable, "no config.json")
    (place / "adapter_config.json").write_text("{}")
    refused(UnsupportedModel, "adapter.*merge_and_unload")
    (place / "config.json").write_text("{")
    refused(InvalidConfig, "cannot be read as JSON")
    (place / "config.json").write_text("[]")
    refused(InvalidConfig, "holds a list")
    (place / "config.json").write_text('{"model_type": "bert"}')
    refused(DataUnavailable, "no weights")
    (place / "model.fp16.safetensors").write_bytes(b"x")
    refused(DataUnavailable, "model.fp16.safetensors: rename")
    refused(InvalidParams, "is a file; give the folder", place / "config.json")
    index = place / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../other.safetensors"}}))
    refused(InvalidConfig, "other.safetensors.*same folder")
    index.write_text(json.dumps({"weight_map": {"a": "a.safetensors"}}))
    refused(DataUnavailable, "lacks a.safetensors of the 1 files")
    index.write_text("{}")
    refused(InvalidConfig, "no weight_map")
    with pytest.raises(InvalidParams, match="Give the Hugging Face folder"):
        NewNetwork("mine", "huggingface").check()


def test_a_bin_file_with_code_in_it_is_refused_and_runs_nothing(place, tmp_path):
    saved("BertModel", place)
    (place / "model.safetensors").unlink()
    torch.save({"embeddings": Payload(tmp_path / "ran")}, place / "pytorch_model.bin")
    with pytest.raises(InvalidConfig, match="is not read: it could run code"):
        read_hugging(place)
    assert not (tmp_path / "ran").exists()


def test_a_file_that_was_cut_short_is_refused(place):
    saved("BertModel", place)
    path = place / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InvalidConfig, match="no whole safetensors file"):
        read_hugging(place)


def test_pictures_are_prepared_as_the_folder_says(place):
    saved("ViTForImageClassification", place)
    said = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.5, 0.5], "resample": 3}
    (place / "preprocessor_config.json").write_text(json.dumps({**said, "do_normalize": True}))
    card, _, notes = add_network(NewNetwork("mine", "huggingface", weights=str(place)))
    steps = card.preprocessing
    assert (steps.mean, steps.std, steps.interpolation) == ((0.1, 0.2, 0.3), (0.5,) * 3, "bicubic")
    assert not [note for note in notes if "normalised" in note]
