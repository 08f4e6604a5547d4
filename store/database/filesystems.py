"""Which kind of file system a path is on; SQLite's write-ahead log cannot work across a network."""

import re
from pathlib import Path

from qcore.errors import DatabaseUnavailable

MOUNTS = Path("/proc/self/mountinfo")

NETWORK = {
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ncpfs", "glusterfs",
    "ceph", "lustre", "beegfs", "gpfs", "pvfs2", "davfs",
}  # fmt: skip
FUSE_NETWORK = {
    "sshfs", "glusterfs", "ceph", "ceph-fuse", "gvfsd-fuse", "s3fs", "gcsfuse", "rclone", "davfs2",
    "juicefs", "smbnetfs", "curlftpfs", "goofys",
}  # fmt: skip
SHARED = {"9p", "virtiofs", "vboxsf", "fuse.vmhgfs-fuse", "drvfs"}
"""A folder of the machine around a virtual one: fine while only one side opens the file."""


def mount_table() -> str | None:
    """This process's mounts as Linux lists them; None where that is not known."""
    try:
        return MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None


def filesystem_of(path: Path, mounts: str | None) -> str | None:
    """Kind of file system a path is on, such as "ext4" or "nfs4"; None where not known.

    Args:
        path: Absolute; need not exist.
        mounts: Text of a mountinfo file (man 5 proc); None gives None.
    """
    kind, depth = None, -1
    for line in (mounts or "").splitlines():
        left, dash, right = line.partition(" - ")
        fields = left.split(" ")
        if not dash or len(fields) < 5:
            continue
        place = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4]))
        # of mounts on one folder the last one hides the others
        if path.is_relative_to(place) and len(place.parts) >= depth:
            kind, depth = right.split(" ")[0], len(place.parts)
    return kind


def is_network(kind: str | None) -> bool:
    """Whether other machines may hold the files of such a file system open."""
    if kind is None:
        return False
    return kind in NETWORK or (kind.startswith("fuse.") and kind[5:] in FUSE_NETWORK)


def refuse_network(path: Path, mounts: str | None) -> None:
    """Refuse to keep a SQLite file on a network file system.

    Raises:
        DatabaseUnavailable: it is on one; says why and what to do instead.
    """
    kind = filesystem_of(path.resolve(), mounts)
    if is_network(kind):
        raise DatabaseUnavailable(
            f"The database {path} is on a network file system ({kind}). Its write-ahead log needs "
            "memory that every process shares, which machines do not: results would be lost. "
            "Set BITDIAL_DATA to a folder on a local disk, or BITDIAL_DATABASE_URL to a "
            "PostgreSQL server."
        )
