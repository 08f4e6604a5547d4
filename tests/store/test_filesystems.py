"""A database on a network file system is refused, with the reason; local ones are not."""

from pathlib import Path

import pytest

from qcore.errors import DatabaseUnavailable
from store import database
from store.database.filesystems import filesystem_of, is_network, mount_table, refuse_network

TABLE = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /home rw,relatime shared:2 - autofs systemd-1 rw
31 30 0:41 / /home/ann rw,relatime - nfs4 server:/export rw,vers=4.2
32 31 0:42 / /home/ann/My\040Disk rw - ext4 /dev/sdb1 rw
33 22 0:43 / /mnt/share rw master:3 propagate_from:2 - cifs //host/share rw
34 22 0:44 / /mnt/twice rw - ext4 /dev/sdc1 rw
35 34 0:45 / /mnt/twice rw - fuse.sshfs ann@host: rw
36 22 0:46 / /mnt/windows rw - 9p drvfs rw
37 22 0:47 / /mnt/disk rw - fuseblk /dev/sdd1 rw
nonsense
"""

KINDS = {
    "/var/lib/bitdial.db": "ext4",
    "/home/ann/bitdial.db": "nfs4",
    "/home/anna/bitdial.db": "autofs",
    "/home/ann/My Disk/bitdial.db": "ext4",
    "/mnt/share/a/b/bitdial.db": "cifs",
    "/mnt/twice/bitdial.db": "fuse.sshfs",
    "/mnt/windows/bitdial.db": "9p",
    "/mnt/disk/bitdial.db": "fuseblk",
}


@pytest.mark.parametrize(("path", "kind"), KINDS.items())
def test_the_mount_that_holds_a_path_is_found(path, kind):
    assert filesystem_of(Path(path), TABLE) == kind


def test_without_a_table_nothing_is_known():
    assert filesystem_of(Path("/a"), None) is None
    refuse_network(Path("/a"), None)


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "ceph", "lustre"])
def test_network_kinds_are_known(kind):
    assert is_network(kind)


@pytest.mark.parametrize(
    "kind", [None, "ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "fuseblk", "9p", "virtiofs"]
)
def test_local_kinds_and_those_of_virtual_machines_pass(kind):
    assert not is_network(kind)


@pytest.mark.skipif(mount_table() is None, reason="only Linux lists its mounts")
def test_the_real_table_is_understood(tmp_path):
    assert filesystem_of(tmp_path.resolve(), mount_table())


def test_a_database_on_a_network_share_is_refused_before_anything_is_made(tmp_path, monkeypatch):
    share = tmp_path / "share"
    table = f"1 0 0:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:2 / {share} rw - nfs4 host:/x rw\n"
    monkeypatch.setattr(database, "mount_table", lambda: table)
    with pytest.raises(DatabaseUnavailable) as caught:
        database.open_store(share / "bitdial.db")
    for words in ("nfs4", "write-ahead log", "BITDIAL_DATA", "PostgreSQL"):
        assert words in str(caught.value)
    assert not share.exists()
    database.open_store(tmp_path / "bitdial.db").engine.dispose()
