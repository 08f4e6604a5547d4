"""A file of tensor types for llama-quantize, the tool of llama.cpp that makes GGUF files.

Read from ggml-org/llama.cpp: tools/quantize/quantize.cpp (commit 03161a4) parses words
`pattern=type` between spaces or line ends, so that no comment can stand there; src/llama-quant.cpp
(commit 007dbbf) takes the first pattern that is found in a tensor's name, and another type where
rows are no whole blocks of the one asked for. The types here are such that this never happens.
"""

import re
from collections.abc import Mapping
from typing import Any

from qcore.allocation import FLOAT_BITS, is_float_width, width_words
from qcore.formats.config import BitConfig
from qcore.formats.exports.base import Export
from qcore.formats.exports.widths import shortened, some, unfit
from qcore.formats.gguf.names import UNTOUCHED, by_tensor, row_of, tensor_name
from qcore.formats.gguf.types import TensorType, type_for
from qcore.widths import without_groups

INPUTS = (8, FLOAT_BITS)
"""llama.cpp computes with inputs of 8 bits in blocks, whatever a file says."""


def carries(config: BitConfig) -> str | None:
    """Why GGUF cannot hold a configuration: layers without a tensor there, bits of inputs."""
    layers, bits = config.model.layers, config.allocation
    if all(bits[layer.name].weight == FLOAT_BITS for layer in layers):
        return "no layer is quantized."
    nameless = [
        shortened(layer.name)
        for layer in layers
        if tensor_name(layer.name) is None and bits[layer.name].weight != FLOAT_BITS
    ]
    if nameless:
        return (
            "GGUF has no tensor for these layers, whose names are none of those that language "
            f"models from Hugging Face have: {some(nameless)}. Leave them at 32 bits."
        )
    for name, sharing in by_tensor(layers).items():
        widths = {bits[layer.name].weight: layer.name for layer in sharing}
        if len(widths) > 1:
            (one, first), (other, second) = list(widths.items())[:2]
            return (
                f"{len(sharing)} layers are one tensor there, {name}: {shortened(first)} has "
                f"{width_words(one)}, {shortened(second)} {width_words(other)}. Tie their weights."
            )
    reason = unfit(config, {each.weight for each in bits.values()}, INPUTS)
    return None if reason is None else f"{reason} llama.cpp rounds inputs to 8 bits by itself."


def types(config: BitConfig) -> dict[str, TensorType]:
    """Name of a tensor to its type, in the order of the network's layers."""
    return {
        name: type_for(config.allocation[layers[0].name].weight, row_of(layers[0]))
        for name, layers in by_tensor(config.model.layers).items()
    }


def render(config: BitConfig) -> bytes:
    """One line a tensor: a pattern that its whole name matches, "=", a type."""
    lines = [f"^{re.escape(name)}$={kind.name}" for name, kind in types(config).items()]
    return ("\n".join(lines) + "\n").encode()


def report(config: BitConfig) -> Mapping[str, Any]:
    """Bits that a weight takes in the file, scales included, and what is stored wider."""
    chosen = types(config)
    widened: dict[str, str] = {}
    taken = weights = 0
    for name, layers in by_tensor(config.model.layers).items():
        kind, width = chosen[name], config.allocation[layers[0].name].weight
        left = UNTOUCHED.fullmatch(name) is not None
        count = sum(layer.weights for layer in layers)
        taken += 4 * count if left else kind.bytes_of(count)
        weights += count
        if left and not is_float_width(width):
            why = f"{width_words(width)} stay float: llama-quantize leaves {name} as it is"
        elif kind.width != without_groups(width):
            why = f"{width_words(width)} as {kind.name}, {kind.bits_per_weight:g} bits a weight"
        else:
            continue
        widened |= {layer.name: why for layer in layers}
    return {"bits_per_weight": 8 * taken / weights, "weight_bytes": taken, "widened": widened}


EXPORT = Export(
    "gguf",
    "llama-quantize (GGUF tensor types)",
    ".tensor-types.txt",
    "text/plain",
    render,
    carries=carries,
    report=report,
    runs_in="llama.cpp",
    note="Types of GGUF for the weights of language models: llama-quantize --tensor-type-file FILE "
    "float.gguf out.gguf q8_0, where q8_0 is for tensors that are no layers here. The smallest "
    "type that holds a layer's bits and fits its rows; llama.cpp finds its own scales.",
)
