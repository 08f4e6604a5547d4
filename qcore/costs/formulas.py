"""What a cost model is, and the formulas: exact integers of (layer, bits). Torch-free.

Weights in memory words hold as many whole values as fit into a word, none split: Klhufek et al.,
Exploring Quantization and Mapping Synergy in Hardware-Aware Deep Neural Network Accelerators, 2024,
section 3: v = floor(word / bits) values a word. Most processors load words, so some bit-widths cost
alike: in 16-bit words 6, 7 and 8 bits all go two to a word.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from qcore.allocation import LayerBits, LayerSpec, ModelSpec, is_float_width, stored_bits
from qcore.widths import group_inputs, groups_of

UNPRICED = 10**15
"""Price of bits that a table has no row for: more than any limit, and never shown as a cost."""

SCALE_BYTES = 4
GROUP_SCALE_BYTES = 2
"""Of the scale of a group of inputs, a bfloat16."""
BIAS_BYTES = 4
FLOAT_BYTES = 4

MICROBITS = 10**6
"""A bit in the unit of what a weight takes on the average: a mean is kept as a whole number too."""

LARGER = {
    "B": ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")),
    "ns": ((10**9, "s"), (10**6, "ms"), (10**3, "µs")),
    "pJ": ((10**12, "J"), (10**9, "mJ"), (10**6, "µJ"), (10**3, "nJ")),
    "µbit": ((MICROBITS, "bits"),),
}
"""Larger units of a unit, largest first."""

ALWAYS_LARGER = ("µbit",)
"""Units that nobody reads: their values are shown in the next larger one, however small."""

PREFIXES = ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))


@dataclass(frozen=True, slots=True)
class CostModel:
    """One price of an allocation.

    Attributes:
        name: Key in COSTS; carries the unit.
        title: What axes and sliders call it.
        unit: Unit of its values: "B", "µbit", "bit-ops", "pJ", "cycles", or the "ns" of a user's
            table.
        layer_cost: Price of one layer at given bits, a whole number in the unit; never negative.
            Formulas never fall when a bit-width rises within 1..16 (floats need no scales, so fp16
            and 32 bits of a tiny layer may cost less on disk than 8; scales of groups add to it).
            What a user measured may: no solver relies on it. UNPRICED where a table cannot tell.
        reduce: How layers combine.
        per_float_parameter: What each parameter left in float adds, in the unit.
        constant: The part no bit-width changes, where it is not the same for each such parameter.
        formula: The formula, in ASCII, with its source.
        refuses: Why a model has no such cost, or None where it has.
        looked_up: True where values come from a table that may be measured anew.
        smooth: (layer, weight bits, activation bits) to the price without rounding, for bits that
            need not be whole: plain numbers, or tensors of shape () whose gradient it keeps. What
            a search that learns bits by gradient feels; None where there is no such form.
        rounding: Most that `smooth` is from `layer_cost` for a layer at whole bits, in the unit.
        tested: Whether the front against it is measured on the test split: "always", or "inputs"
            where activations are quantized.
        larger: Units for large values, largest first, such as ((1024, "KiB"),); () is what its
            unit usually has, else k, M, G and T before it.
        of_weights: Whether it is a size of weights, so that bits per weight say how large.
        derived: Whether it says what another cost says in other words; files leave it out.
    """

    name: str
    title: str
    unit: str
    layer_cost: Callable[[LayerSpec, LayerBits], int]
    reduce: Literal["sum", "max"] = "sum"
    per_float_parameter: int = 0
    constant: Callable[[ModelSpec], int] | None = None
    formula: str = ""
    refuses: Callable[[ModelSpec], str | None] = lambda model: None
    looked_up: bool = False
    smooth: Callable[[LayerSpec, Any, Any], Any] | None = None
    rounding: Callable[[LayerSpec, LayerBits], float] = lambda layer, bits: 0.0
    tested: Literal["", "always", "inputs"] = ""
    larger: tuple[tuple[int, str], ...] = ()
    of_weights: bool = False
    derived: bool = False

    def total(self, model: ModelSpec, allocation: Mapping[str, LayerBits]) -> int:
        """Price an allocation of this model, in `unit`."""
        prices = [self.layer_cost(layer, allocation[layer.name]) for layer in model.layers]
        combined = max(prices, default=0) if self.reduce == "max" else sum(prices)
        return combined + self.fixed(model)

    def fixed(self, model: ModelSpec) -> int:
        """The part no bit-width changes, in `unit`."""
        if self.constant is not None:
            return self.constant(model)
        return self.per_float_parameter * sum(model.left_in_float.values())

    @property
    def scales(self) -> tuple[tuple[int, str], ...]:
        """Its larger units with their size in `unit`, largest first: ((1 << 30, "GiB"), ...)."""
        usual = LARGER.get(self.unit) or tuple((f, f"{p} {self.unit}") for f, p in PREFIXES)
        return self.larger or usual

    def scale(self, largest: float) -> tuple[float, str]:
        """The unit in which values up to `largest` read well: (factor, unit).

        Example:
            >>> CostModel("made_bytes", "Made", "B", lambda layer, bits: 1).scale(9000)
            (1024.0, 'KiB')
        """
        for factor, unit in self.scales:
            if largest >= factor or self.unit in ALWAYS_LARGER:
                return float(factor), unit
        return 1.0, self.unit


def _bytes(elements: int, bits: int) -> int:
    return -(-elements * bits // 8)


def _weight_bytes(layer: LayerSpec, bits: LayerBits) -> int:
    return _bytes(layer.weights, stored_bits(bits.weight))


def _model_bytes(layer: LayerSpec, bits: LayerBits) -> int:
    return _weight_bytes(layer, bits) + _scale_bytes(layer, bits.weight, bits.activation)


def _scale_bytes(layer: LayerSpec, weight_bits: Any, activation_bits: Any) -> int:
    """Scales and biases: the same at all widths but those of floats."""
    scales = 0 if _is_float(weight_bits) else layer.channels * _row_scale_bytes(layer, weight_bits)
    # a quantized activation carries one scale and one zero point; ids are no activation
    none = _is_float(activation_bits) or layer.looks_up or not layer.counted
    activation = 0 if none else 2 * SCALE_BYTES
    return scales + layer.biases * BIAS_BYTES + activation


def _row_scale_bytes(layer: LayerSpec, weight_bits: Any) -> int:
    # bits that need not be whole have no groups, and are tensors at times
    if not isinstance(weight_bits, int) or not group_inputs(weight_bits):
        return SCALE_BYTES
    return groups_of(weight_bits, layer.row) * GROUP_SCALE_BYTES


def _microbits(bytes_: int, weights: int) -> int:
    return -(-8 * MICROBITS * bytes_ // max(1, weights))


def _bits_per_weight(layer: LayerSpec, bits: LayerBits) -> int:
    """A layer's share of the mean over its network, in millionths of a bit, rounded up."""
    return _microbits(_model_bytes(layer, bits), layer.network_weights or layer.weights)


