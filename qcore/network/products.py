"""Multiply-accumulates of matrix products that no layer makes: attention's, for the most part."""

from typing import Any

from torch import Tensor

PRODUCTS = frozenset(
    {"matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "baddbmm", "addmm", "einsum", "linear"}
    | {"scaled_dot_product_attention", "multi_head_attention_forward", "bilinear"}
    | {f"conv{dims}d" for dims in (1, 2, 3)}
    | {f"conv_transpose{dims}d" for dims in (1, 2, 3)}
)
"""Names of the functions that are counted."""


def product_macs(function: str, args: tuple[Any, ...], output: Any) -> int:
    """Multiply-accumulates of one call of a function of PRODUCTS.

    A product of matrices takes numel(output) times the length summed over. Attention's function is
    two of them, queries with keys and probabilities with values. What cannot be told from the
    arguments (keyword operands, einsum of three) counts 0.
    """
    tensors = [value for value in _flat(args) if isinstance(value, Tensor)]
    if isinstance(output, tuple):
        output = output[0]
    if len(tensors) < 2 or not isinstance(output, Tensor):
        return 0
    if function == "scaled_dot_product_attention":
        queries, keys = tensors[:2]
        return (queries.numel() + output.numel()) * keys.shape[-2]
    if function == "multi_head_attention_forward":
        queries, keys = tensors[:2]
        return 2 * queries.numel() * keys.shape[0]
    if function == "bilinear":
        # each output is a sum over all pairs of features
        return output.numel() * tensors[2][0].numel()
    if function == "einsum":
        return _einsum_macs(args[0], tensors)
    if function in ("baddbmm", "addmm"):
        tensors = tensors[1:]
    if function.startswith("conv_transpose"):
        return tensors[0].numel() * tensors[1][0].numel()
    if function.startswith("conv"):
        return output.numel() * tensors[1][0].numel()
    return output.numel() * tensors[0].shape[-1]


def _einsum_macs(equation: Any, tensors: list[Tensor]) -> int:
    """Product of the sizes of every index of a two-operand einsum without dots; else 0."""
    if not isinstance(equation, str) or "." in equation or len(tensors) != 2:
        return 0
    operands = equation.replace(" ", "").partition("->")[0].split(",")
    sizes: dict[str, int] = {}
    for letters, tensor in zip(operands, tensors, strict=True):
        sizes.update(zip(letters, tensor.shape, strict=True))
    macs = 1
    for size in sizes.values():
        macs *= size
    return macs


def _flat(values: Any) -> list[Any]:
    flat: list[Any] = []
    for value in values:
        flat.extend(_flat(value) if isinstance(value, (tuple, list)) else [value])
    return flat
