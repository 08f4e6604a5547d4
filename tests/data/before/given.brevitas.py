"""Rebuilds your float PyTorch model from Brevitas layers. Needs torch and brevitas.

    python net.brevitas.py package.module:function --weights trained.pt --out quantized.pt

`package.module:function` must return the float model; it is your own code and is run. From Python:
`model = apply(function())`. The listed batch-norms are folded, every layer becomes a Brevitas layer
with the scales that were measured, and the model is in inference mode. Written by bitdial.
"""

import argparse
import base64
import hashlib
import importlib
import json
import sys
from array import array
from types import ModuleType
from typing import Any

import brevitas.nn
import torch
from brevitas.quant import Int8WeightPerChannelFloat, ShiftedUint8ActPerTensorFloat
from torch import Tensor, nn

CONFIG = '{\n "format": "bitdial-allocation",\n "version": 1,\n "model": {\n  "version": 1,\n  "name": "tiny",\n  "digest": "00009d61bf242ce149b40fde5387c058864df79bf226b9206ec70f93df32e139",\n  "layers": [\n   {\n    "name": "conv1",\n    "kind": "conv2d",\n    "weights": 36,\n    "channels": 4,\n    "biases": 4,\n    "macs": 576,\n    "inputs": 64,\n    "outputs": 64,\n    "in_channels": 1,\n    "groups": 1,\n    "producers": [],\n    "consumers": [\n     "layer1.0.conv1",\n     "layer1.0.shortcut.0"\n    ]\n   },\n   {\n    "name": "layer1.0.conv1",\n    "kind": "conv2d",\n    "weights": 144,\n    "channels": 4,\n    "biases": 4,\n    "macs": 2304,\n    "inputs": 64,\n    "outputs": 64,\n    "in_channels": 4,\n    "groups": 1,\n    "producers": [\n     "conv1"\n    ],\n    "consumers": [\n     "layer1.0.conv2"\n    ]\n   },\n   {\n    "name": "layer1.0.conv2",\n    "kind": "conv2d",\n    "weights": 144,\n    "channels": 4,\n    "biases": 4,\n    "macs": 2304,\n    "inputs": 64,\n    "outputs": 64,\n    "in_channels": 4,\n    "groups": 1,\n    "producers": [\n     "layer1.0.conv1"\n    ],\n    "consumers": [\n     "fc"\n    ]\n   },\n   {\n    "name": "layer1.0.shortcut.0",\n    "kind": "conv2d",\n    "weights": 16,\n    "channels": 4,\n    "biases": 4,\n    "macs": 256,\n    "inputs": 64,\n    "outputs": 64,\n    "in_channels": 4,\n    "groups": 1,\n    "producers": [\n     "conv1"\n    ],\n    "consumers": [\n     "fc"\n    ]\n   },\n   {\n    "name": "fc",\n    "kind": "linear",\n    "weights": 12,\n    "channels": 3,\n    "biases": 3,\n    "macs": 12,\n    "inputs": 4,\n    "outputs": 3,\n    "in_channels": 4,\n    "groups": 1,\n    "producers": [\n     "layer1.0.conv2",\n     "layer1.0.shortcut.0"\n    ],\n    "consumers": []\n   }\n  ],\n  "left_in_float": {},\n  "warnings": [],\n  "input_shape": [\n   1,\n   8,\n   8\n  ],\n  "classes": 3\n },\n "bits": {\n  "conv1": [\n   8,\n   8\n  ],\n  "layer1.0.conv1": [\n   4,\n   8\n  ],\n  "layer1.0.conv2": [\n   4,\n   8\n  ],\n  "layer1.0.shortcut.0": [\n   4,\n   8\n  ],\n  "fc": [\n   8,\n   8\n  ]\n },\n "costs": {\n  "weight_bytes": {\n   "value": 200,\n   "unit": "B"\n  },\n  "model_bytes": {\n   "value": 392,\n   "unit": "B"\n  },\n  "bit_ops": {\n   "value": 193280,\n   "unit": "bit-ops"\n  },\n  "activation_bytes_sum": {\n   "value": 260,\n   "unit": "B"\n  },\n  "activation_bytes_max": {\n   "value": 64,\n   "unit": "B"\n  },\n  "packed16_bytes": {\n   "value": 200,\n   "unit": "B"\n  },\n  "packed32_bytes": {\n   "value": 200,\n   "unit": "B"\n  },\n  "packed64_bytes": {\n   "value": 208,\n   "unit": "B"\n  },\n  "bench": {\n   "value": 42000,\n   "unit": "ns"\n  }\n },\n "scores": {\n  "search": {\n   "n": 32,\n   "kl": 0.000927987857721746,\n   "agreement": 1.0,\n   "accuracy": 1.0,\n   "loss": 0.014891456812620163\n  },\n  "test": {\n   "n": 64,\n   "kl": 0.00569990836083889,\n   "agreement": 0.96875,\n   "accuracy": 0.890625,\n   "loss": 0.31118646264076233\n  },\n  "float_test": {\n   "n": 64,\n   "kl": 0.0,\n   "agreement": 1.0,\n   "accuracy": 0.921875,\n   "loss": 0.31603482365608215\n  }\n },\n "norms": {\n  "conv1": "bn1",\n  "layer1.0.conv1": "layer1.0.bn1",\n  "layer1.0.conv2": "layer1.0.bn2",\n  "layer1.0.shortcut.0": "layer1.0.shortcut.1"\n },\n "state": {\n  "conv1": {\n   "bias": {\n    "shape": [\n     4\n    ],\n    "float32": "7pWMPWr7AT+AEx27nqIDPw=="\n   },\n   "weight_step": {\n    "shape": [\n     4\n    ],\n    "float32": "EiKFOzlyhDt1iaI7Bw+eOw=="\n   },\n   "weight_gain": {\n    "shape": [\n     4\n    ],\n    "float32": "GwKAP5MQgD9S1n8/wQSAPw=="\n   },\n   "activation_grid": {\n    "shape": [\n     4\n    ],\n    "float32": "cfdtPAAA8MIAAAdDAAAAAA=="\n   }\n  },\n  "layer1.0.conv1": {\n   "bias": {\n    "shape": [\n     4\n    ],\n    "float32": "jzMkP/6kg77ciBg/eXPMPQ=="\n   },\n   "weight_step": {\n    "shape": [\n     4\n    ],\n    "float32": "dopRPYluhj0UrjU9BjZoPQ=="\n   },\n   "weight_gain": {\n    "shape": [\n     4\n    ],\n    "float32": "RD6BP2pHfj9GCYE/mqeAPw=="\n   },\n   "activation_grid": {\n    "shape": [\n     4\n    ],\n    "float32": "nR5aPAAAAAAAAH9DAAAAAA=="\n   }\n  },\n  "layer1.0.conv2": {\n   "bias": {\n    "shape": [\n     4\n    ],\n    "float32": "efaMP6Qikr6DHGc/3vZCPw=="\n   },\n   "weight_step": {\n    "shape": [\n     4\n    ],\n    "float32": "QOqCPkBDfL6bT14+H5+2Pg=="\n   },\n   "weight_gain": {\n    "shape": [\n     4\n    ],\n    "float32": "FvJ8P2aUhD/w4HU/K36APw=="\n   },\n   "activation_grid": {\n    "shape": [\n     4\n    ],\n    "float32": "ve4uPAAAAAAAAH9DAAAAAA=="\n   }\n  },\n  "layer1.0.shortcut.0": {\n   "bias": {\n    "shape": [\n     4\n    ],\n    "float32": "XF4OvyC8BEAAItc7IGOMPA=="\n   },\n   "weight_step": {\n    "shape": [\n     4\n    ],\n    "float32": "+MrXvb3KhL6p4Km9vDKvvQ=="\n   },\n   "weight_gain": {\n    "shape": [\n     4\n    ],\n    "float32": "U0WAP1RTgT+mZX0/aQF+Pw=="\n   },\n   "activation_grid": {\n    "shape": [\n     4\n    ],\n    "float32": "nR5aPAAAAAAAAH9DAAAAAA=="\n   }\n  },\n  "fc": {\n   "bias": {\n    "shape": [\n     3\n    ],\n    "float32": "2uOzvnaadz66sYQ+"\n   },\n   "weight_step": {\n    "shape": [\n     3\n    ],\n    "float32": "9UsaPKZHIjyxRSw8"\n   },\n   "activation_grid": {\n    "shape": [\n     4\n    ],\n    "float32": "sf+tPAAAAAAAAH9DAAAAAA=="\n   }\n  }\n },\n "provenance": {\n  "data_digest": "6f9d34a3a3a4797a4d778f1ab773966105c362771af9e3d54ba1164a70ccca2d",\n  "stage": "ptq",\n  "run": 4,\n  "run_name": "given",\n  "search": "given",\n  "params": {\n   "allocations": [\n    {\n     "conv1": [\n      8,\n      8\n     ],\n     "layer1.0.conv1": [\n      4,\n      8\n     ],\n     "layer1.0.conv2": [\n      4,\n      8\n     ],\n     "layer1.0.shortcut.0": [\n      4,\n      8\n     ],\n     "fc": [\n      8,\n      8\n     ]\n    }\n   ]\n  },\n  "limits": {},\n  "seed": 0,\n  "data": "tensors:images.npz",\n  "calibration_images": 32,\n  "search_images": 32,\n  "device": "cpu",\n  "created": "2026-11-30T03:34:33.970+00:00",\n  "bitdial": "0.1.0",\n  "torch": "2.13.0",\n  "python": "3.11.7"\n }\n}\n'
REWRITING: dict[str, str] = {"bitdial_attention": "\"\"\"nn.MultiheadAttention with its four projections as linear layers.\n\nPyTorch keeps the query, key and value weights in one bare parameter and hands them, and those of\nthe output projection, to a function: no module shows that they are used.\n\"\"\"\n\nimport math\nfrom typing import Any\n\nimport torch\nfrom torch import Tensor, nn\nfrom torch.nn import functional\n\nPROJECTIONS = (\"q_proj\", \"k_proj\", \"v_proj\")\n\"\"\"Query, key and value: the order of rows in nn.MultiheadAttention's in_proj_weight.\"\"\"\n\n\nclass ExplicitAttention(nn.Module):\n    \"\"\"Multi-head attention whose layers are q_proj, k_proj, v_proj and out_proj.\n\n    Takes and returns what nn.MultiheadAttention does, and its state dicts load into it. Query, key\n    and value are three layers even where one parameter holds them, because they need not read the\n    same input.\n\n    Args:\n        module: The nn.MultiheadAttention; its parameters are shared, in slices of rows.\n        rows: Slices already made, by id() of the parameter and the first row, so that a parameter\n            that two modules share stays shared.\n    \"\"\"\n\n    def __init__(self, module: Any, rows: dict[tuple[int, int], nn.Parameter]) -> None:\n        super().__init__()\n        self.embed_dim, self.num_heads = module.embed_dim, module.num_heads\n        self.head_dim, self.batch_first = module.head_dim, module.batch_first\n        self.dropout, self.add_zero_attn = module.dropout, module.add_zero_attn\n        for index, name in enumerate(PROJECTIONS):\n            layer = nn.Linear(1, 1, bias=False, device=\"meta\")\n            if module.in_proj_weight is None:\n                layer.weight = getattr(module, f\"{name}_weight\")\n            else:\n                layer.weight = _part(module.in_proj_weight, index, rows)\n            if module.in_proj_bias is not None:\n                layer.bias = _part(module.in_proj_bias, index, rows)\n            layer.out_features, layer.in_features = layer.weight.shape\n            setattr(self, name, layer)\n        self.out_proj = module.out_proj\n        self.bias_k, self.bias_v = module.bias_k, module.bias_v\n\n    def forward(\n        self,\n        query: Tensor,\n        key: Tensor,\n        value: Tensor,\n        key_padding_mask: Tensor | None = None,\n        need_weights: bool = True,\n        attn_mask: Tensor | None = None,\n        average_attn_weights: bool = True,\n        is_causal: bool = False,\n    ) -> tuple[Tensor, Tensor | None]:\n        \"\"\"Attend; arguments, shapes and results as of nn.MultiheadAttention.\n\n        Args:\n            query: (n, targets, embed), (targets, n, embed) unless batch_first, or (targets, embed).\n            key: The same with sources in place of targets; its own features.\n            value: As key; its own features.\n            key_padding_mask: (n, sources) or (sources,); True or -inf where a source is ignored.\n            need_weights: Return the attention probabilities too.\n            attn_mask: (targets, sources) or (n * heads, targets, sources).\n            average_attn_weights: Probabilities are averaged over heads.\n            is_causal: A hint that attn_mask is the causal mask; the mask itself is used.\n\n        Returns:\n            Output, shaped like query; probabilities (n, [heads,] targets, sources) or None.\n\n        Raises:\n            RuntimeError: is_causal without attn_mask, as in nn.MultiheadAttention.\n        \"\"\"\n        if is_causal and attn_mask is None:\n            raise RuntimeError(\"Need attn_mask if specifying the is_causal hint.\")\n        batched, first = query.dim() == 3, self.batch_first and query.dim() == 3\n        if not batched:\n            query, key, value = (x.unsqueeze(1) for x in (query, key, value))\n            if key_padding_mask is not None:\n                key_padding_mask = key_padding_mask.unsqueeze(0)\n        q, k, v = self.q_proj(query), self.k_proj(key), self.v_proj(value)\n        if not first:\n            q, k, v = (x.transpose(0, 1) for x in (q, k, v))\n        n, targets = q.shape[:2]\n        if self.bias_k is not None:\n            k = torch.cat([k, self.bias_k.expand(n, -1, -1)], 1)\n            v = torch.cat([v, self.bias_v.expand(n, -1, -1)], 1)\n        if self.add_zero_attn:\n            k, v = (functional.pad(x, (0, 0, 0, 1)) for x in (k, v))\n        mask = self._mask(attn_mask, key_padding_mask, k.shape[1], q)\n        q, k, v = (x.view(n, -1, self.num_heads, self.head_dim).transpose(1, 2) for x in (q, k, v))\n        dropout = self.dropout if self.training else 0.0\n        weights: Tensor | None = None\n        if need_weights:\n            scores = (q * math.sqrt(1 / self.head_dim)) @ k.transpose(-2, -1)\n            weights = functional.softmax(scores if mask is None else scores + mask, dim=-1)\n            weights = functional.dropout(weights, dropout, dropout > 0)\n            mixed = weights @ v\n            weights = weights.mean(1) if average_attn_weights else weights\n        else:\n            mixed = functional.scaled_dot_product_attention(q, k, v, mask, dropout)\n        output = self.out_proj(mixed.transpose(1, 2).reshape(n, targets, self.embed_dim))\n        output = output if first else output.transpose(0, 1)\n        if batched:\n            return output, weights\n        return output.squeeze(1), None if weights is None else weights.squeeze(0)\n\n    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:\n        \"\"\"Load a state dict of nn.MultiheadAttention as well: its rows go to the three layers.\"\"\"\n        for part in (\"weight\", \"bias\"):\n            joined = state_dict.pop(f\"{prefix}in_proj_{part}\", None)\n            thirds = () if joined is None else joined.chunk(3)\n            for name, third in zip(PROJECTIONS, thirds, strict=False):\n                state_dict[f\"{prefix}{name}.{part}\"] = third\n        for name in PROJECTIONS:\n            alone = state_dict.pop(f\"{prefix}{name}_weight\", None)\n            if alone is not None:\n                state_dict[f\"{prefix}{name}.weight\"] = alone\n        super()._load_from_state_dict(state_dict, prefix, *rest)\n\n    def _mask(\n        self, mask: Tensor | None, padding: Tensor | None, sources: int, like: Tensor\n    ) -> Tensor | None:\n        \"\"\"Sum of both masks as numbers, broadcast over (n, heads, targets, sources).\"\"\"\n        parts = []\n        if mask is not None:\n            parts.append(\n                mask.view(-1, self.num_heads, *mask.shape[1:]) if mask.dim() == 3 else mask\n            )\n        if padding is not None:\n            parts.append(padding[:, None, None, :])\n        numbers = [_as_numbers(part, like) for part in parts]\n        # keys the module adds itself are masked by nobody\n        wide = [functional.pad(part, (0, sources - part.shape[-1])) for part in numbers]\n        return sum(wide[1:], wide[0]) if wide else None\n\n\ndef _as_numbers(mask: Tensor, like: Tensor) -> Tensor:\n    if mask.is_floating_point():\n        return mask.to(like.dtype)\n    zeros = torch.zeros_like(mask, dtype=like.dtype)\n    return zeros.masked_fill(mask, -math.inf)\n\n\ndef _part(\n    parameter: nn.Parameter, index: int, rows: dict[tuple[int, int], nn.Parameter]\n) -> nn.Parameter:\n    \"\"\"Third number `index` of a parameter's rows, sharing its memory.\"\"\"\n    key = (id(parameter), index)\n    if key not in rows:\n        third = parameter.detach().chunk(3)[index]\n        rows[key] = nn.Parameter(third, parameter.requires_grad)\n    return rows[key]\n", "bitdial_norm_then_rest": "\"\"\"A batch-norm that also applies dropout and an activation, taken apart.\n\ntimm's networks join the three in one class. A batch-norm that is folded into the layer before it is\nremoved, and must not take the activation with it.\n\"\"\"\n\nfrom typing import Any\n\nfrom torch import Tensor, nn\n\n\nclass NormThenRest(nn.Module):\n    \"\"\"A plain batch-norm, then what the original did behind it.\n\n    Args:\n        module: timm's BatchNormAct2d; its parameters and statistics are shared.\n        rows: Not used; slices of parameters already made (see `rewriting`).\n    \"\"\"\n\n    def __init__(self, module: Any, rows: object = None) -> None:\n        super().__init__()\n        self.norm = nn.BatchNorm2d(0, module.eps, module.momentum)\n        kept = {key: value for key, value in vars(module).items() if key in vars(self.norm)}\n        self.norm.__dict__.update(kept, _modules={})\n        self.drop, self.act = module.drop, module.act\n\n    def forward(self, x: Tensor) -> Tensor:\n        \"\"\"Map (n, channels, h, w) to the same shape.\"\"\"\n        return self.act(self.drop(self.norm(x)))\n", "bitdial_window_attention": "\"\"\"torchvision's shifted-window attention with its projections called as modules.\n\nSwin's attention has the linear layers qkv and proj but never calls them: it hands their weights to\na function. The arithmetic here is that function's; only the two products go through the layers.\n\nReference: Liu et al., Swin Transformer, ICCV 2021, section 3.2 (equation 4, and cyclic shift);\nLiu et al., Swin Transformer V2, CVPR 2022, section 3.3 (equation 2, scaled cosine attention).\n\"\"\"\n\nimport math\nfrom typing import Any\n\nimport torch\nfrom torch import Tensor, nn\nfrom torch.nn import functional\n\n\nclass WindowAttention(nn.Module):\n    \"\"\"Shifted-window attention whose layers are qkv and proj, and cpb_mlp in version 2.\n\n    Paths, parameters and state dict are those of the original.\n\n    Args:\n        module: torchvision's ShiftedWindowAttention or its V2; submodules, parameters and buffers\n            are shared, but for the bias of version 2's keys: V2 never uses it, so here it is zero.\n        rows: Not used; slices of parameters already made (see `rewriting`).\n    \"\"\"\n\n    def __init__(self, module: Any, rows: object = None) -> None:\n        super().__init__()\n        self.window_size, self.shift_size = module.window_size, module.shift_size\n        self.num_heads, self.dropout = module.num_heads, module.dropout\n        self.attention_dropout = module.attention_dropout\n        self._bias_of = type(module).get_relative_position_bias\n        for name, parameter in module.named_parameters(recurse=False):\n            self.register_parameter(name, parameter)\n        for name, buffer in module.named_buffers(recurse=False):\n            self.register_buffer(name, buffer)\n        for name, child in module.named_children():\n            self.add_module(name, child)\n        self.cosine = \"logit_scale\" in self._parameters\n        if self.cosine and self.qkv.bias is not None:\n            bias = self.qkv.bias.detach().clone()\n            third = len(bias) // 3\n            bias[third : 2 * third] = 0\n            self.qkv.bias = nn.Parameter(bias, self.qkv.bias.requires_grad)\n\n    def forward(self, x: Tensor) -> Tensor:\n        \"\"\"Map (n, h, w, channels) to the same shape.\"\"\"\n        _, h, w, _ = x.shape\n        tall, wide = self.window_size\n        x = functional.pad(x, (0, 0, 0, -w % wide, 0, -h % tall))\n        padded = x.shape[1:3]\n        # a window larger than the features needs no shift\n        down, right = (\n            0 if window >= side else shift\n            for window, side, shift in zip(self.window_size, padded, self.shift_size, strict=True)\n        )\n        shifted = down + right > 0\n        if shifted:\n            x = torch.roll(x, (-down, -right), (1, 2))\n        windows = self._windows(x)\n        mask = self._shift_mask(windows, padded, (down, right)) if shifted else None\n        x = self._joined(self._attend(windows, mask), x.shape)\n        if shifted:\n            x = torch.roll(x, (down, right), (1, 2))\n        return x[:, :h, :w, :].contiguous()\n\n    def _windows(self, x: Tensor) -> Tensor:\n        \"\"\"(n, h, w, c) to (n * windows, places in a window, c).\"\"\"\n        n, h, w, c = x.shape\n        tall, wide = self.window_size\n        x = x.view(n, h // tall, tall, w // wide, wide, c).permute(0, 1, 3, 2, 4, 5)\n        return x.reshape(-1, tall * wide, c)\n\n    def _joined(self, windows: Tensor, shape: torch.Size) -> Tensor:\n        \"\"\"The inverse of `_windows`.\"\"\"\n        n, h, w, c = shape\n        tall, wide = self.window_size\n        x = windows.view(n, h // tall, w // wide, tall, wide, c).permute(0, 1, 3, 2, 4, 5)\n        return x.reshape(n, h, w, c)\n\n    def _attend(self, x: Tensor, mask: Tensor | None) -> Tensor:\n        \"\"\"Attention inside each window: (n * windows, places, c) to the same shape.\"\"\"\n        count, places, c = x.shape\n        qkv = self.qkv(x).reshape(count, places, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)\n        q, k, v = qkv[0], qkv[1], qkv[2]\n        if self.cosine:\n            scores = functional.normalize(q, dim=-1) @ functional.normalize(k, dim=-1).mT\n            scores = scores * torch.clamp(self.logit_scale, max=math.log(100.0)).exp()\n        else:\n            scores = (q * (c // self.num_heads) ** -0.5) @ k.mT\n        scores = scores + self._bias_of(self)\n        if mask is not None:\n            scores = scores.view(-1, len(mask), self.num_heads, places, places)\n            scores = (scores + mask.unsqueeze(1)).view(-1, self.num_heads, places, places)\n        weights = functional.softmax(scores, dim=-1)\n        weights = functional.dropout(weights, self.attention_dropout, self.training)\n        x = self.proj((weights @ v).transpose(1, 2).reshape(count, places, c))\n        return functional.dropout(x, self.dropout, self.training)\n\n    def _shift_mask(self, like: Tensor, sides: torch.Size, shift: tuple[int, int]) -> Tensor:\n        \"\"\"-100 between places of a window that the cyclic shift brought together, else 0.\n\n        Shape (windows, places, places).\n        \"\"\"\n        regions = like.new_zeros(sides)\n        (tall, wide), (down, right) = self.window_size, shift\n        for row, rows in enumerate(((0, -tall), (-tall, -down), (-down, None))):\n            for column, columns in enumerate(((0, -wide), (-wide, -right), (-right, None))):\n                regions[slice(*rows), slice(*columns)] = 3 * row + column\n        flat = self._windows(regions[None, :, :, None]).squeeze(-1)\n        apart = flat.unsqueeze(1) != flat.unsqueeze(2)\n        return like.new_zeros(apart.shape).masked_fill(apart, -100.0)\n", "bitdial_rewriting": "\"\"\"Rewrites modules that hide their layers into equal ones whose layers are modules of their own.\n\nSome modules compute with weights that no module of their own multiplies: attention hands them to a\nfunction, and some batch-norms apply the activation as well. `explicit` replaces these, and only\nthese, by modules with the same outputs (as far as floats add up alike) and the same parameters,\nunder names that depend on the model alone. Whoever wraps a model calls it first, so the user's own\nmodel, untouched, always leads to the same layers.\n\"\"\"\n\nimport copy\nfrom collections.abc import Callable\nfrom typing import Any\n\nfrom torch import nn\n\nfrom bitdial_attention import ExplicitAttention\nfrom bitdial_norm_then_rest import NormThenRest\nfrom bitdial_window_attention import WindowAttention\n\nRows = dict[tuple[int, int], nn.Parameter]\n\nREWRITES: dict[tuple[str, str], Callable[[Any, Rows], nn.Module]] = {\n    (\"torch.nn.modules.activation\", \"MultiheadAttention\"): ExplicitAttention,\n    (\"torchvision.models.swin_transformer\", \"ShiftedWindowAttention\"): WindowAttention,\n    (\"torchvision.models.swin_transformer\", \"ShiftedWindowAttentionV2\"): WindowAttention,\n    (\"timm.layers.norm_act\", \"BatchNormAct2d\"): NormThenRest,\n}\n\"\"\"Module and name of the class whose forward pass hides layers, to what takes its place.\n\nClasses are named, not imported: their packages are slow to import, or need not be installed. A\nsubclass with a forward pass of its own is left as it is.\"\"\"\n\n\ndef explicit(model: nn.Module) -> nn.Module:\n    \"\"\"Return the model with every layer in a module of its own.\n\n    Returns:\n        The model itself where nothing hides a layer; otherwise a copy of its modules that shares\n        the parameters and buffers (slices of them where a parameter holds several layers). Applied\n        again it changes nothing.\n    \"\"\"\n    if not any(forward_of(module) in REWRITES for module in model.modules()):\n        return model\n    tensors = [*model.parameters(), *model.buffers()]\n    rewritten = copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})\n    rows: Rows = {}\n    if forward_of(rewritten) in REWRITES:\n        return _replaced(rewritten, rows)\n    hiding = [module for module in rewritten.modules() if forward_of(module) in REWRITES]\n    done = {id(module): _replaced(module, rows) for module in hiding}\n    for parent in list(rewritten.modules()):\n        for name, child in list(parent._modules.items()):\n            if id(child) in done:\n                setattr(parent, name, done[id(child)])\n    return rewritten\n\n\ndef forward_of(module: nn.Module) -> tuple[str, str]:\n    \"\"\"Module and name of the class in a module's family that defines its forward pass.\n\n    Both empty where that was set on the module itself.\n    \"\"\"\n    if \"forward\" in vars(module):\n        return \"\", \"\"\n    owner = next((c for c in type(module).__mro__ if \"forward\" in vars(c)), nn.Module)\n    return owner.__module__, owner.__qualname__\n\n\ndef plain(module: nn.Module) -> bool:\n    \"\"\"True where a module computes just as the torch class it descends from.\"\"\"\n    keys = (\"forward\", \"_conv_forward\")\n    if any(key in vars(module) for key in keys):\n        return False\n    owners = [next((c for c in type(module).__mro__ if key in vars(c)), nn.Module) for key in keys]\n    return all(owner.__module__.startswith(\"torch.nn.\") for owner in owners)\n\n\ndef _replaced(module: nn.Module, rows: Rows) -> nn.Module:\n    return REWRITES[forward_of(module)](module, rows).train(module.training)\n"}
"""Sources of modules that replace attention, which hides its layers, by equal ones."""
LAYERS = ("Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d")


