"""Safetensors with every weight in exactly its bits: the promised bytes, and a stated overhead.

The file holds all the network needs beside its architecture. The safetensors library opens it; the
script `packed_reader.py` beside this module, which needs torch alone, turns it into a network.
Layout: NAME.weight_packed is U8 and ceil(weights * bits / 8) bytes long (see `packing`), so that
together they are `weight_bytes`; the rest is overhead, itemised in the report.
"""

from pathlib import Path

from qcore.formats.exports.base import Export, needs_state

READER = Path(__file__).parent / "templates" / "packed_reader.py"
"""A script that needs only torch: reads the file and applies it to the float architecture."""

EXPORT = Export(
    name="packed",
    title="Bit-packed weights (safetensors)",
    suffix=".packed.safetensors",
    mime="application/octet-stream",
    needs_model=True,
    carries=needs_state,
    runs_in="torch, safetensors",
    note="Weights take exactly their bits on disk. Read it with packed_reader.py, which needs only "
    "torch, or with the safetensors library; running it dequantizes to float.",
    render_model="qcore.formats.exports.torch_side.packed:render",
)
