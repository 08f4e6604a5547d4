"""What a model's layers are, and how many bits each of them gets. Torch-free.

A `LayerSpec` is a fact about a layer, a `ModelSpec` the facts about a model, a `LayerBits` one
layer's two bit-widths and a `BitAllocation` the choice for every layer, keyed by layer name.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import Any

from qcore.errors import InvalidAllocation, InvalidBits
from qcore.inputs import Input
from qcore.widths import (
    BFLOAT16,
    BIT_WIDTHS,
    FLOAT16,
    FLOAT_BITS,
    GROUPED_WIDTHS,
    HALF_WIDTHS,
    SHOWN,
    WEIGHT_WIDTHS,
    WIDTHS_IN_WORDS,
    holds,
    in_order,
    is_float_width,
    is_written_width,
    parse_width,
    stored_bits,
    stored_matrix,
    width_json,
    width_order,
    width_text,
    width_words,
)

__all__ = [
    "BFLOAT16",
    "BIT_WIDTHS",
    "BitAllocation",
    "FLOAT16",
    "FLOAT_BITS",
    "GROUPED_WIDTHS",
    "HALF_WIDTHS",
    "LayerBits",
    "LayerSpec",
    "ModelSpec",
    "SHOWN",
    "WEIGHT_WIDTHS",
    "holds",
    "in_order",
    "is_float_width",
    "parse_width",
    "stored_bits",
    "stored_matrix",
    "width_json",
    "width_order",
    "width_text",
    "width_words",
]


@dataclass(frozen=True, slots=True)
class LayerSpec:
    """One quantizable layer, as facts; no tensors.

    Attributes:
        name: Dotted module path, the key everywhere ("layer1.0.conv1").
        kind: "conv1d", "conv2d", "conv3d", "conv_transpose1d" .. "3d", "linear", "recurrent" (one
            matrix of an LSTM, GRU or RNN, a linear layer that runs at every step), "embedding", or
            "tied_embedding" (one whose rows are also the weights of a linear layer).
        weights: Weight elements, bias excluded.
        channels: Output channels, of an embedding its rows; one weight scale each.
        biases: Bias elements once a following batch-norm is folded into the layer.
        macs: Multiply-accumulates for one input sample.
        inputs: Input activation elements for one sample; 0 for an embedding, whose ids are none.
        outputs: Output activation elements for one sample.
        in_channels: Input channels (features of a linear layer; 1 for an embedding).
        groups: Convolution groups; equal to the input channels in a depthwise layer.
        producers: Names of the layers whose outputs reach this layer's input, through any
            pooling, norm, activation function or addition; empty for the network's input.
        consumers: Names of the layers that read this layer's output in the same sense.
        tensor: Names the tensor it reads: layers with the same name read the same values; "" where
            that is not known, and where it runs several times.
        stream: Names what that tensor is added to or comes from by additions, such as a residual
            stream; "" where it is no part of an addition.
        follows: Names the layer whose output it reads with nothing between but what an integer
            runtime applies to codes (a norm that folds, ReLU, max pooling, another shape), and that
            nothing but layers reads; "" where there is none.
        counted: False where its input is counted at a tied layer that reads the same tensor: it is
            quantized once, and in memory once.
        network_weights: Weights of all layers of the network it is one of, which its `ModelSpec`
            fills in; 0 for a layer alone. No fact about the layer: equality ignores it.
    """

    name: str
    kind: str
    weights: int
    channels: int
    biases: int
    macs: int
    inputs: int
    outputs: int
    in_channels: int = 1
    groups: int = 1
    producers: tuple[str, ...] = ()
    consumers: tuple[str, ...] = ()
    tensor: str = ""
    stream: str = ""
    follows: str = ""
    counted: bool = True
    network_weights: int = field(default=0, compare=False, repr=False)

    @property
    def looks_up(self) -> bool:
        """True for an embedding: it multiplies nothing, and has no input that could have bits."""
        return self.kind == "embedding"

    @property
    def row(self) -> int:
        """Weights of one channel, which share a scale where a width has no groups."""
        return self.weights // max(1, self.channels)

    @property
    def depthwise(self) -> bool:
        """True where each output channel reads only its own input channel."""
        return self.groups > 1 and self.groups == self.in_channels


@dataclass(frozen=True)
class ModelSpec:
    """The facts about a model that costs, searches and pages need; torch-free and pure JSON.

    Attributes:
        name: Name it was built by, a key of MODELS.
        digest: 64 hex digits of SHA-256 over its weights: names, types, shapes and bytes.
        layers: Quantizable layers in execution order.
        left_in_float: Parameter name to element count of what stays in float (not counting
            batch-norms folded into a layer).
        warnings: One sentence for each layer that never ran or weight out of reach.
        input_shape: Shape of one input sample, (channels, height, width).
        classes: Number of outputs.
        inputs: What it takes where that is no image; () for one image.
        defined: The layers' names in the order in which the network defines its modules
            (`named_modules`), which formats without names go by; () where it is not known, as in
            files from before it was kept.
    """

    name: str
    digest: str
    layers: tuple[LayerSpec, ...]
    left_in_float: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    input_shape: tuple[int, ...] = (1, 28, 28)
    classes: int = 10
    inputs: tuple[Input, ...] = ()
    defined: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # a file may say anything, and is refused in words later
        total = sum(layer.weights for layer in self.layers if isinstance(layer.weights, int))
        layers = tuple(replace(layer, network_weights=total) for layer in self.layers)
        object.__setattr__(self, "layers", layers)

    @property
    def coverage(self) -> float:
        """Share of weights (0..1) that are under a bit-width; biases do not count."""
        covered = sum(layer.weights for layer in self.layers)
        return covered / max(1, covered + sum(self.left_in_float.values()))

    def why_float(self, parameter: str) -> str:
        """Why a parameter stays in float: the warning that names it, or what kind it is."""
        owner, _, leaf = parameter.rpartition(".")
        for sentence in self.warnings:
            if sentence.startswith((f"{parameter} ", f"{owner} ")):
                return sentence
        if leaf == "bias":
            return "a bias: too small to matter"
        return "not a weight of a layer that gets bits (a norm, a position, a scale)"

    @property
    def names(self) -> tuple[str, ...]:
        """Layer names in execution order."""
        return tuple(layer.name for layer in self.layers)

    def sharing(self, groups: Iterable[Sequence[str]]) -> "ModelSpec":
        """The model whose tied layers count a tensor once that several of them read.

        Args:
            groups: Names of layers whose activations are tied, a group for each tie.
        """
        place = {layer.name: at for at, layer in enumerate(self.layers)}
        layers = list(self.layers)
        for group in groups:
            seen: set[str] = set()
            for at in sorted(place[name] for name in group if name in place):
                tensor = layers[at].tensor
                if tensor and tensor in seen:
                    layers[at] = replace(layers[at], counted=False)
                seen.add(tensor)
        return self if tuple(layers) == self.layers else replace(self, layers=tuple(layers))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data; `ModelSpec.from_json` reads it back."""
        document = {"version": 1, **asdict(self)}
        for layer in document["layers"]:
            for key, usual in (("tensor", ""), ("stream", ""), ("follows", ""), ("counted", True)):
                if layer[key] == usual:
                    del layer[key]
        # files of image networks stay as they always were
        document.pop("inputs")
        for layer in document["layers"]:
            layer.pop("network_weights")
        if not self.defined:
            document.pop("defined")
        inputs = {"inputs": [each.to_json() for each in self.inputs]} if self.inputs else {}
        return document | inputs

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ModelSpec":
        """Read what `to_json` wrote."""
        layers = tuple(
            LayerSpec(
                **{
                    **layer,
                    "producers": tuple(layer["producers"]),
                    "consumers": tuple(layer["consumers"]),
                }
            )
            for layer in data["layers"]
        )
        return cls(
            name=data["name"],
            digest=data["digest"],
            layers=layers,
            left_in_float=dict(data["left_in_float"]),
            warnings=tuple(data["warnings"]),
            input_shape=tuple(data["input_shape"]),
            classes=data["classes"],
            inputs=tuple(Input.from_json(each) for each in data.get("inputs", ())),
            defined=tuple(data.get("defined", ())),
        )


