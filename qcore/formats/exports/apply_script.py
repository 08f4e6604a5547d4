"""A Python script that needs nothing but torch: the template beside it with this configuration."""

from pathlib import Path

from qcore.formats.config import BitConfig
from qcore.formats.exports.base import Export
from qcore.formats.exports.standalone import fill

TEMPLATE = Path(__file__).parent / "templates" / "apply.py"


def render(config: BitConfig) -> bytes:
    """The script as bytes; `python apply_bits.py --help` explains it."""
    return fill(TEMPLATE, config)


EXPORT = Export(
    "script",
    "Script (apply_bits.py)",
    ".apply_bits.py",
    "text/x-python",
    render,
    runs_in="torch",
)
