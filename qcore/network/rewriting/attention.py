"""nn.MultiheadAttention with its four projections as linear layers.

PyTorch keeps the query, key and value weights in one bare parameter and hands them, and those of
the output projection, to a function: no module shows that they are used.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

PROJECTIONS = ("q_proj", "k_proj", "v_proj")
"""Query, key and value: the order of rows in nn.MultiheadAttention's in_proj_weight."""


class ExplicitAttention(nn.Module):
    """Multi-head attention whose layers are q_proj, k_proj, v_proj and out_proj.

    Takes and returns what nn.MultiheadAttention does, and its state dicts load into it. Query, key
    and value are three layers even where one parameter holds them, because they need not read the
    same input.

    Args:
        module: The nn.MultiheadAttention; its parameters are shared, in slices of rows.
        rows: Slices already made, by id() of the parameter and the first row, so that a parameter
            that two modules share stays shared.
    """

    def __init__(self, module: Any, rows: dict[tuple[int, int], nn.Parameter]) -> None:
        super().__init__()
        self.embed_dim, self.num_heads = module.embed_dim, module.num_heads
        self.head_dim, self.batch_first = module.head_dim, module.batch_first
        self.dropout, self.add_zero_attn = module.dropout, module.add_zero_attn
        for index, name in enumerate(PROJECTIONS):
            layer = nn.Linear(1, 1, bias=False, device="meta")
            if module.in_proj_weight is None:
                layer.weight = getattr(module, f"{name}_weight")
            else:
                layer.weight = _part(module.in_proj_weight, index, rows)
            if module.in_proj_bias is not None:
                layer.bias = _part(module.in_proj_bias, index, rows)
            layer.out_features, layer.in_features = layer.weight.shape
            setattr(self, name, layer)
        self.out_proj = module.out_proj
        self.bias_k, self.bias_v = module.bias_k, module.bias_v

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend; arguments, shapes and results as of nn.MultiheadAttention.

        Args:
            query: (n, targets, embed), (targets, n, embed) unless batch_first, or (targets, embed).
            key: The same with sources in place of targets; its own features.
            value: As key; its own features.
            key_padding_mask: (n, sources) or (sources,); True or -inf where a source is ignored.
            need_weights: Return the attention probabilities too.
            attn_mask: (targets, sources) or (n * heads, targets, sources).
            average_attn_weights: Probabilities are averaged over heads.
            is_causal: A hint that attn_mask is the causal mask; the mask itself is used.

        Returns:
            Output, shaped like query; probabilities (n, [heads,] targets, sources) or None.

        Raises:
            RuntimeError: is_causal without attn_mask, as in nn.MultiheadAttention.
        """
        if is_causal and attn_mask is None:
            raise RuntimeError("Need attn_mask if specifying the is_causal hint.")
        batched, first = query.dim() == 3, self.batch_first and query.dim() == 3
        if not batched:
            query, key, value = (x.unsqueeze(1) for x in (query, key, value))
            if key_padding_mask is not None:
                key_padding_mask = key_padding_mask.unsqueeze(0)
        q, k, v = self.q_proj(query), self.k_proj(key), self.v_proj(value)
        if not first:
            q, k, v = (x.transpose(0, 1) for x in (q, k, v))
        n, targets = q.shape[:2]
        if self.bias_k is not None:
            k = torch.cat([k, self.bias_k.expand(n, -1, -1)], 1)
            v = torch.cat([v, self.bias_v.expand(n, -1, -1)], 1)
        if self.add_zero_attn:
            k, v = (functional.pad(x, (0, 0, 0, 1)) for x in (k, v))
        mask = self._mask(attn_mask, key_padding_mask, k.shape[1], q)
        q, k, v = (x.view(n, -1, self.num_heads, self.head_dim).transpose(1, 2) for x in (q, k, v))
        dropout = self.dropout if self.training else 0.0
        weights: Tensor | None = None
        if need_weights:
            scores = (q * math.sqrt(1 / self.head_dim)) @ k.transpose(-2, -1)
            weights = functional.softmax(scores if mask is None else scores + mask, dim=-1)
            weights = functional.dropout(weights, dropout, dropout > 0)
            mixed = weights @ v
            weights = weights.mean(1) if average_attn_weights else weights
        else:
            mixed = functional.scaled_dot_product_attention(q, k, v, mask, dropout)
        output = self.out_proj(mixed.transpose(1, 2).reshape(n, targets, self.embed_dim))
        output = output if first else output.transpose(0, 1)
        if batched:
            return output, weights
        return output.squeeze(1), None if weights is None else weights.squeeze(0)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Load a state dict of nn.MultiheadAttention as well: its rows go to the three layers."""
        for part in ("weight", "bias"):
            joined = state_dict.pop(f"{prefix}in_proj_{part}", None)
            thirds = () if joined is None else joined.chunk(3)
            for name, third in zip(PROJECTIONS, thirds, strict=False):
                state_dict[f"{prefix}{name}.{part}"] = third
        for name in PROJECTIONS:
            alone = state_dict.pop(f"{prefix}{name}_weight", None)
            if alone is not None:
                state_dict[f"{prefix}{name}.weight"] = alone
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _mask(
        self, mask: Tensor | None, padding: Tensor | None, sources: int, like: Tensor
    ) -> Tensor | None:
        """Sum of both masks as numbers, broadcast over (n, heads, targets, sources)."""
        parts = []
        if mask is not None:
            parts.append(
                mask.view(-1, self.num_heads, *mask.shape[1:]) if mask.dim() == 3 else mask
            )
        if padding is not None:
            parts.append(padding[:, None, None, :])
        numbers = [_as_numbers(part, like) for part in parts]
        # keys the module adds itself are masked by nobody
        wide = [functional.pad(part, (0, sources - part.shape[-1])) for part in numbers]
        return sum(wide[1:], wide[0]) if wide else None


def _as_numbers(mask: Tensor, like: Tensor) -> Tensor:
    if mask.is_floating_point():
        return mask.to(like.dtype)
    zeros = torch.zeros_like(mask, dtype=like.dtype)
    return zeros.masked_fill(mask, -math.inf)


def _part(
    parameter: nn.Parameter, index: int, rows: dict[tuple[int, int], nn.Parameter]
) -> nn.Parameter:
    """Third number `index` of a parameter's rows, sharing its memory."""
    key = (id(parameter), index)
    if key not in rows:
        third = parameter.detach().chunk(3)[index]
        rows[key] = nn.Parameter(third, parameter.requires_grad)
    return rows[key]