class Fixed(nn.Module):
    """A scale or a zero point that was measured: what Brevitas asks for, whatever the tensor."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.register_buffer("value", value)

    def forward(self, *arguments: Any) -> Tensor:
        """The value, whatever it is asked for."""
        return self.value


def read(entry: dict[str, Any]) -> Tensor:
    """One stored array as a tensor of floats."""
    kind, letter = next(
        k for k in (("float32", "f"), ("int8", "b"), ("int16", "h")) if k[0] in entry
    )
    values = array(letter, base64.b64decode(entry[kind]))
    if sys.byteorder == "big":
        values.byteswap()
    return torch.tensor(values, dtype=torch.float32).reshape(entry["shape"])


def to_rows(weight: Tensor, module: Any) -> Tensor:
    """Weights as (output channels, rest); transposed convolutions keep inputs first."""
    if not getattr(module, "transposed", False):
        return weight.flatten(1)
    grouped = weight.reshape(module.groups, -1, *weight.shape[1:2], weight[0, 0].numel())
    return grouped.transpose(1, 2).reshape(module.groups * weight.shape[1], -1)


def from_rows(rows: Tensor, weight: Tensor, module: Any) -> Tensor:
    """The inverse of to_rows."""
    if not getattr(module, "transposed", False):
        return rows.reshape(weight.shape)
    grouped = rows.reshape(module.groups, weight.shape[1], -1, weight[0, 0].numel())
    return grouped.transpose(1, 2).reshape(weight.shape)


def codes_of(rows: Tensor, step: Tensor, bits: int) -> Tensor:
    """Two's complement codes; signs at one bit."""
    scaled = rows / step[:, None]
    if bits == 1:
        return torch.where(scaled >= 0, 1.0, -1.0)
    return scaled.round().clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def weight_of(rows: Tensor, weight: Tensor, module: Any, state: Any, bits: int) -> tuple[Any, ...]:
    """Weight rows on their grid, scale of each channel (None: float), bits of the integers."""
    if bits == 32:
        if "weight" in state:
            rows = to_rows(read(state["weight"]).reshape(weight.shape), module)
        gain = read(state["weight_gain"])[:, None] if "weight_gain" in state else 1.0
        return rows * gain, None, 32
    scale = read(state["weight_step"])
    if "weight_codes" in state:
        codes = to_rows(read(state["weight_codes"]).reshape(weight.shape), module)
    else:
        codes = codes_of(rows, scale, bits)
    if "weight_gain" in state:
        scale = scale * read(state["weight_gain"])
    width = max(bits, 2)
    while not -(2 ** (width - 1)) <= codes.min() <= codes.max() < 2 ** (width - 1):
        width += 1  # levels half a step off zero, or powers of two, need wider integers
    return codes * scale[:, None], scale, width


