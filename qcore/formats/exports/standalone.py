"""What a script needs of bitdial to run without it: the rewriting of attention, as source text.

Networks with attention, and some batch-norms, compute layers that are no modules. Their bits were
measured on the network that `qcore.network.rewriting.explicit` makes, so a script has to make it as
well. The modules named here import nothing but torch and each other; their sources travel in the
script under names of their own, so that an installed bitdial is not disturbed. Torch-free.
"""

import json
from pathlib import Path

from qcore.formats.config import BitConfig, dump_bits

FOLDER = Path(__file__).parents[2] / "network" / "rewriting"
SOURCES = {
    "attention": "attention.py",
    "norm_then_rest": "norm_then_rest.py",
    "window_attention": "window_attention.py",
    "rewriting": "__init__.py",
}
"""Name in a script to file, in the order in which they import each other."""

PREFIX = "bitdial_"
CONFIG, REWRITING = 'CONFIG = ""', "REWRITING: dict[str, str] = {}"


def fill(template: Path, config: BitConfig) -> bytes:
    """A script of a template with a configuration and the rewriting in it."""
    sources = {}
    for name, file in SOURCES.items():
        text = (FOLDER / file).read_text(encoding="utf-8")
        sources[PREFIX + name] = text.replace("from qcore.network.rewriting.", f"from {PREFIX}")
    text = template.read_text(encoding="utf-8")
    # the configuration last, so that nothing is replaced in it; repr, and JSON in ASCII, so that
    # no layer name can end its string and become code
    text = text.replace(REWRITING, f"REWRITING: dict[str, str] = {json.dumps(sources)}", 1)
    return text.replace(CONFIG, f"CONFIG = {dump_bits(config)!r}", 1).encode()
