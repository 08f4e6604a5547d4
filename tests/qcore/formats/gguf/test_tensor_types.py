"""Types and names of GGUF are those of the package gguf; files for llama-quantize give them."""

import re

import pytest

from qcore.allocation import BIT_WIDTHS, FLOAT_BITS, ModelSpec, holds
from qcore.errors import ExportRefused
from qcore.formats.exports import EXPORTS, write
from qcore.formats.gguf.names import EMBEDDING, OUTPUT, row_of, tensor_name
from qcore.formats.gguf.types import BY_NUMBER, TYPES, type_for
from tests.qcore.formats.gguf.language_nets import embedding, gpt2, linear, llama, of

EXPORT = EXPORTS["gguf"]

FAMILIES = {
    "LLAMA": ("model.layers.{}.", "self_attn.q_proj self_attn.k_proj self_attn.v_proj "
              "self_attn.o_proj mlp.gate_proj mlp.up_proj mlp.down_proj"),
    "QWEN2": ("model.layers.{}.", "self_attn.q_proj self_attn.k_proj self_attn.v_proj "
              "self_attn.o_proj mlp.gate_proj mlp.up_proj mlp.down_proj"),
    "QWEN3": ("model.layers.{}.", "self_attn.q_proj self_attn.k_proj self_attn.v_proj "
              "self_attn.o_proj mlp.gate_proj mlp.up_proj mlp.down_proj"),
    "GEMMA": ("model.layers.{}.", "self_attn.q_proj self_attn.k_proj self_attn.v_proj "
              "self_attn.o_proj mlp.gate_proj mlp.up_proj mlp.down_proj"),
    "GEMMA3": ("model.layers.{}.", "self_attn.q_proj self_attn.k_proj self_attn.v_proj "
               "self_attn.o_proj mlp.gate_proj mlp.up_proj mlp.down_proj"),
    "PHI3": ("model.layers.{}.", "self_attn.qkv_proj self_attn.o_proj mlp.gate_up_proj "
             "mlp.down_proj"),
    "GPT2": ("transformer.h.{}.", "attn.c_attn attn.c_proj mlp.c_fc mlp.c_proj"),
    "GPTNEOX": ("gpt_neox.layers.{}.", "attention.query_key_value attention.dense "
                "mlp.dense_h_to_4h mlp.dense_4h_to_h"),
    "FALCON": ("transformer.h.{}.", "self_attention.query_key_value self_attention.dense "
               "mlp.dense_h_to_4h mlp.dense_4h_to_h"),
    "MPT": ("transformer.blocks.{}.", "attn.Wqkv attn.out_proj ffn.up_proj ffn.down_proj"),
    "BERT": ("encoder.layer.{}.", "attention.self.query attention.self.key attention.self.value "
             "attention.output.dense intermediate.dense output.dense"),
    "QWEN2MOE": ("model.layers.{}.", "mlp.gate mlp.shared_expert.gate_proj "
                 "mlp.shared_expert.up_proj mlp.shared_expert.down_proj mlp.shared_expert_gate"),
}  # fmt: skip


def test_sizes_of_types_are_those_of_the_package():
    gguf = pytest.importorskip("gguf")
    for number, kind in BY_NUMBER.items():
        known = gguf.GGMLQuantizationType(number)
        assert known.name.lower() == kind.name.lower()
        assert gguf.GGML_QUANT_SIZES[known] == (kind.block, kind.size)
    weights = {
        known.value
        for known in gguf.GGML_QUANT_SIZES
        if not re.fullmatch("I[0-9]+|F64", known.name)
    }
    assert weights == set(BY_NUMBER)


def test_true_bits_per_weight():
    published = {
        "q2_K": 2.625,
        "q3_K": 3.4375,
        "q4_K": 4.5,
        "q5_K": 5.5,
        "q6_K": 6.5625,
        "q8_0": 8.5,
    }
    published |= {"f16": 16, "iq4_xs": 4.25, "iq2_xxs": 2.0625, "iq1_s": 1.5625, "iq3_s": 3.4375}
    assert {name: TYPES[name].bits_per_weight for name in published} == published


@pytest.mark.parametrize("row", [256, 4096, 384, 32, 100, 1])
def test_the_type_for_a_width_holds_it_fits_the_rows_and_is_the_smallest(row):
    offered = [kind for kind in TYPES.values() if kind.written and row % kind.block == 0]
    for width in BIT_WIDTHS:
        kind = type_for(width, row)
        assert holds(kind.width, width)
        assert row % kind.block == 0
        fitting = [each for each in offered if holds(each.width, width)]
        assert kind.bits_per_weight == min(each.bits_per_weight for each in fitting)


@pytest.mark.parametrize("family", FAMILIES)
def test_names_are_those_of_llama_cpps_converters(family):
    gguf = pytest.importorskip("gguf")
    known = gguf.get_tensor_name_map(gguf.MODEL_ARCH[family], 12)
    block, parts = FAMILIES[family]
    for at in (0, 11):
        for part in parts.split():
            name = block.format(at) + part
            assert tensor_name(name) == f"{known.get_name(name)}.weight"


