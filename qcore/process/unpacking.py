"""How much a packed file may come to: what it asks for stands in proportion to its size. Pure."""

import zipfile
from pathlib import Path

from qcore.errors import QcoreError

PACKED = 100
"""How many times its size a packed file may come to, beyond ROOM: deflated zeros come to 1,000."""

ROOM = 256 * 2**20
"""Bytes that any file may come to."""


def check_unpacked(size: int, unpacked: int, words: str, error: type[QcoreError]) -> None:
    """Raise where a file comes to far more than its size.

    Args:
        size: Of the file, bytes.
        unpacked: What it comes to, bytes, as it says itself.
        words: What messages call it.
        error: What is raised.
    """
    if unpacked > ROOM and unpacked > PACKED * size:
        raise error(
            f"{words} is {size / 1e6:,.2f} MB and would come to {unpacked / 1e6:,.0f} MB; beyond "
            f"{ROOM / 1e6:,.0f} MB at most {PACKED} times a file's size is unpacked. Save it "
            "without compression (numpy.savez, torch.save) if it is what you want."
        )


def zip_sizes(path: Path) -> tuple[int, bool]:
    """What the members of a zip file come to, bytes, and whether none of them is packed.

    (0, False) where it is no zip file, or one that its reader will refuse.
    """
    try:
        if not zipfile.is_zipfile(path):
            return 0, False
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return 0, False
    stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in members)
    return sum(entry.file_size for entry in members), stored
