"""QONNX: ONNX with Quant nodes that carry any bit-width, read by FINN, hls4ml and qonnx."""

from qcore.formats.config import BitConfig
from qcore.formats.exports.base import Export, needs_state
from qcore.formats.exports.widths import without_groups, without_halves


def carries(config: BitConfig) -> str | None:
    """The reason where there are no scales, or a layer that Quant nodes have no type for."""
    return (
        needs_state(config)
        or without_halves(config, "Quant nodes have")
        or without_groups(config, "Quant nodes of other tools have")
    )


EXPORT = Export(
    name="qonnx",
    title="QONNX (any width, for FPGA tools)",
    suffix=".qonnx.onnx",
    mime="application/octet-stream",
    needs_model=True,
    carries=carries,
    runs_in="qonnx, FINN, hls4ml",
    note="Every width as it is, in Quant nodes; weights themselves are stored as float32. For the "
    "qonnx tools, FINN and hls4ml; ONNX Runtime does not run it.",
    render_model="qcore.formats.exports.torch_side.qonnx:render",
)