def layer_like(module: Any, scale: Tensor | None, width: int, grid: Tensor | None) -> nn.Module:
    """A Brevitas layer with the arithmetic of a torch layer."""
    quant = None
    if scale is not None:
        ones = [1] * (module.weight.dim() - 1)
        shape = [1, -1, *ones[1:]] if getattr(module, "transposed", False) else [-1, *ones]
        quant = Int8WeightPerChannelFloat.let(
            scaling_impl=Fixed(scale.reshape(shape)), bit_width=width, narrow_range=False
        )
    entry = None
    if grid is not None:
        _, low, high, _ = grid.tolist()
        entry = ShiftedUint8ActPerTensorFloat.let(
            scaling_impl=Fixed(grid[0].clone()),
            zero_point_impl=Fixed(torch.tensor(-low)),
            bit_width=round(high - low + 1).bit_length() - 1,
        )
    options = {"bias": True, "weight_quant": quant, "input_quant": entry}
    if isinstance(module, nn.Linear):
        return brevitas.nn.QuantLinear(module.in_features, module.out_features, **options)
    kind = next(name for name in LAYERS if isinstance(module, getattr(nn, name)))
    for name in ("stride", "padding", "dilation", "groups", "output_padding", "padding_mode"):
        if name != "output_padding" or getattr(module, "transposed", False):
            options[name] = getattr(module, name)
    sizes = (module.in_channels, module.out_channels, module.kernel_size)
    return getattr(brevitas.nn, f"Quant{kind}")(*sizes, **options)


