"""Linear layers whose weight is stored the other way round, as GPT-2's Conv1D, as nn.Linear."""

from typing import Any

from torch import nn


def as_linear(module: Any, rows: dict[tuple[int, int], nn.Parameter]) -> nn.Linear:
    """The linear layer that computes x W + b of a Conv1D of the library transformers.

    Args:
        module: It; its weight W is (inputs, outputs), its bias (outputs,).
        rows: Weights already turned, by id() of the parameter and -1, so that a weight that two
            modules share stays shared.

    Returns:
        A layer with the weight (outputs, inputs): a view of the module's own numbers.
    """
    weight: nn.Parameter = module.weight
    key = (id(weight), -1)
    if key not in rows:
        rows[key] = nn.Parameter(weight.detach().t(), weight.requires_grad)
    layer = nn.Linear(1, 1, bias=False, device="meta")
    layer.weight, layer.bias = rows[key], module.bias
    layer.out_features, layer.in_features = layer.weight.shape
    return layer
