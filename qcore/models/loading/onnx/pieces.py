"""Runs a network that takes one sample at a time on any number of them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class OneByOne(nn.Module):
    """A network whose batch size is one, given each sample on its own.

    Args:
        network: Takes (1, ...) and returns (1, ...): a tensor, or names to tensors.
        names: Of its inputs, in order.
    """

    def __init__(self, network: nn.Module, names: list[str]) -> None:
        super().__init__()
        self.network = network
        self._names = tuple(names)

    def forward(self, *inputs: Tensor, **named: Tensor) -> Any:
        """Inputs (n, ...) in order or by name; what the network returns, (n, ...)."""
        columns = inputs or tuple(named[name] for name in self._names)
        rows = [
            self.network(*(column[at : at + 1] for column in columns))
            for at in range(len(columns[0]))
        ]
        if isinstance(rows[0], Mapping):
            return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}
        return torch.cat(rows)
