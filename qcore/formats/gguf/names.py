"""GGUF's names of the tensors of networks from Hugging Face. Pure.

The names are those of llama.cpp's converters (`TensorNameMap` of the package gguf 0.19): a block's
number and a part, `blk.3.attn_q.weight`, whatever the family calls it. One list serves all
families, because no two of them mean different parts by one name.
"""

import re
from collections.abc import Iterable, Mapping

from qcore.allocation import LayerSpec

EMBEDDING, OUTPUT = "token_embd.weight", "output.weight"

UNTOUCHED = re.compile(
    r"(?:position_embd|token_types)\.weight|blk\.[0-9]+\.(?:ffn_gate_inp|ffn_gate_inp_shexp)\.weight"
)
"""Tensors that llama-quantize leaves as they are, whatever it is told."""

_BLOCK = re.compile(
    r"(?:(?:model|transformer|gpt_neox|bert|roberta|encoder|backbone|language_model)\.)*"
    r"(?:layers|layer|h|blocks)\.([0-9]{1,4})\.(.+)"
)
_AROUND = re.compile(
    r"(?:(?:model|transformer|gpt_neox|bert|roberta|embeddings|backbone|language_model)\.)*"
    r"(.+)"
)
_EXPERT = re.compile(r"(mlp|block_sparse_moe|feed_forward)\.experts\.[0-9]+\.(.+)")

_PARTS: Mapping[str, tuple[str, ...]] = {
    "attn_q": (
        "self_attn.q_proj", "attention.self.query", "attention.wq", "attention.q_lin",
        "attn.q_proj", "attn.attention.q_proj",
    ),
    "attn_k": (
        "self_attn.k_proj", "attention.self.key", "attention.wk", "attention.k_lin",
        "attn.k_proj", "attn.attention.k_proj",
    ),
    "attn_v": (
        "self_attn.v_proj", "attention.self.value", "attention.wv", "attention.v_lin",
        "attn.v_proj", "attn.attention.v_proj",
    ),
    "attn_qkv": (
        "attn.c_attn", "self_attn.qkv_proj", "attention.query_key_value",
        "self_attention.query_key_value", "attn.Wqkv", "self_attn.query_key_value",
    ),
    "attn_output": (
        "self_attn.o_proj", "self_attn.out_proj", "self_attn.dense", "attention.output.dense",
        "attention.wo", "attention.out_lin", "attention.dense", "self_attention.dense",
        "attn.c_proj", "attn.out_proj", "attn.Wo", "attn.attention.out_proj",
    ),
    "ffn_gate": ("mlp.gate_proj", "feed_forward.w1", "feed_forward.gate_proj"),
    "ffn_up": (
        "mlp.up_proj", "mlp.gate_up_proj", "mlp.c_fc", "mlp.fc1", "mlp.fc_in", "mlp.dense_h_to_4h",
        "intermediate.dense", "feed_forward.w3", "feed_forward.up_proj", "ffn.lin1", "ffn.up_proj",
        "mlp.Wi",
    ),
    "ffn_down": (
        "mlp.down_proj", "mlp.c_proj", "mlp.fc2", "mlp.fc_out", "mlp.dense_4h_to_h",
        "output.dense", "feed_forward.w2", "feed_forward.down_proj", "ffn.lin2", "ffn.down_proj",
        "mlp.Wo",
    ),
    "ffn_gate_inp": ("mlp.gate", "block_sparse_moe.gate", "feed_forward.router"),
    "ffn_gate_inp_shexp": ("mlp.shared_expert_gate",),
    "ffn_gate_exps": (
        "mlp.experts.gate_proj", "block_sparse_moe.experts.w1", "feed_forward.experts.gate_proj",
    ),
    "ffn_up_exps": (
        "mlp.experts.up_proj", "block_sparse_moe.experts.w3", "feed_forward.experts.up_proj",
    ),
    "ffn_down_exps": (
        "mlp.experts.down_proj", "block_sparse_moe.experts.w2", "feed_forward.experts.down_proj",
    ),
    **{
        f"ffn_{part}_shexp": (
            f"mlp.shared_expert.{part}_proj", f"mlp.shared_experts.{part}_proj",
            f"feed_forward.shared_expert.{part}_proj",
        )
        for part in ("gate", "up", "down")
    },
}  # fmt: skip

_TOPS: Mapping[str, tuple[str, ...]] = {
    EMBEDDING: ("embed_tokens", "wte", "word_embeddings", "embed_in", "tok_embeddings"),
    OUTPUT: ("lm_head", "embed_out", "output"),
    "position_embd.weight": ("wpe", "position_embeddings"),
    "token_types.weight": ("token_type_embeddings",),
}

_PART = {ending: part for part, endings in _PARTS.items() for ending in endings}
_TOP = {ending: name for name, endings in _TOPS.items() for ending in endings}


def tensor_name(layer: str) -> str | None:
    """GGUF's name of a layer's weight, or None where its converters have none for such a layer.

    Several layers may share one: the experts of a block are one tensor.

    Args:
        layer: The name of the module, such as "model.layers.3.mlp.down_proj".

    Example:
        >>> tensor_name("model.layers.3.mlp.down_proj"), tensor_name("transformer.h.0.attn.c_attn")
        ('blk.3.ffn_down.weight', 'blk.0.attn_qkv.weight')
    """
    found = _BLOCK.fullmatch(layer)
    if found is not None:
        ending = _EXPERT.sub(r"\1.experts.\2", found[2])
        part = _PART.get(ending)
        return None if part is None else f"blk.{int(found[1])}.{part}.weight"
    found = _AROUND.fullmatch(layer)
    return None if found is None else _TOP.get(found[1])


def row_of(layer: LayerSpec) -> int:
    """Weights in a row of a layer's matrix, which blocks of GGUF's types divide."""
    return layer.weights // max(1, layer.channels)


def by_tensor(layers: Iterable[LayerSpec]) -> dict[str, list[LayerSpec]]:
    """GGUF's name of a tensor to the layers it holds, in their order."""
    found: dict[str, list[LayerSpec]] = {}
    for layer in layers:
        name = tensor_name(layer.name)
        if name is not None:
            found.setdefault(name, []).append(layer)
    return found
