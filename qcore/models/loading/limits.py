"""How much a file may ask of this machine."""

from pathlib import Path

from qcore.errors import DataUnavailable, InvalidConfig
from qcore.process.unpacking import check_unpacked, zip_sizes

FILE_BYTES = 4 * 2**30
"""Largest file that is read, and most bytes its tensors may come to."""


def check_size(path: Path, most: int = FILE_BYTES) -> None:
    """Raise unless a file is there, not empty, and within the limit, unpacked too.

    Raises:
        DataUnavailable: there is no such file.
        InvalidConfig: it is empty or too large, or comes to far more than its size; says both.
    """
    if not path.is_file():
        raise DataUnavailable(f"There is no file {path}.")
    size = path.stat().st_size
    if size == 0:
        raise InvalidConfig(f"{path} is empty; save it again.")
    unpacked = zip_sizes(path)[0] if size <= most else 0
    check_unpacked(size, unpacked, str(path), InvalidConfig)
    size = max(size, unpacked)
    if size > most:
        raise InvalidConfig(
            f"{path} holds {size / 1e6:,.0f} MB; at most {most / 1e6:,.0f} MB are read. Save the "
            "weights alone, without the optimiser's state."
        )