@dataclass(frozen=True, slots=True)
class LayerBits:
    """Bit-widths of one layer; the narrower weights come first, then the narrower activations.

    Attributes:
        weight: Width of its weights, one of WEIGHT_WIDTHS.
        activation: Width of its input activation, one of BIT_WIDTHS.

    Raises:
        InvalidBits: a value is none of them.
    """

    weight: int
    activation: int = FLOAT_BITS

    def __post_init__(self) -> None:
        for what, bits, known in (
            ("weight", self.weight, WEIGHT_WIDTHS),
            ("activation", self.activation, BIT_WIDTHS),
        ):
            if isinstance(bits, bool) or not isinstance(bits, int) or bits not in known:
                shown = width_text(bits) if bits in GROUPED_WIDTHS else bits
                raise InvalidBits(
                    f"{what} bits must be a whole number from 1 to 16, fp16, bf16, or 32 for "
                    f"float{', or such as 4g64' if known is WEIGHT_WIDTHS else ''}; got {shown!r}."
                )

    def __lt__(self, other: "LayerBits") -> bool:
        return self._order < other._order

    @property
    def _order(self) -> tuple[float, float]:
        return width_order(self.weight), width_order(self.activation)

    @property
    def text(self) -> str:
        """Both widths, as messages write them: "4/8", "fp16/float"."""
        return f"{width_text(self.weight)}/{width_text(self.activation)}"


# typed, or True would be taken for the 1 that is known already
@lru_cache(maxsize=1024, typed=True)
def _layer_bits(weight: int | str, activation: int | str) -> LayerBits:
    return LayerBits(_read(weight), _read(activation))


def _read(width: int | str) -> int:
    """A width of a file: numbers stay numbers, and digits in quotes are none."""
    coded = width in HALF_WIDTHS or width in GROUPED_WIDTHS
    if coded or (isinstance(width, str) and not is_written_width(width)):
        raise InvalidBits(f"A width must be {WIDTHS_IN_WORDS}; got {width!r}.")
    # anything else that is no width is refused where both are known
    return parse_width(width) if isinstance(width, str) else width


