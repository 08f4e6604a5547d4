"""Writes out the padding that a convolution or pooling of ONNX leaves to its input's size."""

from typing import Any

from qcore.models.loading.onnx.runtime import copied
from qcore.models.loading.packages import need

_PADDED = ("Conv", "MaxPool", "AveragePool", "LpPool")


def with_pads(proto: Any) -> Any:
    """A copy in which SAME_UPPER and SAME_LOWER are numbers, where the sizes are known."""
    wanted = [node for node in proto.graph.node if _same(node)]
    if not wanted:
        return proto
    copy = copied(proto)
    known = _shapes(copy)
    weights = {tensor.name: list(tensor.dims) for tensor in copy.graph.initializer}
    for node in copy.graph.node:
        told = {attribute.name: attribute for attribute in node.attribute}
        sizes = known.get(node.input[0], [])[2:] if _same(node) else []
        kernel = list(told["kernel_shape"].ints) if "kernel_shape" in told else []
        if node.op_type == "Conv" and not kernel:
            kernel = weights.get(node.input[1], [])[2:]
        if not kernel or not _same(node):
            continue
        strides = list(told["strides"].ints) if "strides" in told else [1] * len(kernel)
        dilations = list(told["dilations"].ints) if "dilations" in told else [1] * len(kernel)
        if len(sizes) != len(kernel):
            sizes = [0] * len(kernel)
        if any(size == 0 and stride > 1 for size, stride in zip(sizes, strides, strict=True)):
            continue
        totals = [
            _total(*each) for each in zip(sizes, kernel, strides, dilations, strict=True)
        ]  # fmt: skip
        more = [total - total // 2 for total in totals]
        less = [total // 2 for total in totals]
        upper = told["auto_pad"].s == b"SAME_UPPER"
        helper = need("onnx", "").helper
        for name in ("auto_pad", "pads"):
            if name in told:
                node.attribute.remove(told[name])
        pads = [*less, *more] if upper else [*more, *less]
        node.attribute.append(helper.make_attribute("pads", pads))
    return copy


def _same(node: Any) -> bool:
    return node.op_type in _PADDED and any(
        a.name == "auto_pad" and a.s.startswith(b"SAME") for a in node.attribute
    )


def _total(size: int, kernel: int, stride: int, dilation: int) -> int:
    reach = (kernel - 1) * dilation + 1
    if stride == 1:
        return reach - 1
    return max((-(-size // stride) - 1) * stride + reach - size, 0)


def _shapes(proto: Any) -> dict[str, list[int]]:
    """Sizes of the values that are known, 0 where a single one is not."""
    try:
        proto = need("onnx.shape_inference", "").infer_shapes(proto)
    except Exception:  # noqa: BLE001 - the package's own; the sizes are then unknown
        return {}
    return {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*proto.graph.value_info, *proto.graph.input)
    }
