"""An embedding and a linear layer that share one weight, as one module at both places.

Language models look ids up in the very rows that their head multiplies with (Press and Wolf, EACL
2017). Two modules would be two layers with one weight; this is one layer, with one set of codes.
"""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional


class TiedEmbedding(nn.Linear):
    """Looks ids up, and multiplies features with the same rows.

    Args:
        embedding: A plain nn.Embedding; its weight is shared.
        linear: A plain nn.Linear with the same weight; its bias is shared.
    """

    def __init__(self, embedding: Any, linear: Any) -> None:
        super().__init__(1, 1, bias=False, device="meta")
        self.out_features, self.in_features = embedding.weight.shape
        self.num_embeddings, self.embedding_dim = embedding.weight.shape
        self.padding_idx = embedding.padding_idx
        self.weight, self.bias = embedding.weight, linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """Map ids of any shape to (..., features), or features (..., features) to (..., rows)."""
        return tied_call(x, self.weight, self.bias, self.padding_idx)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Load a state dict of the two as well: the embedding's place has no bias there."""
        if self.bias is not None:
            state_dict.setdefault(f"{prefix}bias", self.bias.detach())
        super()._load_from_state_dict(state_dict, prefix, *rest)


def tied_call(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int | None) -> Tensor:
    """The rows of ids, or the product of features with all rows."""
    if x.is_floating_point():
        return functional.linear(x, weight, bias)
    return functional.embedding(x, weight, padding)
