"""Rewritten attention computes what the original does, whatever it is asked for."""

import copy
import itertools

import pytest
import torch
from torch import nn

from qcore.models._torchvision import torchvision
from qcore.network.rewriting import expose_layers
from qcore.network.rewriting.attention import ExplicitAttention

SWIN = torchvision.models.swin_transformer


def randomised(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, generator=generator)
    return module.eval()


def masks(kind: str, batch: int, sources: int) -> dict[str, torch.Tensor]:
    """No mask, padding, a mask for all, both, one for each head, or one of numbers."""
    padding = torch.zeros(batch, sources, dtype=torch.bool)
    padding[-1, 2:] = True
    shared = torch.rand(5, sources, generator=torch.Generator().manual_seed(2)) > 0.7
    shared[:, 0] = False
    each = shared.repeat(2 * batch, 1, 1)
    each[0, :, 1:] = True
    return {
        "none": {},
        "padding": {"key_padding_mask": padding if batch > 1 else padding[0]},
        "shared": {"attn_mask": shared},
        "both": {
            "attn_mask": shared,
            "key_padding_mask": padding if batch > 1 else padding[0],
        },
        "each": {"attn_mask": each},
        "numbers": {"attn_mask": torch.linspace(-2, 2, 5 * sources).view(5, sources)},
    }[kind]


@pytest.mark.parametrize("kind", ["none", "padding", "shared", "both", "each", "numbers"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"batch_first": True},
        {"bias": False, "add_bias_kv": True},
        {"kdim": 6, "vdim": 3, "add_zero_attn": True},
    ],
)
def test_attention_equals_the_original(options, kind):
    original = randomised(nn.MultiheadAttention(8, 2, **options))
    rewritten = expose_layers(original)
    assert isinstance(rewritten, ExplicitAttention)
    generator = torch.Generator().manual_seed(1)
    for batch, need, average in itertools.product((3, 1), (True, False), (True, False)):
        query, key, value = (
            torch.randn(batch, length, size, generator=generator)
            for length, size in ((5, 8), (4, original.kdim), (4, original.vdim))
        )
        if batch == 1:
            query, key, value = query[0], key[0], value[0]
        elif not original.batch_first:
            query, key, value = (x.transpose(0, 1) for x in (query, key, value))
        asked = {
            **masks(kind, batch, 4),
            "need_weights": need,
            "average_attn_weights": average,
        }
        for got, wanted in zip(
            rewritten(query, key, value, **asked),
            original(query, key, value, **asked),
            strict=True,
        ):
            if wanted is None:
                assert got is None
            else:
                torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"kdim": 6, "vdim": 3}, {"bias": False}])
def test_a_state_dict_of_the_original_loads(options):
    original = randomised(nn.MultiheadAttention(8, 2, **options))
    rewritten = copy.deepcopy(expose_layers(nn.Sequential(original)))
    for parameter in rewritten.parameters():
        nn.init.zeros_(parameter)
    rewritten.load_state_dict({f"0.{k}": v for k, v in original.state_dict().items()})
    x = torch.randn(5, 2, 8), torch.randn(4, 2, original.kdim), torch.randn(4, 2, original.vdim)
    torch.testing.assert_close(rewritten[0](*x)[0], original(*x)[0])


def test_a_causal_hint_without_a_mask_is_refused_like_the_original():
    rewritten = expose_layers(nn.MultiheadAttention(8, 2))
    x = torch.zeros(3, 1, 8)
    with pytest.raises(RuntimeError, match="attn_mask"):
        rewritten(x, x, x, is_causal=True)


@pytest.mark.parametrize("kind", [SWIN.ShiftedWindowAttention, SWIN.ShiftedWindowAttentionV2])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("window", "shift", "side"),
    [
        ([4, 4], [0, 0], (8, 8)),
        ([4, 4], [2, 2], (8, 8)),
        ([4, 4], [2, 2], (7, 9)),
        ([4, 4], [2, 2], (3, 9)),
        ([3, 5], [1, 2], (7, 12)),
    ],
)
def test_window_attention_equals_the_original(kind, bias, window, shift, side):
    original = randomised(kind(12, window, shift, 3, qkv_bias=bias, proj_bias=bias))
    rewritten = expose_layers(original)
    x = torch.randn(2, *side, 12)
    torch.testing.assert_close(rewritten(x), original(x))
    assert list(rewritten.state_dict()) == list(original.state_dict())
    called = []
    for name in ("qkv", "proj"):
        rewritten.get_submodule(name).register_forward_hook(
            lambda *_, name=name: called.append(name)
        )
    rewritten(x)
    assert called == ["qkv", "proj"]