def explicit(model: nn.Module) -> nn.Module:
    """The network with every layer in a module of its own, as it was measured.

    The network itself where every layer is one already; attention and batch-norms that also apply
    an activation are replaced by modules that compute the same.
    """
    for name, source in REWRITING.items():
        if name not in sys.modules:
            sys.modules[name] = ModuleType(name)
            exec(compile(source, name, "exec"), vars(sys.modules[name]))
    rewriting: Any = sys.modules.get("bitdial_rewriting")
    return rewriting.explicit(model) if rewriting else model


def own_forward(module: nn.Module) -> bool:
    """True where a layer computes in a way of its own, which a Brevitas layer would not."""
    owners = [
        next((c for c in type(module).__mro__ if key in vars(c)), nn.Module)
        for key in ("forward", "_conv_forward")
    ]
    return not all(owner.__module__.startswith("torch.nn.") for owner in owners)


def digest(model: nn.Module) -> str:
    """SHA-256 of every tensor by name: what tells one set of weights from another."""
    found = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        if key.endswith("num_batches_tracked") or not isinstance(value, Tensor):
            continue
        found.update(f"{key}|{value.dtype}|{tuple(value.shape)}|".encode())
        flat = value.detach().cpu().contiguous().reshape(-1)
        found.update(flat.view(torch.uint8).numpy())
    return found.hexdigest()


