"""Makes one file of a script's template that needs torch alone: all it needs of bitdial is in it.

What all scripts do alike, `templates/common.py`, takes the place of the template's import of it.

Networks with attention or recurrence, and some batch-norms, compute layers that are no modules.
Their bits were measured on the network that `network.rewriting.expose_layers` makes, so a script
has to make it as well. The modules named here import nothing but torch and each other; their
sources travel in the script under names of their own, so that an installed bitdial is not
disturbed. Torch-free.
"""

import ast
import json
import sys
from pathlib import Path

from qcore.formats.config import BitConfig, dump_bits

COMMON = Path(__file__).parent / "templates" / "common.py"
FOLDER = Path(__file__).parents[2] / "network" / "rewriting"
SOURCES = {
    "attention": "attention.py",
    "computed_weights": "computed_weights.py",
    "norm_then_rest": "norm_then_rest.py",
    "recurrent": "recurrent.py",
    "tied": "tied.py",
    "stored_transposed": "stored_transposed.py",
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
    text = _joined(template.read_text(encoding="utf-8"), COMMON.read_text(encoding="utf-8"))
    # the configuration last, so that nothing is replaced in it; repr, and JSON in ASCII, so that
    # no layer name can end its string and become code
    text = text.replace(REWRITING, f"REWRITING: dict[str, str] = {json.dumps(sources)}", 1)
    return text.replace(CONFIG, f"CONFIG = {dump_bits(config)!r}", 1).encode()


def _joined(template: str, common: str) -> str:
    """One module of two: the template's docstring, the imports of both, common text, template."""
    docstring, imports, body = _parts(template)
    _, shared, functions = _parts(common)
    ours = [line for line in imports if not line.startswith("from qcore.")]
    wanted: dict[bool, set[str]] = {True: set(), False: set()}
    for line in (*shared, *ours):
        wanted[line.split()[1].split(".")[0] in sys.stdlib_module_names].add(line)
    order = [
        sorted(wanted[known], key=lambda line: (line[0] == "f", line)) for known in (True, False)
    ]
    found = "\n\n".join("\n".join(group) for group in order)
    return f"{docstring}\n\n{found}\n\n{functions}\n\n\n{body}\n"


def _parts(text: str) -> tuple[str, list[str], str]:
    """Docstring, import statements and the rest of a module, as they are written."""
    lines = text.splitlines()
    docstring, *others = ast.parse(text).body
    imports = [node for node in others if isinstance(node, (ast.Import, ast.ImportFrom))]

    def source(node: ast.stmt) -> str:
        return "\n".join(lines[node.lineno - 1 : node.end_lineno])

    rest = "\n".join(lines[imports[-1].end_lineno :]).strip("\n")
    return source(docstring), [source(node) for node in imports], rest
