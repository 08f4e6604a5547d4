"""ONNX with QuantizeLinear / DequantizeLinear pairs: three files that differ in their containers.

ONNX has integers of 8 bits, from opset 21 of 4 and from opset 25 of 2. A width in between is stored
in the next wider one, and the report lists every such layer under "widened"; the values are those
of the narrow width all the same: inputs are clipped to its range first.
"""

from functools import partial

from qcore.allocation import stored_bits
from qcore.formats.config import BitConfig
from qcore.formats.exports.base import Export, needs_state

_MIME = "application/octet-stream"
_MODULE = "qcore.formats.exports.torch_side.onnx_qdq"
_onnx = partial(Export, mime=_MIME, needs_model=True, carries=needs_state)

INT4 = _onnx(
    name="onnx",
    title="ONNX, int8 and int4 (QDQ)",
    suffix=".int4.onnx",
    runs_in="ONNX Runtime, opset 21",
    note="Opset 21. Weights of up to 4 bits are stored two in a byte. ONNX Runtime's CPU computes "
    "layers below 8 bits in float after dequantizing: smaller, not faster.",
    render_model=f"{_MODULE}:render_int4",
)
INT8 = _onnx(
    name="onnx8",
    title="ONNX, int8 only (QDQ)",
    suffix=".int8.onnx",
    runs_in="most ONNX runtimes, opset 18",
    note="Opset 18, one byte a weight whatever its bits: the file most runtimes read.",
    render_model=f"{_MODULE}:render_int8",
)
INT2 = _onnx(
    name="onnx2",
    title="ONNX, int8, int4 and int2 (QDQ)",
    suffix=".int2.onnx",
    runs_in="ONNX Runtime 1.31, opset 25",
    note="Opset 25. Needs a recent runtime: ONNX Runtime 1.31 runs it with session option "
    "session.disable_quant_qdq=1 or basic optimisation.",
    render_model=f"{_MODULE}:render_int2",
)
EXPORTS_HERE = (INT4, INT8, INT2)


def carrier(config: BitConfig) -> Export:
    """The one whose containers are as small as a configuration's narrowest weights allow."""
    widths = [stored_bits(bits.weight) for bits in config.allocation.values()]
    narrowest = min(widths, default=8)
    return INT2 if narrowest <= 2 else INT4 if narrowest <= 4 else INT8
