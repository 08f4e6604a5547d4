"""Facts of language models as Hugging Face names their layers, and GGUF files of them."""

import numpy as np
import pytest

from qcore.allocation import BitAllocation, LayerBits, LayerSpec, ModelSpec
from qcore.formats.config import BitConfig
from qcore.formats.gguf.names import by_tensor, row_of
from qcore.formats.gguf.types import BY_NUMBER


def linear(name, outputs, inputs, kind="linear"):
    return LayerSpec(
        name, kind, outputs * inputs, outputs, 0, outputs * inputs, inputs, outputs, inputs
    )


def embedding(name, rows, inputs):
    return LayerSpec(name, "embedding", rows * inputs, rows, 0, 0, 1, inputs)


def llama(blocks=2, width=256, inner=512, words=300, tied=False):
    """Like LlamaForCausalLM, Qwen and Gemma: fewer keys and values than queries."""
    layers = [
        linear("model.embed_tokens", words, width, "tied_embedding")
        if tied
        else embedding("model.embed_tokens", words, width)
    ]
    for at in range(blocks):
        for part, outputs, inputs in (
            ("self_attn.q_proj", width, width),
            ("self_attn.k_proj", width // 2, width),
            ("self_attn.v_proj", width // 2, width),
            ("self_attn.o_proj", width, width),
            ("mlp.gate_proj", inner, width),
            ("mlp.up_proj", inner, width),
            ("mlp.down_proj", width, inner),
        ):
            layers.append(linear(f"model.layers.{at}.{part}", outputs, inputs))
    if not tied:
        layers.append(linear("lm_head", words, width))
    return ModelSpec("llama", "0" * 64, tuple(layers))


def gpt2(blocks=2, width=256, words=300):
    layers = [
        linear("transformer.wte", words, width, "tied_embedding"),
        embedding("transformer.wpe", 32, width),
    ]
    for at in range(blocks):
        for part, outputs, inputs in (
            ("attn.c_attn", 3 * width, width),
            ("attn.c_proj", width, width),
            ("mlp.c_fc", 4 * width, width),
            ("mlp.c_proj", width, 4 * width),
        ):
            layers.append(linear(f"transformer.h.{at}.{part}", outputs, inputs))
    return ModelSpec("gpt2", "0" * 64, tuple(layers))


def of(model, *widths, activation=32):
    """A configuration of bits alone: the widths one after another, again and again."""
    bits = {
        layer.name: LayerBits(widths[at % len(widths)], 32 if layer.looks_up else activation)
        for at, layer in enumerate(model.layers)
    }
    return BitConfig(model, BitAllocation(bits))


def write_gguf(path, model, types, leave_out=(), words=None):
    """A GGUF file of a network, made by gguf's own writer; weights are zero.

    `types` is the name of a type for all tensors, or a dictionary from their names.
    """
    gguf = pytest.importorskip("gguf")
    numbers = {kind.name: number for number, kind in BY_NUMBER.items()}
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("made up")
    writer.add_token_list([f"word{at}" for at in range(words or 50)])
    writer.add_array("some.numbers", [1, 2, 3])
    writer.add_tensor("output_norm.weight", np.zeros(8, np.float32))
    for name, layers in by_tensor(model.layers).items():
        if name in leave_out:
            continue
        kind = BY_NUMBER[numbers[types if isinstance(types, str) else types[name]]]
        row, count = row_of(layers[0]), sum(layer.weights for layer in layers)
        if kind.name in ("f32", "f16"):
            data = np.zeros((count // row, row), np.float32 if kind.name == "f32" else np.float16)
            writer.add_tensor(name, data)
        else:
            data = np.zeros((count // row, row // kind.block * kind.size), np.uint8)
            writer.add_tensor(name, data, raw_dtype=gguf.GGMLQuantizationType(kind.number))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
