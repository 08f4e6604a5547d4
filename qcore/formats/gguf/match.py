"""Which tensor of a GGUF file each layer of a network is, and what they take. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from qcore.allocation import LayerSpec, ModelSpec
from qcore.errors import InvalidConfig
from qcore.formats.exports.widths import shortened, some
from qcore.formats.gguf.header import Head, Tensor
from qcore.formats.gguf.names import EMBEDDING, OUTPUT, by_tensor, row_of
from qcore.formats.gguf.types import BY_NUMBER, TensorType


@dataclass(frozen=True, slots=True)
class Stored:
    """How a file stores a network.

    Attributes:
        types: Layer name to the type of its tensor; layers that GGUF has no tensor for are missing.
        shared: Layers whose weight is another's tensor there: a head that is the embedding.
        bytes: What the tensors of those layers take, scales included.
        weights: How many weights the file holds for them.
    """

    types: Mapping[str, TensorType]
    shared: tuple[str, ...]
    bytes: int
    weights: int

    @property
    def bits_per_weight(self) -> float:
        """Bits that a weight of these layers takes in the file, scales included."""
        return 8 * self.bytes / self.weights


def stored(head: Head, model: ModelSpec) -> Stored:
    """Find a network's layers in a file.

    Raises:
        InvalidConfig: the file lacks layers, has other sizes, or a type that is not known.
    """
    tensors = {tensor.name: tensor for tensor in head.tensors}
    wanted = by_tensor(model.layers)
    if not wanted:
        raise InvalidConfig(
            f"None of the layers of {model.name} has a name in GGUF, as language models from "
            f"Hugging Face have; the first is {shortened(model.names[0])}. Choose the network the "
            "file was made from."
        )
    shared = wanted.get(OUTPUT, []) if OUTPUT not in tensors and EMBEDDING in tensors else []
    missing = [name for name in wanted if name not in tensors and not (shared and name == OUTPUT)]
    if missing:
        raise InvalidConfig(
            f"The GGUF file lacks {len(missing)} of the {len(wanted)} tensors of {model.name}: "
            f"{some(missing)}.{_parts(head)} Choose the network the file was made from."
        )
    types: dict[str, TensorType] = {}
    taken = weights = 0
    for name, layers in wanted.items():
        tensor = tensors[EMBEDDING if shared and name == OUTPUT else name]
        _refuse_other_size(tensor, layers, model)
        kind = _known(tensor)
        types |= dict.fromkeys((layer.name for layer in layers), kind)
        if tensor.name == name or EMBEDDING not in wanted:
            taken += kind.bytes_of(tensor.weights)
            weights += tensor.weights
    return Stored(types, tuple(layer.name for layer in shared), taken, weights)


def _parts(head: Head) -> str:
    parts = head.said.get("split.count")
    more = isinstance(parts, int) and parts > 1
    return f" It is one of {parts} parts: join them with llama-gguf-split." if more else ""


def _known(tensor: Tensor) -> TensorType:
    if tensor.type not in BY_NUMBER:
        raise InvalidConfig(
            f"Tensor {tensor.name} of the GGUF file has type {tensor.type}, which is not known "
            "here. Quantize it with types that are, such as q4_K."
        )
    kind = BY_NUMBER[tensor.type]
    if tensor.shape and tensor.shape[0] % kind.block:
        raise InvalidConfig(
            f"Tensor {tensor.name} of the GGUF file has rows of {tensor.shape[0]:,} weights, no "
            f"whole blocks of {kind.block} as {kind.name} has. Is the file damaged?"
        )
    return kind


def _refuse_other_size(tensor: Tensor, layers: list[LayerSpec], model: ModelSpec) -> None:
    """Raise where a tensor has other sizes; vocabularies may have been made longer or shorter."""
    wanted, row = sum(layer.weights for layer in layers), row_of(layers[0])
    vocabulary = tensor.name in (EMBEDDING, OUTPUT)
    fits = bool(tensor.shape) and tensor.shape[0] == row
    if fits and (tensor.weights == wanted or (vocabulary and tensor.weights > 0)):
        return
    sizes = " x ".join(f"{size:,}" for size in tensor.shape) or "1"
    raise InvalidConfig(
        f"Tensor {tensor.name} of the GGUF file has {sizes} weights, and layer "
        f"{shortened(layers[0].name)} of {model.name} has {wanted:,} in rows of {row:,}. "
        "Choose the network the file was made from."
    )
