"""A Python script that needs nothing but torch: the template beside it with this configuration."""

from pathlib import Path

from qcore.config import BitConfig, dump_bits
from qcore.exports.base import Export

TEMPLATE = Path(__file__).parent / "apply_template.py"
PLACE = 'CONFIG = ""'


def render(config: BitConfig) -> bytes:
    """The script as bytes; `python apply_bits.py --help` explains it."""
    # repr, so that no layer name can end the string and become code
    return TEMPLATE.read_text().replace(PLACE, f"CONFIG = {dump_bits(config)!r}", 1).encode()


EXPORT = Export("script", "Script (apply_bits.py)", ".apply_bits.py", "text/x-python", render)
