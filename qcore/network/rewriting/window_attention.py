"""torchvision's shifted-window attention with its projections called as modules.

Swin's attention has the linear layers qkv and proj but never calls them: it hands their weights to
a function. The arithmetic here is that function's; only the two products go through the layers.

Reference: Liu et al., Swin Transformer, ICCV 2021, section 3.2 (equation 4, and cyclic shift);
Liu et al., Swin Transformer V2, CVPR 2022, section 3.3 (equation 2, scaled cosine attention).
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class WindowAttention(nn.Module):
    """Shifted-window attention whose layers are qkv and proj, and cpb_mlp in version 2.

    Paths, parameters and state dict are those of the original.

    Args:
        module: torchvision's ShiftedWindowAttention or its V2; submodules, parameters and buffers
            are shared, but for the bias of version 2's keys: V2 never uses it, so here it is zero.
        rows: Not used; slices of parameters already made (see `rewriting`).
    """

    def __init__(self, module: Any, rows: object = None) -> None:
        super().__init__()
        self.window_size, self.shift_size = module.window_size, module.shift_size
        self.num_heads, self.dropout = module.num_heads, module.dropout
        self.attention_dropout = module.attention_dropout
        self._bias_of = type(module).get_relative_position_bias
        for name, parameter in module.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        for name, buffer in module.named_buffers(recurse=False):
            self.register_buffer(name, buffer)
        for name, child in module.named_children():
            self.add_module(name, child)
        self.cosine = "logit_scale" in self._parameters
        if self.cosine and self.qkv.bias is not None:
            bias = self.qkv.bias.detach().clone()
            third = len(bias) // 3
            bias[third : 2 * third] = 0
            self.qkv.bias = nn.Parameter(bias, self.qkv.bias.requires_grad)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, h, w, channels) to the same shape."""
        _, h, w, _ = x.shape
        tall, wide = self.window_size
        x = functional.pad(x, (0, 0, 0, -w % wide, 0, -h % tall))
        padded = x.shape[1:3]
        # a window larger than the features needs no shift
        down, right = (
            0 if window >= side else shift
            for window, side, shift in zip(self.window_size, padded, self.shift_size, strict=True)
        )
        shifted = down + right > 0
        if shifted:
            x = torch.roll(x, (-down, -right), (1, 2))
        windows = self._windows(x)
        mask = self._shift_mask(windows, padded, (down, right)) if shifted else None
        x = self._joined(self._attend(windows, mask), x.shape)
        if shifted:
            x = torch.roll(x, (down, right), (1, 2))
        return x[:, :h, :w, :].contiguous()

    def _windows(self, x: Tensor) -> Tensor:
        """(n, h, w, c) to (n * windows, places in a window, c)."""
        n, h, w, c = x.shape
        tall, wide = self.window_size
        x = x.view(n, h // tall, tall, w // wide, wide, c).permute(0, 1, 3, 2, 4, 5)
        return x.reshape(-1, tall * wide, c)

    def _joined(self, windows: Tensor, shape: torch.Size) -> Tensor:
        """The inverse of `_windows`."""
        n, h, w, c = shape
        tall, wide = self.window_size
        x = windows.view(n, h // tall, w // wide, tall, wide, c).permute(0, 1, 3, 2, 4, 5)
        return x.reshape(n, h, w, c)

    def _attend(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Attention inside each window: (n * windows, places, c) to the same shape."""
        count, places, c = x.shape
        qkv = self.qkv(x).reshape(count, places, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        if self.cosine:
            scores = functional.normalize(q, dim=-1) @ functional.normalize(k, dim=-1).mT
            scores = scores * torch.clamp(self.logit_scale, max=math.log(100.0)).exp()
        else:
            scores = (q * (c // self.num_heads) ** -0.5) @ k.mT
        scores = scores + self._bias_of(self)
        if mask is not None:
            scores = scores.view(-1, len(mask), self.num_heads, places, places)
            scores = (scores + mask.unsqueeze(1)).view(-1, self.num_heads, places, places)
        weights = functional.softmax(scores, dim=-1)
        weights = functional.dropout(weights, self.attention_dropout, self.training)
        x = self.proj((weights @ v).transpose(1, 2).reshape(count, places, c))
        return functional.dropout(x, self.dropout, self.training)

    def _shift_mask(self, like: Tensor, sides: torch.Size, shift: tuple[int, int]) -> Tensor:
        """-100 between places of a window that the cyclic shift brought together, else 0.

        Shape (windows, places, places).
        """
        regions = like.new_zeros(sides)
        (tall, wide), (down, right) = self.window_size, shift
        for row, rows in enumerate(((0, -tall), (-tall, -down), (-down, None))):
            for column, columns in enumerate(((0, -wide), (-wide, -right), (-right, None))):
                regions[slice(*rows), slice(*columns)] = 3 * row + column
        flat = self._windows(regions[None, :, :, None]).squeeze(-1)
        apart = flat.unsqueeze(1) != flat.unsqueeze(2)
        return like.new_zeros(apart.shape).masked_fill(apart, -100.0)
