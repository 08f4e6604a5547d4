"""Everything about one configuration in one ZIP file, with checksums. Pure."""

import hashlib
import io
import zipfile
from collections.abc import Mapping

from qcore import __version__
from qcore.errors import ExportRefused
from qcore.formats.config import BitConfig
from qcore.formats.exports import EXPORTS, write
from qcore.formats.schemas import CONFIGURATION

SUMS = "SHA256SUMS"
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The same content gives the same bytes, whenever it is made."""


def bundle(config: BitConfig, stem: str, extra: Mapping[str, bytes]) -> bytes:
    """The ZIP file: every format that holds this configuration, what is given, a list, checksums.

    Args:
        config: The configuration.
        stem: Beginning of file names: ASCII letters, digits, "._-".
        extra: File name to content: the report, tables.
    """
    files: dict[str, bytes] = {}
    lines = [f"{stem}: written by bitdial {__version__}", ""]
    for export in EXPORTS.values():
        name = f"{stem}{export.suffix}"
        if export.needs_model:
            lines.append(f"{export.title}: not in here, it contains the network; made separately")
            continue
        try:
            files[name] = write(export, config)
        except ExportRefused as error:
            lines.append(f"{export.title}: not in here. {error}")
        else:
            lines.append(f"{name}: {export.title}. {export.note}".rstrip())
    files |= {CONFIGURATION.name: CONFIGURATION.read_bytes(), **extra}
    lines += [f"{name}" for name in (CONFIGURATION.name, *extra)]
    lines += ["", f"Check the files with: sha256sum -c {SUMS}"]
    files["README.txt"] = ("\n".join(lines) + "\n").encode("utf-8", "replace")
    files[SUMS] = checksums(files)
    return zipped(files)


def checksums(files: Mapping[str, bytes]) -> bytes:
    """One line a file, as `sha256sum -c` reads them."""
    return "".join(
        f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items()
    ).encode()


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A ZIP file; equal files give equal bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    return out.getvalue()