def _float_per_weight(model: ModelSpec) -> int:
    """The same of the parameters left in float."""
    left = FLOAT_BYTES * sum(model.left_in_float.values())
    return _microbits(left, sum(layer.weights for layer in model.layers))


def _is_float(bits: Any) -> bool:
    # a tensor of bits is compared by its value
    return is_float_width(int(bits)) if bits == int(bits) else False


def _bit_ops(layer: LayerSpec, bits: LayerBits) -> int:
    return layer.macs * stored_bits(bits.weight) * stored_bits(bits.activation)


def _activation_bytes(layer: LayerSpec, bits: LayerBits) -> int:
    return _bytes(layer.inputs, stored_bits(bits.activation)) if layer.counted else 0


def _size(bits: Any) -> Any:
    """Bits of a value; those that need not be whole are their own."""
    return stored_bits(bits) if isinstance(bits, int) else bits


def smooth_weight_bytes(layer: LayerSpec, weight_bits: Any, activation_bits: Any) -> Any:
    """Bytes of a layer's weights, not rounded up: less than a byte below the exact price."""
    return _size(weight_bits) * (layer.weights / 8)


def smooth_model_bytes(layer: LayerSpec, weight_bits: Any, activation_bits: Any) -> Any:
    """The same with scales and biases, which no width but float's changes."""
    rest = _scale_bytes(layer, weight_bits, activation_bits)
    return smooth_weight_bytes(layer, weight_bits, activation_bits) + rest


def smooth_bits_per_weight(layer: LayerSpec, weight_bits: Any, activation_bits: Any) -> Any:
    """The same for each weight of the network, in millionths of a bit."""
    scale = 8 * MICROBITS / max(1, layer.network_weights or layer.weights)
    return scale * smooth_model_bytes(layer, weight_bits, activation_bits)


def rounding_per_weight(layer: LayerSpec, bits: LayerBits) -> float:
    """The rounding up to a whole byte, then to a whole millionth of a bit for each weight."""
    return 8 * MICROBITS / max(1, layer.network_weights or layer.weights) + 1


def smooth_bit_ops(layer: LayerSpec, weight_bits: Any, activation_bits: Any) -> Any:
    """The exact formula; it rounds nothing."""
    return _size(weight_bits) * _size(activation_bits) * layer.macs


def smooth_activation_bytes(layer: LayerSpec, weight_bits: Any, activation_bits: Any) -> Any:
    """Bytes of a layer's input, not rounded up: less than a byte below the exact price."""
    return _size(activation_bits) * (layer.inputs / 8 if layer.counted else 0)


def below_a_byte(layer: LayerSpec, bits: LayerBits) -> float:
    """The rounding of a layer up to whole bytes."""
    return 1.0


WORDS = (16, 32, 64)
"""Widths of a word that have a cost model, bits."""


def values_per_word(bits: int, word: int) -> int:
    """Whole values of this width that fit into one word; 0 where a value needs several words.

    Example:
        >>> [values_per_word(bits, 16) for bits in (2, 3, 4, 5, 6, 7, 8)]
        [8, 5, 4, 3, 2, 2, 2]
    """
    return word // bits


def packed_bytes(values: int, bits: int, word: int) -> int:
    """Bytes of so many values in whole words; a value wider than a word takes several."""
    fitting = values_per_word(bits, word)
    words = -(-values // fitting) if fitting else values * -(-bits // word)
    return words * word // 8


def price_in_words(word: int, layer: LayerSpec, bits: LayerBits) -> int:
    """Bytes of a layer's weights in words of this width."""
    return packed_bytes(layer.weights, stored_bits(bits.weight), word)


def rounding_in_words(word: int, layer: LayerSpec, bits: LayerBits) -> float:
    """Bytes that words leave empty: bits no whole value fits into, and the last word's rest.

    Without the floor, word / bits values go into a word, and the weights take `smooth_weight_bytes`
    whatever the word: so much below the exact price, and falling with every bit also within a
    plateau, from whose end the next cheaper width could not be felt otherwise.
    """
    width = stored_bits(bits.weight)
    fitting = values_per_word(width, word)
    empty = word % width if fitting else -width % word
    return layer.weights / max(1, fitting) * empty / 8 + word / 8
