"""Writes docs/searches.md from the records of the searches: what each does, and its settings.

python -m benchmarks.allocation.searches_table
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from qcore.ptq.rounding_names import ROUNDING_FACTS
from qcore.quantizer_names import POST_TRAINING
from qcore.search import Search
from qcore.searches import SEARCHES

DOCUMENT = Path(__file__).parents[2] / "docs" / "searches.md"
HEAD = """# The searches and their settings

Written by `python -m benchmarks.allocation.searches_table` from the records in `qcore/searches/`;
a setting is passed as `--param NAME=VALUE` of `python -m store run`, or on the Searches page.
"""

QUANTIZERS = """## Quantizers of weights

`--quantizer NAME` says how the step of each output channel is chosen where nothing is trained:

| quantizer | what it is |
|---|---|"""


ROUNDINGS = """## Roundings of weights

`--rounding NAME` says how weights become codes where nothing is trained:

| rounding | what it is | how a weight becomes a code |
|---|---|---|"""

AFTER_ROUNDINGS = """`gpfq` and `gptq` look at what each layer is given in the float network, on
all calibration images but the first quarter (at most 256): sensitivities and corrections are taken
on those. Nothing in it depends on the bits of other layers, so the codes of a layer at a width are
made once, serve every allocation, and are kept in the folder `rounded` of the data folder. Linear
layers, convolutions of any dimension (transposed, grouped and depthwise ones too) and the matrices
of recurrent layers are rounded; tables that ids are looked up in, and 8 bits and more, go to the
nearest codes. Figures of different roundings are not compared with each other."""


def document(searches: dict[str, Search] | None = None) -> str:
    """The whole text of docs/searches.md."""
    chosen = SEARCHES if searches is None else searches
    return "\n".join([HEAD, *map(section, chosen.values()), quantizers(), roundings()])


def quantizers() -> str:
    """The post-training quantizers that any run may choose among."""
    rows = [f"| `{each.name}` | {each.title} |" for each in POST_TRAINING.values()]
    return "\n".join([QUANTIZERS, *rows, ""])


def roundings() -> str:
    """The roundings that any run may choose among."""
    rows = [f"| `{each.name}` | {each.title} | {each.words} |" for each in ROUNDING_FACTS.values()]
    return "\n".join([ROUNDINGS, *rows, "", AFTER_ROUNDINGS, ""])


def section(search: Search) -> str:
    """What one search does, its reference, and a table of its settings."""
    lines = [f"## `{search.name}`: {search.title}", "", search.summary]
    if search.paper:
        lines += ["", f"Reference: {search.paper}."]
    fields = dataclasses.fields(search.params)
    if fields:
        lines += ["", "| setting | default | allowed | what it is |", "|---|---|---|---|"]
        lines += [row(each) for each in fields]
    return "\n".join([*lines, ""])


def row(field: "dataclasses.Field[Any]") -> str:
    """One setting: name, default, what may be given, and the form's words for it."""
    meta = field.metadata
    words = f"{meta['label']}. {meta['help']}".replace("|", "\\|")
    return f"| `{field.name}` | {shown(field.default)} | {allowed(field)} | {words} |"


def allowed(field: "dataclasses.Field[Any]") -> str:
    """What a setting may be, in words."""
    meta = field.metadata
    if "of" in meta:
        return f"a {meta['of']}"
    if "choices" in meta:
        several = "any of " if isinstance(field.default, tuple) else ""
        return several + ", ".join(f"`{choice}`" for choice in meta["choices"])
    if "min" in meta:
        return f"{meta['min']:,} to {meta['max']:,}"
    return "true or false" if isinstance(field.default, bool) else "text"


def shown(value: object) -> str:
    """A default as a user would write it."""
    if isinstance(value, tuple):
        return ", ".join(f"`{each}`" for each in value) or "none"
    return f"`{value}`" if isinstance(value, str) else json.dumps(value)


def main() -> None:
    """Write the document."""
    DOCUMENT.write_text(document(), encoding="utf-8")


if __name__ == "__main__":
    main()
