"""An embedding and a linear layer that share one weight, as one module at both places.

Language models look ids up in the very rows that their head multiplies with (Press and Wolf, EACL
2017). Two modules would be two layers with one weight; this is one layer, with one set of codes.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

_TRIED = 8
"""Rows that an embedding's own forward pass is tried on."""


class TiedEmbedding(nn.Linear):
    """Looks ids up, and multiplies features with the same rows.

    Args:
        embedding: A plain nn.Embedding, or one that scales its rows; its weight is shared.
        linear: A plain nn.Linear with the same weight; its bias is shared.

    Attributes:
        scale: What rows that are looked up are multiplied with; those of the product are not.
    """

    def __init__(self, embedding: Any, linear: Any) -> None:
        super().__init__(1, 1, bias=False, device="meta")
        self.out_features, self.in_features = embedding.weight.shape
        self.num_embeddings, self.embedding_dim = embedding.weight.shape
        self.padding_idx = embedding.padding_idx
        self.scale = row_scale(embedding)
        self.weight, self.bias = embedding.weight, linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """Map ids of any shape to (..., features), or features (..., features) to (..., rows)."""
        return tied_call(x, self.weight, self.bias, self.padding_idx, self.scale)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Load a state dict of the two as well: the embedding's place has no bias there."""
        if self.bias is not None:
            state_dict.setdefault(f"{prefix}bias", self.bias.detach())
        super()._load_from_state_dict(state_dict, prefix, *rest)


def tied_call(
    x: Tensor, weight: Tensor, bias: Tensor | None, padding: int | None, scale: float | None
) -> Tensor:
    """The rows of ids, times `scale` if any, or the product of features with all rows."""
    if x.is_floating_point():
        return functional.linear(x, weight, bias)
    rows = functional.embedding(x, weight, padding)
    return rows if scale is None else rows * scale


@torch.no_grad()
def row_scale(embedding: Any) -> float | None:
    """What an embedding with a forward pass of its own multiplies its rows with.

    Networks such as Gemma scale what they look up and nothing else: the class keeps the factor as
    `embed_scale`. None where there is no such factor, or the forward pass does something else.
    """
    found = getattr(embedding, "embed_scale", None)
    if isinstance(found, Tensor):
        found = float(found) if found.numel() == 1 and not found.is_meta else None
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    weight = embedding.weight
    if weight.is_meta:
        return None
    ids = torch.arange(min(_TRIED, len(weight)), device=weight.device)[None]
    try:
        got = embedding(ids)
    except (TypeError, ValueError, RuntimeError, IndexError):
        return None
    return float(found) if torch.equal(got, weight[ids] * found) else None
