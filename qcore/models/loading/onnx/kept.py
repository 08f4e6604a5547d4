"""The file that is kept of a network: weights that lie beside an ONNX file are joined with it."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qcore.models.loading.onnx.parse import WHAT, has_weights_beside, take_in
from qcore.models.loading.packages import need


@contextmanager
def kept_file(source: str, weights: Path | None) -> Iterator[Path | None]:
    """The file to copy into a network's folder; it is gone afterwards where it was made for that.

    Args:
        source: Where the network comes from, of `cards.SOURCES`.
        weights: The file that was given.
    """
    if source != "onnx" or weights is None or not has_weights_beside(weights):
        yield weights
        return
    onnx = need("onnx", WHAT)
    proto = onnx.load(str(weights), load_external_data=False)
    take_in(proto, weights)
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole.onnx"
        whole.write_bytes(proto.SerializeToString())
        yield whole
