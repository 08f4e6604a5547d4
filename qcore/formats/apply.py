"""Gives a float network the bits, scales and biases of a configuration."""

from torch import nn

from qcore.data.samples import example_for
from qcore.formats.config import BitConfig, check_fits
from qcore.network.layers import find_layers
from qcore.ptq.model import QuantizedModel


def apply_bits(model: nn.Module, config: BitConfig, *, same_weights: bool = True) -> QuantizedModel:
    """Quantize a float model as a configuration says, with the very state that was measured.

    Args:
        model: The float model with its trained weights; copied, not changed.
        config: From `load_bits`.
        same_weights: Refuse a model whose weights differ from the measured ones. Pass False for a
            model trained on since; then its accuracy is not the one in the file.

    Returns:
        A module whose logits are those measured, in inference mode.

    Raises:
        InvalidConfig: missing or unexpected layers, by name, or other weights.
    """
    example = example_for(config.model, 1)
    found = find_layers(model, example, config.model.name, config.model.inputs)
    check_fits(config, found.spec, same_weights=same_weights)
    quantized = QuantizedModel(model, found)
    quantized.load_state(config.allocation, config.state)
    return quantized
