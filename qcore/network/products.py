"""Multiply-accumulates of products that no layer makes: attention's, for the most part.

Products are counted where every function of torch ends, at its operators: whatever a product was
called by, and whether its operands came by keyword, does not matter there. An operator that takes
two tensors and is known neither as a product nor as free is named, so that it costs nothing
silently.
"""

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

Count = Callable[[int, list[Tensor]], None]
"""Told of a product: its multiply-accumulates and its operands."""


def _matrices(args: Any, output: Tensor) -> int:
    return output.numel() * int(args[0].shape[-1])


def _added(args: Any, output: Tensor) -> int:
    return output.numel() * int(args[1].shape[-1])


def _all_of_first(args: Any, output: Tensor) -> int:
    return int(args[0].numel())


def _sum_of_products(args: Any, output: Tensor) -> int:
    return int(args[1].numel()) * int(args[2].shape[-1])


def _convolution(args: Any, output: Tensor) -> int:
    values, weight = args[:2]
    transposed = len(args) > 6 and args[6] is True
    return int((values if transposed else output).numel() * weight[0].numel())


def _attention(args: Any, output: Tensor) -> int:
    """Queries with keys, and probabilities with values."""
    queries, keys = args[:2]
    return int((queries.numel() + output.numel()) * keys.shape[-2])


def _attention_places_first(args: Any, output: Tensor) -> int:
    """The same where dimensions are (n, places, heads, features)."""
    queries, keys = args[:2]
    return int((queries.numel() + output.numel()) * keys.shape[1])


def _recurrent(args: Any, output: Tensor) -> int:
    """Each step of each sample is multiplied with every matrix."""
    matrices = [w for w in _flat(args[1:]) if w.dim() == 2]
    return int(prod(args[0].shape[:2])) * sum(w.numel() for w in matrices)


def _recurrent_layer(args: Any, output: Tensor) -> int:
    return int(prod(args[0].shape[:2])) * int(args[1].numel() + args[2].numel())


def _three(args: Any, output: Tensor) -> int:
    """A product of three that are widened to one shape first."""
    shapes = []
    for tensor, widened in zip(args[:3], args[3:6], strict=True):
        shape = list(tensor.shape)
        for place in sorted(widened):
            shape.insert(place, 1)
        shapes.append(shape)
    return prod(torch.broadcast_shapes(*shapes))


PRODUCTS: dict[str, Callable[[Any, Tensor], int]] = {
    **dict.fromkeys(("mm", "bmm", "linear", "mkldnn_linear", "_int_mm", "_scaled_mm"), _matrices),
    **dict.fromkeys(("_weight_int8pack_mm", "_weight_int4pack_mm", "_cdist_forward"), _matrices),
    **dict.fromkeys(("addmm", "baddbmm", "_addmm_activation", "addmv"), _added),
    **dict.fromkeys(("mv", "dot", "vdot"), _all_of_first),
    "addbmm": _sum_of_products,
    **dict.fromkeys(("convolution", "_convolution", "convolution_overrideable"), _convolution),
    **dict.fromkeys(("cudnn_convolution", "mkldnn_convolution"), _convolution),
    **dict.fromkeys(("miopen_convolution", "slow_conv_dilated2d"), _convolution),
    **dict.fromkeys(("_slow_conv2d_forward", "slow_conv3d", "thnn_conv2d"), _convolution),
    **dict.fromkeys(("_conv_depthwise2d", "conv_depthwise3d", "_mps_convolution"), _convolution),
    "deform_conv2d": lambda args, output: output.numel() * int(args[1][0].numel()),
    **dict.fromkeys(("_flash_attention_forward", "_efficient_attention_forward"),
                    _attention_places_first),
    **dict.fromkeys(("_cudnn_rnn", "miopen_rnn"), _recurrent),
    "mkldnn_rnn_layer": _recurrent_layer,
    "_trilinear": _three,
}  # fmt: skip
"""Name of an operator to the multiply-accumulates of (its arguments, its output)."""

FREE = frozenset(
    # moving and choosing numbers
    {"cat", "stack", "copy_", "gather", "scatter", "scatter_", "scatter_add", "index", "index_put"}
    | {"index_put_", "index_add", "index_select", "embedding", "embedding_renorm_", "where"}
    | {"_unsafe_index", "masked_fill", "masked_scatter", "searchsorted", "take", "index_copy"}
    | {"_embedding_bag_forward_only", "_embedding_bag", "constant_pad_nd", "slice_scatter"}
    | {"select_scatter", "repeat_interleave", "_pack_padded_sequence", "max_unpool2d"}
    | {"_index_put_impl_", "scatter_reduce", "set_", "resize_as_", "bucketize", "tril", "triu"}
    # norms, and what is done number by number
    | {"native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training"}
    | {"cudnn_batch_norm", "batch_norm_elemt", "_batch_norm_no_update", "native_layer_norm"}
    | {"_fused_rms_norm", "_batch_norm_with_update", "_batch_norm_impl_index", "miopen_batch_norm"}
    | {"native_group_norm", "_prelu_kernel", "lerp", "equal", "allclose", "linear_backward"}
    | {"_thnn_fused_lstm_cell", "_thnn_fused_gru_cell", "is_same_size", "_softmax", "renorm"}
    # interpolation between neighbours
    | {"grid_sampler_2d", "grid_sampler_3d", "cudnn_grid_sampler", "roi_align", "roi_pool"}
    | {"nms", "_cudnn_ctc_loss", "_ctc_loss", "complex", "polar", "atan2"}
)
"""Operators on two tensors that make no product of matrices."""


class Products(TorchDispatchMode):
    """Counts every product made inside.

    Args:
        count: Told of each product.
        unknown: Told the name of each operator that may be one.
    """

    def __init__(self, count: Count, unknown: Callable[[str], None]) -> None:
        super().__init__()
        self._count, self._unknown = count, unknown

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: to be skipped, PyTorch would load its compiler, which takes a second."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operator and count it."""
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        formula = PRODUCTS.get(name)
        if formula is None and name.startswith("_scaled_dot_product"):
            formula = _attention
        if formula is None and func.namespace == "aten" and name not in FREE:
            # in inference mode whole functions arrive here; they are taken apart
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        output = func(*args, **kwargs)
        if formula is not None:
            values = _in_order(func, args, kwargs)
            first = output[0] if isinstance(output, (tuple, list)) else output
            self._count(formula(values, first), list(_flat(values)))
        elif name not in FREE and not _plainly_free(func) and _may_multiply((args, kwargs)):
            self._unknown(f"{func.namespace}.{name}")
        return output


def _may_multiply(values: Any) -> bool:
    return sum(t.dim() > 1 and t.is_floating_point() for t in _flat(values)) > 1


def _plainly_free(func: Any) -> bool:
    tags = {torch.Tag.pointwise, torch.Tag.reduction, torch.Tag.view_copy}
    return bool(func.is_view) or not tags.isdisjoint(func.tags)


def _in_order(func: Any, args: Any, kwargs: Any) -> tuple[Any, ...]:
    """All arguments in the order of the operator's schema, as far as they were given."""
    rest = func._schema.arguments[len(args) :]
    return (*args, *(kwargs[a.name] for a in rest if a.name in kwargs))


def _flat(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, dict):
        yield from _flat(tuple(values.values()))
    elif isinstance(values, (tuple, list)):
        for value in values:
            yield from _flat(value)
