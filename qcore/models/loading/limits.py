"""How much a file may ask of this machine."""

import zipfile
from pathlib import Path

from qcore.errors import DataUnavailable, InvalidConfig

FILE_BYTES = 4 * 2**30
"""Largest file that is read, and most bytes its tensors may come to."""


def check_size(path: Path, most: int = FILE_BYTES) -> None:
    """Raise unless a file is there, not empty, and within the limit, unpacked too.

    Raises:
        DataUnavailable: there is no such file.
        InvalidConfig: it is empty or too large; says both sizes.
    """
    if not path.is_file():
        raise DataUnavailable(f"There is no file {path}.")
    size = path.stat().st_size
    if size == 0:
        raise InvalidConfig(f"{path} is empty; save it again.")
    if size <= most and zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                size = max(size, sum(entry.file_size for entry in archive.infolist()))
        except (zipfile.BadZipFile, OSError, ValueError):
            return  # its reader says what is wrong with it
    if size > most:
        raise InvalidConfig(
            f"{path} holds {size / 1e6:,.0f} MB; at most {most / 1e6:,.0f} MB are read. Save the "
            "weights alone, without the optimiser's state."
        )