def check_weights(model: nn.Module, config: dict[str, Any]) -> None:
    """Stop where these are other weights than those the bits were measured with."""
    if digest(model) != config["model"]["digest"]:
        raise SystemExit(
            f"These are not the weights of {config['model']['name']} that were measured, whose "
            "scales these are. Load the trained weights first (--weights FILE)."
        )


def load_weights(model: nn.Module, path: str) -> None:
    """Load a state dict; every entry but batch counters must be there, and no other."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    missing, unexpected = model.load_state_dict(state, strict=False)
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise SystemExit(
            f"{path} does not fit the model; missing: {missing[:5]}, unexpected: {unexpected[:5]}"
        )


@torch.no_grad()
def apply(model: nn.Module, config: dict[str, Any] | None = None) -> nn.Module:
    """Rebuild a float model from Brevitas layers and return it, in inference mode.

    The model itself, changed, unless it had attention.
    """
    config = config or json.loads(CONFIG)
    model = explicit(model)
    names: dict[str, Any] = dict(model.named_modules())
    missing = [n for n in (*config["bits"], *config["norms"].values()) if n not in names]
    if missing:
        raise SystemExit(f"This is not the model of the configuration; it lacks: {missing}")
    check_weights(model, config)
    own = [name for name in config["bits"] if own_forward(names[name])]
    if own:
        raise SystemExit(f"Brevitas has no layers that compute as these do by themselves: {own}")
    for name, (weight_bits, activation_bits) in config["bits"].items():
        module, state = names[name], config["state"][name]
        weight = module.weight.detach().float()
        rows = to_rows(weight, module)
        if name in config["norms"]:
            norm = names[config["norms"][name]]
            factor = torch.rsqrt(norm.running_var + norm.eps)
            rows = rows * (factor * norm.weight if norm.affine else factor)[:, None]
            model.set_submodule(config["norms"][name], nn.Identity())
        rows, scale, width = weight_of(rows, weight, module, state, weight_bits)
        grid = read(state["activation_grid"]) if activation_bits != 32 else None
        layer = layer_like(module, scale, width, grid)
        layer.weight = nn.Parameter(from_rows(rows, weight, module).contiguous())
        layer.bias = nn.Parameter(read(state["bias"]))
        for path, other in list(model.named_modules(remove_duplicate=False)):
            if other is module:
                model.set_submodule(path, layer)
    return model.eval()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="package.module:function returning the float model")
    parser.add_argument("--weights", help="state dict to load into it first")
    parser.add_argument("--out", help="where to save the state dict of the Brevitas model")
    arguments = parser.parse_args()
    sys.path.insert(0, "")
    module, _, function = arguments.model.partition(":")
    model = getattr(importlib.import_module(module), function)()
    if arguments.weights:
        load_weights(model, arguments.weights)
    model = apply(model)
    sys.stdout.write(f"{len(json.loads(CONFIG)['bits'])} layers rebuilt with Brevitas\n")
    if arguments.out:
        torch.save(model.state_dict(), arguments.out)


if __name__ == "__main__":
    main()