def test_what_stands_around_the_blocks_has_its_names_too():
    gguf = pytest.importorskip("gguf")
    for family, layer in (
        ("LLAMA", "model.embed_tokens"), ("LLAMA", "lm_head"), ("GPT2", "transformer.wte"),
        ("GPT2", "transformer.wpe"), ("BERT", "embeddings.word_embeddings"),
        ("BERT", "embeddings.token_type_embeddings"), ("GPTNEOX", "embed_out"),
    ):  # fmt: skip
        known = gguf.get_tensor_name_map(gguf.MODEL_ARCH[family], 2)
        assert tensor_name(layer) == f"{known.get_name(layer)}.weight"
    for layer in ("conv1", "layer1.0.conv1", "pooler.dense", "vision_tower.layers.0.mlp.fc1", ""):
        assert tensor_name(layer) is None


def patterns(config):
    """What llama-quantize reads: words, each a pattern in small letters and a type."""
    words = write(EXPORT, config).decode().split()
    pairs = [word.split("=") for word in words]
    assert all(len(pair) == 2 for pair in pairs)
    return [(pattern.lower(), kind) for pattern, kind in pairs]


def quantized(config, tensors):
    """Type of each tensor by llama-quantize's rule: the first pattern found in its name."""
    return {
        name: next((kind for pattern, kind in patterns(config) if re.search(pattern, name)), None)
        for name in tensors
    }


@pytest.mark.parametrize("model", [llama(12), llama(2, tied=True), gpt2(11), llama(1, 384, 1000)])
def test_each_tensor_gets_the_type_of_its_own_layer_and_none_falls_back(model):
    config = of(model, 2, 3, 4, 5, 6, 8)
    names = {tensor_name(layer.name): layer for layer in model.layers}
    others = ["output_norm.weight", "blk.1.attn_norm.weight", "blk.111.attn_q.weight"]
    found = quantized(config, [*names, *others])
    assert all(found[name] is None for name in others)
    report = EXPORT.report(config)
    taken = 0
    for name, layer in names.items():
        kind, width = TYPES[found[name]], config.allocation[layer.name].weight
        assert row_of(layer) % kind.block == 0
        left = name == "position_embd.weight"
        assert (layer.name in report["widened"]) == (kind.width != width or left)
        taken += 4 * layer.weights if left else kind.bytes_of(layer.weights)
    assert report["weight_bytes"] == taken
    total = sum(layer.weights for layer in model.layers)
    assert report["bits_per_weight"] == pytest.approx(8 * taken / total)


def test_widths_without_a_type_are_listed_as_widened():
    model = llama(1)
    config = of(model, 7)
    widened = EXPORT.report(config)["widened"]
    assert set(widened) == set(model.names)
    assert set(widened.values()) == {"7 bits as q8_0, 8.5 bits a weight"}
    assert not EXPORT.report(of(model, 2, 3, 4, 5, 6, 8, FLOAT_BITS))["widened"]


def test_head_and_attention_output_are_told_apart():
    config = of(llama(1), 4)
    (pattern,) = [p for p, _ in patterns(config) if "output" in p and "attn" not in p]
    assert re.search(pattern, OUTPUT)
    assert not re.search(pattern, "blk.0.attn_output.weight")
    assert quantized(config, [EMBEDDING])[EMBEDDING] == "q4_K"


def experts(first, second):
    layers = tuple(linear(f"model.layers.0.mlp.experts.{at}.up_proj", 64, 256) for at in (0, 1))
    return of(ModelSpec("moe", "0" * 64, layers), first, second)


def test_experts_are_one_tensor_and_must_agree():
    assert patterns(experts(4, 4)) == [(r"^blk\.0\.ffn_up_exps\.weight$", "q4_K")]
    with pytest.raises(ExportRefused, match=r"one tensor there, .*has 4 bits, .* 5 bits.*Tie"):
        write(EXPORT, experts(4, 5))


def test_what_gguf_cannot_hold_is_refused_in_words():
    with pytest.raises(ExportRefused, match="no layer is quantized"):
        write(EXPORT, of(llama(1), FLOAT_BITS))
    odd = ModelSpec("odd", "0" * 64, (*llama(1).layers, linear("pooler.dense", 256, 256)))
    with pytest.raises(ExportRefused, match=r"no tensor for .*pooler\.dense.*at 32 bits"):
        write(EXPORT, of(odd, 4))
    with pytest.raises(ExportRefused, match=r"activations of 8 bits or float.*4 bits"):
        write(EXPORT, of(llama(1), 4, activation=4))
    assert EXPORT.carries(of(llama(1), 4, activation=8)) is None


def test_an_embedding_of_positions_stays_as_it_is_and_is_said():
    widened = EXPORT.report(of(gpt2(1), 4))["widened"]
    assert "llama-quantize leaves position_embd.weight" in widened["transformer.wpe"]
    spec = ModelSpec("e", "0" * 64, (embedding("model.embed_tokens", 10, 256),))
    assert patterns(of(spec, 4)) == [(r"^token_embd\.weight$", "q4_K")]
