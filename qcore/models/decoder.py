"""The bundled language model: a small decoder of the Llama family, in plain torch.

Its parameters carry the names that transformers gives to a `LlamaForCausalLM`, and it computes the
same, so that its weights with `llama_config` are a Hugging Face folder like any other.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from qcore.errors import UnsupportedModel


@dataclass(frozen=True)
class DecoderSizes:
    """Sizes of a decoder.

    Attributes:
        vocab_size: Tokens.
        hidden_size: Width of the residual stream.
        intermediate_size: Width inside the feed-forward part.
        num_hidden_layers: Blocks.
        num_attention_heads: Heads of the queries.
        num_key_value_heads: Heads of keys and values, each shared by several of the queries.
        max_position_embeddings: Positions that it was trained on.
        rms_norm_eps: Added to a mean square before its root.
        rope_theta: Base of the wavelengths of rotary positions.
    """

    vocab_size: int = 2048
    hidden_size: int = 256
    intermediate_size: int = 640
    num_hidden_layers: int = 4
    num_attention_heads: int = 8
    num_key_value_heads: int = 4
    max_position_embeddings: int = 128
    rms_norm_eps: float = 1e-5
    rope_theta: float = 10_000.0


def llama_config(sizes: DecoderSizes) -> dict[str, Any]:
    """What the `config.json` of a Hugging Face folder says of this network."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        **asdict(sizes),
        "attention_bias": False,
        "mlp_bias": False,
        "hidden_act": "silu",
        "tie_word_embeddings": True,
        "bos_token_id": 0,
        "eos_token_id": None,
        "pad_token_id": 1,
    }


class _Norm(nn.Module):
    """Divides by the root of the mean square, and scales each channel."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps))


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat((-second, first), -1) * sin


class _Attention(nn.Module):
    def __init__(self, sizes: DecoderSizes) -> None:
        super().__init__()
        self.heads, self.shared = sizes.num_attention_heads, sizes.num_key_value_heads
        self.size = sizes.hidden_size // self.heads
        width, narrow = sizes.hidden_size, self.shared * self.size
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, narrow, bias=False)
        self.v_proj = nn.Linear(width, narrow, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, seen: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        n, positions, width = x.shape
        q = self.q_proj(x).view(n, positions, self.heads, self.size).transpose(1, 2)
        k = self.k_proj(x).view(n, positions, self.shared, self.size).transpose(1, 2)
        v = self.v_proj(x).view(n, positions, self.shared, self.size).transpose(1, 2)
        q, k = _rotated(q, cos, sin), _rotated(k, cos, sin)
        k, v = (each.repeat_interleave(self.heads // self.shared, 1) for each in (k, v))
        scores = q @ k.transpose(2, 3) * self.size**-0.5 + seen
        mixed = torch.softmax(scores, -1) @ v
        return self.o_proj(mixed.transpose(1, 2).reshape(n, positions, width))


class _FeedForward(nn.Module):
    def __init__(self, sizes: DecoderSizes) -> None:
        super().__init__()
        width, inside = sizes.hidden_size, sizes.intermediate_size
        self.gate_proj = nn.Linear(width, inside, bias=False)
        self.up_proj = nn.Linear(width, inside, bias=False)
        self.down_proj = nn.Linear(inside, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))


class _Block(nn.Module):
    def __init__(self, sizes: DecoderSizes) -> None:
        super().__init__()
        self.self_attn = _Attention(sizes)
        self.mlp = _FeedForward(sizes)
        self.input_layernorm = _Norm(sizes.hidden_size, sizes.rms_norm_eps)
        self.post_attention_layernorm = _Norm(sizes.hidden_size, sizes.rms_norm_eps)

    def forward(self, x: Tensor, seen: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), seen, cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class _Body(nn.Module):
    def __init__(self, sizes: DecoderSizes) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(sizes.vocab_size, sizes.hidden_size)
        self.layers = nn.ModuleList(_Block(sizes) for _ in range(sizes.num_hidden_layers))
        self.norm = _Norm(sizes.hidden_size, sizes.rms_norm_eps)

    def forward(self, ids: Tensor, seen: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = self.embed_tokens(ids)
        for block in self.layers:
            x = block(x, seen, cos, sin)
        return self.norm(x)


class Decoder(nn.Module):
    """A causal language model: rotary positions, grouped queries, gated feed-forward parts.

    The head shares its weights with the embedding.

    Reference: Touvron et al., LLaMA, 2023, section 2.2; grouped queries: Ainslie et al., GQA, 2023.
    """

    def __init__(self, sizes: DecoderSizes = DecoderSizes()) -> None:
        super().__init__()
        self.sizes = sizes
        self.model = _Body(sizes)
        self.lm_head = nn.Linear(sizes.hidden_size, sizes.vocab_size, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
        self.lm_head.weight = self.model.embed_tokens.weight

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Map token ids (n, positions) to logits (n, positions, tokens) of the next ones.

        Args:
            input_ids: int64; a position sees itself and those before it.
            attention_mask: 1 where a position counts, 0 where a text was padded.
        """
        positions = input_ids.shape[1]
        half = self.sizes.hidden_size // self.sizes.num_attention_heads // 2
        waves = self.sizes.rope_theta ** (-torch.arange(half, device=input_ids.device) / half)
        angles = torch.arange(positions, device=input_ids.device)[:, None] * waves
        angles = torch.cat((angles, angles), -1)
        hidden = torch.ones(positions, positions, device=input_ids.device, dtype=torch.bool).triu(1)
        if attention_mask is not None:
            hidden = hidden | (attention_mask == 0)[:, None, None]
        lowest = torch.finfo(torch.float32).min
        seen = torch.zeros(hidden.shape, device=input_ids.device).masked_fill(hidden, lowest)
        return self.lm_head(self.model(input_ids, seen, angles.cos(), angles.sin()))


def verse_decoder(classes: int | None = None, in_channels: int = 1) -> Decoder:
    """The bundled network, untrained.

    Args:
        classes: Its positions, as `ModelSpec.classes` counts them; it has no other number.
        in_channels: 1, or its positions again; it takes token ids.

    Raises:
        UnsupportedModel: another number is asked for.
    """
    sizes = DecoderSizes()
    positions = sizes.max_position_embeddings
    if classes not in (None, positions) or in_channels not in (1, positions):
        raise UnsupportedModel(
            f"verse_decoder takes tokens and has {positions} positions: leave "
            "classes and channels out. A decoder of other sizes comes as a Hugging Face folder."
        )
    return Decoder(sizes)
