"""Nested codes: every width's are the leading bits of the widest one's, and gradients pass."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from qcore.errors import InvalidParams
from qcore.quantizers import LEARNED_QUANTIZERS
from qcore.quantizers.nested import codes_of, cut, shared_clip
from tests.small_nets import small_options, small_trainable

NESTED = LEARNED_QUANTIZERS["nested"]
WIDTHS = range(1, 9)


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def codes(weight: Tensor, clip: float, bits: int) -> Tensor:
    """Codes of what the quantizer makes of a weight: its values are odd multiples of a step."""
    scale = torch.tensor(clip, dtype=weight.dtype)
    odd = NESTED.weight(weight, scale, bits) / NESTED.weight_step(weight, scale, bits)
    assert torch.equal(odd.round() % 2, torch.ones_like(odd))
    return (odd.round().long() - 1) // 2


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("fewer", WIDTHS)
def test_every_code_of_every_width_is_cut_bit_by_bit(bits, fewer):
    if fewer > bits:
        return
    every = torch.arange(-(2 ** (bits - 1)), 2 ** (bits - 1))
    step_by_step = every
    for _ in range(bits - fewer):
        step_by_step = step_by_step >> 1
    assert torch.equal(cut(every, bits, fewer), step_by_step)
    # the leading digits of two's complement, written out
    digits = [format(int(code) % 2**bits, f"0{bits}b")[:fewer] for code in every]
    signed = [int(each, 2) - (2**fewer if each[0] == "1" else 0) for each in digits]
    assert cut(every, bits, fewer).tolist() == signed


@settings(max_examples=60, deadline=None)
@given(
    clip=st.floats(1e-3, 50), seed=st.integers(0, 99), kind=st.sampled_from(["float32", "float64"])
)
def test_codes_of_all_widths_are_prefixes_of_the_widest(clip, seed, kind):
    weight = normal(5, 60, seed=seed).to(getattr(torch, kind))
    widest = codes(weight, clip, 8)
    for bits in WIDTHS:
        assert torch.equal(codes(weight, clip, bits), cut(widest, 8, bits))


def test_weights_on_the_border_of_two_cells_are_prefixes_too():
    # whole steps, with their neighbours among floats
    borders = torch.arange(-140, 141).float()
    near = [borders, *(torch.nextafter(borders, torch.tensor(end)) for end in (-1e9, 1e9))]
    unit = torch.cat(near) / 128
    widest = codes_of(unit * 128, 8).long()
    for bits in WIDTHS:
        assert torch.equal(codes_of(unit * 2 ** (bits - 1), bits).long(), cut(widest, 8, bits))


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8])
def test_values_are_the_middles_of_equal_cells_and_zero_is_none(bits):
    weight = normal(1, 50_000)
    clip = torch.tensor(2.0, dtype=torch.float64)
    levels = NESTED.weight(weight, clip, bits).unique()
    reach = 2 * weight.std(correction=0)
    cells = torch.linspace(-1, 1, 2**bits + 1, dtype=torch.float64) * reach
    assert torch.allclose(levels, (cells[1:] + cells[:-1]) / 2)
    found = NESTED.weight(weight, clip, bits)
    inside = weight.abs() <= reach
    assert ((found - weight)[inside].abs() <= reach * 2.0**-bits + 1e-12).all()


@pytest.mark.parametrize("bits", [1, 2, 3, 8])
def test_gradients_pass_inside_and_the_clip_follows_the_error(bits):
    weight = (normal(5, 30) * 3).requires_grad_(True)
    clip = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    g = normal(5, 30, seed=1)
    NESTED.weight(weight, clip, bits).backward(g)
    with torch.no_grad():
        unit = weight.std(correction=0) * 2.0 ** (1 - bits)
        u, top = weight / (clip * unit), 2 ** (bits - 1)
        middle = u.floor().clamp(-top, top - 1) + 0.5
        inside = u.abs() <= top
        wanted = (g * torch.where(inside, middle - u, middle)).sum() * unit
    assert torch.allclose(clip.grad, wanted)
    assert torch.equal(weight.grad, g * inside)


@pytest.mark.parametrize(("bits", "step"), [(2, 0.9957), (3, 0.5860), (4, 0.3352)])
def test_the_clip_of_a_normal_weight_begins_where_max_found_it(bits, step):
    # J. Max, Quantizing for minimum distortion, 1960, table II: uniform steps
    assert shared_clip(normal(1, 200_000), (bits,)) == pytest.approx(
        2 ** (bits - 1) * step, rel=0.04
    )


def test_a_shared_clip_lies_between_those_of_its_widths():
    weight = normal(1, 20_000)
    alone = [shared_clip(weight, (bits,)) for bits in (2, 3, 4, 8)]
    assert alone[0] < shared_clip(weight, (2, 3, 4, 8)) < alone[-1]


def test_cutting_is_nearer_to_the_weights_than_rounding_from_width_to_width():
    weight, clip = normal(1, 20_000), 4.0
    unit = clip * weight.std(correction=0) / 128
    rounded = (weight / unit).round().clamp(-128, 127)
    for bits in (7, 6, 5, 4, 3, 2):
        rounded = (rounded / 2).round().clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    by_rounding = rounded * unit * 64
    by_cutting = (cut(codes(weight, clip, 8), 8, 2) + 0.5) * unit * 64

    def error(found: Tensor) -> Tensor:
        gain = (found * weight).sum() / found.square().sum()
        return (gain * found - weight).square().mean()

    assert error(by_cutting) < error(by_rounding)


def test_a_layer_has_one_clip_and_a_gain_for_every_width():
    model = small_trainable(quantizer="nested")
    for name, layer in model.layers.items():
        widths = sorted({bits.weight for bits in small_options()[name]} - {32})
        assert [key for key in layer.scales if key[0] in "wg"] == ["w", *(f"g{b}" for b in widths)]
        for bits in widths:
            grid = layer.quantizer.weight(layer.weight, layer.scales["w"], bits)
            gain = torch.tensor([[0.9], [1.0], [1.1]]) * layer.scales[f"g{bits}"]
            errors = (gain * grid.flatten() - layer.weight.flatten()).square().sum(1)
            assert errors.argmin() == 1


@torch.no_grad()
def test_codes_of_a_layer_are_prefixes_whatever_its_gains():
    model = small_trainable(quantizer="nested")
    for layer in model.layers.values():
        for place, key in enumerate(layer.scales):
            layer.scales[key].data.mul_(1 + 0.1 * place)
        found = {}
        for bits in small_options()["head"]:
            if bits.weight < 32:
                layer.set_bits(bits)
                arrays = layer.arrays()
                assert (arrays["weight_codes"] % 2 == 1).all()
                found[bits.weight] = (torch.from_numpy(arrays["weight_codes"]).long() - 1) // 2
                step = torch.from_numpy(arrays["weight_step"])[0]
                again = torch.from_numpy(arrays["weight_codes"]).float() * step
                assert torch.allclose(again, layer.quantized().flatten(), rtol=1e-6)
        for bits, codes_here in found.items():
            assert torch.equal(codes_here, cut(found[4], 4, bits))


def test_one_clip_for_all_widths_is_refused_as_they_have_it_anyway():
    with pytest.raises(InvalidParams, match="one clip for all widths by themselves"):
        small_trainable(quantizer="nested", one_clip=4)