class BitAllocation(Mapping[str, LayerBits]):
    """Bit-widths of every layer: an immutable, hashable mapping from layer name.

    Order is the model's execution order. Two allocations are equal when every layer has the same
    bits, whatever their order.

    Example:
        >>> BitAllocation({"conv1": LayerBits(8, 8), "fc": LayerBits(4, 8)})["fc"].weight
        4
    """

    __slots__ = ("_bits", "_digest")

    def __init__(self, bits: Mapping[str, LayerBits]) -> None:
        self._bits = dict(bits)
        self._digest: str | None = None

    def __getitem__(self, name: str) -> LayerBits:
        return self._bits[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._bits)

    def __len__(self) -> int:
        return len(self._bits)

    def __hash__(self) -> int:
        return hash(self.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BitAllocation) and self._bits == other._bits

    def __repr__(self) -> str:
        inside = ", ".join(f"{n}: {b.text}" for n, b in self._bits.items())
        return f"BitAllocation({inside})"

    @property
    def digest(self) -> str:
        """16 hex digits that name this allocation."""
        if self._digest is None:
            # only when asked for: pages read thousands of allocations and name few
            text = json.dumps([[n, b.weight, b.activation] for n, b in sorted(self._bits.items())])
            self._digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        return self._digest

    @classmethod
    def uniform(
        cls, layers: Iterable[LayerSpec], weight: int, activation: int = FLOAT_BITS
    ) -> "BitAllocation":
        """Give every layer the same bits; inputs of embeddings stay in float."""
        bits, rows = LayerBits(weight, activation), LayerBits(weight)
        return cls({layer.name: rows if layer.looks_up else bits for layer in layers})

    def with_float_ids(self, layers: Iterable[LayerSpec]) -> "BitAllocation":
        """Return it with the inputs of embeddings in float, as other tools' files may not have."""
        ids = {layer.name for layer in layers if layer.looks_up}
        return BitAllocation(
            {name: LayerBits(b.weight) if name in ids else b for name, b in self._bits.items()}
        )

    def replace(self, name: str, bits: LayerBits) -> "BitAllocation":
        """Return a copy in which one layer has other bits.

        Raises:
            InvalidAllocation: the allocation has no layer of this name.
        """
        if name not in self._bits:
            raise InvalidAllocation(f"There is no layer named {name!r} in this allocation.")
        return BitAllocation({**self._bits, name: bits})

    def to_json(self) -> dict[str, list[int | str]]:
        """Return {layer name: [weight bits, activation bits]}; "fp16" and "4g64" as texts."""
        return {
            name: [width_json(bits.weight), width_json(bits.activation)]
            for name, bits in self._bits.items()
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], digest: str | None = None) -> "BitAllocation":
        """Read what `to_json` wrote.

        Args:
            data: Layer name to [weight bits, activation bits]; numbers, or texts such as "fp16".
            digest: Its digest where that is known already; None computes it when asked for.

        Raises:
            InvalidAllocation: a value is not a pair.
            InvalidBits: a bit-width is out of range.
        """
        bits = {}
        for name, pair in data.items():
            if not isinstance(pair, (list, tuple)) or len(pair) != 2:
                raise InvalidAllocation(
                    f"Layer {name!r} needs [weight bits, activation bits]; got {pair!r}."
                )
            try:
                bits[name] = _layer_bits(*pair)
            except TypeError as error:
                # lists and dicts cannot be looked up, and are no bits
                raise InvalidBits(
                    f"Layer {name!r} needs two whole numbers of bits; got {pair!r}."
                ) from error
        made = cls(bits)
        made._digest = digest
        return made

    def check_names(self, layers: Iterable[LayerSpec]) -> None:
        """Raise unless this allocation names exactly these layers, and each can have its bits.

        Raises:
            InvalidAllocation: layers are missing or unknown, or the input of an embedding has bits;
                the message lists them.
        """
        layers = tuple(layers)
        wanted = [layer.name for layer in layers]
        known = set(wanted)
        missing = [name for name in wanted if name not in self._bits]
        unknown = [name for name in self._bits if name not in known]
        if missing or unknown:
            parts = []
            if missing:
                parts.append(f"missing layers: {', '.join(missing)}")
            if unknown:
                parts.append(f"unexpected layers: {', '.join(unknown)}")
            raise InvalidAllocation(
                f"The allocation does not fit this model; {'; '.join(parts)}. "
                "Use an allocation made for this model."
            )
        for layer in layers:
            if layer.looks_up and self._bits[layer.name].activation != FLOAT_BITS:
                raise InvalidAllocation(
                    f"Layer {layer.name!r} is an embedding: it looks rows up by whole numbers and "
                    "has no input to quantize, but has "
                    f"{width_text(self._bits[layer.name].activation)} activation bits. "
                    f"Give it {FLOAT_BITS}, which means float."
                )
