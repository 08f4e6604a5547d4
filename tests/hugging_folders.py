"""Hugging Face folders with small networks of random weights, as save_pretrained writes them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from qcore.models.loading.packages import need

WORDS = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{number}" for number in range(56))
]  # fmt: skip

_SIZES = {"vocab_size": len(WORDS)}
_BERT = {
    **_SIZES,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
    "initializer_range": 0.3,
}
_GPT2 = {**_SIZES, "n_positions": 32, "n_embd": 16, "n_layer": 2, "n_head": 2} | {
    "bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 0, "initializer_range": 0.3
}  # fmt: skip
_LLAMA = {**_BERT, "num_key_value_heads": 1, "bos_token_id": 1, "eos_token_id": 1}
_DECODER = {**_LLAMA, "head_dim": 8, "pad_token_id": 0}
_GEMMA3 = {**_DECODER, "sliding_window": 4, "query_pre_attn_scalar": 8}
_OPT = {**_SIZES, "hidden_size": 16, "ffn_dim": 32, "num_hidden_layers": 2, "pad_token_id": 0} | {
    "num_attention_heads": 2, "max_position_embeddings": 40, "word_embed_proj_dim": 16
}  # fmt: skip
_VIT = {**_BERT, "image_size": 16, "patch_size": 8, "num_channels": 3, "num_labels": 3}
del _VIT["vocab_size"], _VIT["max_position_embeddings"]

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "BertModel": ("BertConfig", _BERT),
    "BertForSequenceClassification": ("BertConfig", {**_BERT, "num_labels": 3}),
    "BertForTokenClassification": ("BertConfig", {**_BERT, "num_labels": 5}),
    "BertForMaskedLM": ("BertConfig", _BERT),
    "RobertaModel": ("RobertaConfig", {**_BERT, "type_vocab_size": 1, "pad_token_id": 0}),
    "GPT2LMHeadModel": ("GPT2Config", _GPT2),
    "LlamaForCausalLM": ("LlamaConfig", _LLAMA),
    "ViTForImageClassification": ("ViTConfig", _VIT),
}

FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "MistralForCausalLM": ("MistralConfig", {**_DECODER, "sliding_window": 4}),
    "Qwen2ForCausalLM": ("Qwen2Config", _DECODER),
    "Qwen3ForCausalLM": ("Qwen3Config", {**_DECODER, "tie_word_embeddings": True}),
    "GemmaForCausalLM": ("GemmaConfig", _DECODER),
    "Gemma2ForCausalLM": ("Gemma2Config", _GEMMA3),
    "Gemma3ForCausalLM": ("Gemma3TextConfig", _GEMMA3),
    "OPTForCausalLM": ("OPTConfig", _OPT),
}
"""Further decoders, for tests that say so."""


def library() -> Any:
    """Transformers, imported as bitdial does; the test is skipped where it is not installed."""
    pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    try:
        import importlib.util

        found = importlib.util.find_spec("transformers") is not None
    except ImportError:
        found = False
    if not found:
        pytest.skip("transformers is not installed")
    return need("transformers", "for tests")


def made(kind: str, seed: int = 0, **changed: Any) -> Any:
    """A small network of a class of transformers, in eval mode."""
    transformers = library()
    config, sizes = (KINDS | FAMILIES)[kind]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return getattr(transformers, kind)(getattr(transformers, config)(**sizes | changed)).eval()


def saved(kind: str, folder: Path, shards: str = "1GB", **changed: Any) -> Any:
    """Write a small network into a folder; returns it."""
    network = made(kind, **changed)
    logging = library().utils.logging
    logging.disable_progress_bar()
    network.save_pretrained(folder, max_shard_size=shards)
    return network


def tokenizer(path: Path, words: list[str] | None = None, special: bool = True) -> Path:
    """Write a tokenizer that cuts at spaces; with [CLS] and [SEP] around each text."""
    words = WORDS if words is None else words
    known = {word: number for number, word in enumerate(words)}
    around: dict[str, Any] | None = None
    if special:
        tokens = {
            name: {"id": name, "ids": [known[name]], "tokens": [name]}
            for name in ("[CLS]", "[SEP]")
        }
        around = {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
            ],
            "pair": [
                {"Sequence": {"id": "A", "type_id": 0}},
                {"Sequence": {"id": "B", "type_id": 1}},
            ],
            "special_tokens": tokens,
        }
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": number, "content": word, "single_word": False, "lstrip": False,
                "rstrip": False, "normalized": False, "special": True,
            }
            for word, number in known.items()
            if word.startswith("[")
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": around,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": known, "unk_token": "[UNK]"},
    }  # fmt: skip
    path.write_text(json.dumps(document))
    return path
