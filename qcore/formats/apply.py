"""Gives a float network the bits, scales and biases of a configuration."""

import copy
from typing import Any

import torch
from torch import nn

from qcore.errors import InvalidConfig, InvalidData
from qcore.example_inputs import example_for
from qcore.formats.config import BitConfig, check_fits
from qcore.formats.exports.templates.common import in_float, unwrapped
from qcore.network.layers import find_layers
from qcore.network.rewriting import expose_layers
from qcore.ptq.model import QuantizedModel
from qcore.trees import shown


def apply_bits(model: nn.Module, config: BitConfig, *, same_weights: bool = True) -> QuantizedModel:
    """Quantize a float model as a configuration says, with the very state that was measured.

    Args:
        model: The float model with its trained weights; copied, not changed. It may be in the
            wrappers of torch (compiled, DataParallel, averaged weights, a Sequential of it alone):
            what is inside is quantized. Other types of floats are turned into float32, as they
            were when the network was added.
        config: From `load_bits`.
        same_weights: Refuse a model whose weights differ from the measured ones. Pass False for a
            model trained on since; then its accuracy is not the one in the file.

    Returns:
        A module whose logits are those measured, in inference mode and float32.

    Raises:
        InvalidConfig: missing or unexpected layers, by name, other weights, or a network that is
            quantized already, scripted, or cannot run on the inputs of the configuration's.
    """
    _refuse_others(model)
    # not by what a script of the same process may have brought along
    network = unwrapped(model, (*config.model.names, *config.norms.values()), expose_layers)
    rounded = ""
    others = any(p.is_floating_point() and p.dtype != torch.float32 for p in network.parameters())
    if others or any(part._compiled_call_impl is not None for part in network.modules()):
        network = copy.deepcopy(network)
        rounded = in_float(network)
    example, wanted = example_for(config.model, 1), config.model
    try:
        found = find_layers(network, example, wanted.name, wanted.inputs)
    except InvalidData as error:
        raise InvalidConfig(
            f"The configuration is for {config.model.name!r}, whose inputs are "
            f"{shown(example, ' x ')} numbers; this model cannot run on them, so it is "
            f"another one: {str(error).partition(' Use inputs')[0]}"
        ) from error
    try:
        check_fits(config, found.spec, same_weights=same_weights)
    except InvalidConfig as error:
        if rounded and found.spec.names == config.model.names:
            raise InvalidConfig(
                f"{error} They were rounded to {rounded}: give the model before that."
            ) from error
        raise
    quantized = QuantizedModel(network, found)
    quantized.load_state(config.allocation, config.state)
    return quantized


def _refuse_others(model: Any) -> None:
    """Raise for what is no float network.

    Raises:
        InvalidConfig: says what it is and what to give instead.
    """
    if not isinstance(model, nn.Module):
        inside = [name for name, value in getattr(model, "__dict__", {}).items()
                  if isinstance(value, nn.Module)]  # fmt: skip
        hint = f" Give it what is in it: {', '.join(inside)}." if inside else ""
        raise InvalidConfig(
            f"apply_bits takes a torch.nn.Module; got {type(model).__name__}.{hint}"
        )
    if any(isinstance(part, QuantizedModel) for part in model.modules()):
        raise InvalidConfig(
            "This model is quantized already. Give apply_bits the float model it was made from."
        )
    if any(isinstance(part, torch.jit.ScriptModule) for part in model.modules()):
        raise InvalidConfig(
            "This model is scripted or traced by torch.jit, so that its layers cannot be replaced. "
            "Give apply_bits the model before that."
        )
    if any(parameter.is_meta for parameter in model.parameters()):
        raise InvalidConfig(
            "This model is on the meta device, where weights have no numbers. Load its weights "
            "first."
        )
