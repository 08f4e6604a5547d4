"""What bits cost in a GGUF file, as a price that solvers take. Torch-free."""

from qcore.allocation import LayerBits, LayerSpec, ModelSpec
from qcore.costs.formulas import CostModel
from qcore.formats.gguf.match import Stored
from qcore.formats.gguf.names import UNTOUCHED, row_of, tensor_name
from qcore.formats.gguf.types import TYPES, type_for

FLOAT = TYPES["f32"]


def layer_bytes(layer: LayerSpec, bits: LayerBits) -> int:
    """Bytes of a layer in the type that llama-quantize is told for its bits, scales included."""
    name = tensor_name(layer.name)
    if name is None or UNTOUCHED.fullmatch(name):
        return FLOAT.bytes_of(layer.weights)
    return type_for(bits.weight, row_of(layer)).bytes_of(layer.weights)


GGUF_BYTES = CostModel(
    "gguf_bytes",
    "Weights in a GGUF file",
    "B",
    layer_bytes,
    formula="bytes of the smallest type that holds the bits and fits the rows, scales included",
    of_weights=True,
)
"""Not one of COSTS: it means something for language models alone."""


def stored_bytes(found: Stored, model: ModelSpec) -> int:
    """What the layers take in the types of a file, each layer counted, comparable to GGUF_BYTES.

    A head that reads the embedding's tensor counts as if it had its own, on both sides.
    """
    return sum(
        found.types[layer.name].bytes_of(layer.weights)
        if layer.name in found.types
        else FLOAT.bytes_of(layer.weights)
        for layer in model.layers
    )
