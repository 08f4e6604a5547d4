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
nearest codes. Figures of different roundings are not compared with each other.

A rounding needs the second moments of every layer's inputs, n x n numbers for n inputs. Where those
of all layers do not fit into 512 MiB, a network of repeated blocks (transformers' encoders and
decoders) is run block by block: each block once, on the activations that the one before left, and
its moments are dropped before the next one's are made. The codes are those of whole passes, to the
bit. Other networks are run whole, once for each part of their layers that fits.

What that takes beside the network itself, for 768 texts of 128 tokens (the default) and one thread
(`python -m benchmarks.networks.decoder_memory`). Measured is a random decoder of 0.11 B parameters
on 64 texts: 628 MB at the peak, where the formula says 662; the others are computed by it.

| decoder | network, float32 | between blocks | moments | GPTQ, widest layer | peak beside it |
|---|---|---|---|---|---|
| 0.11 B (width 768, 11 blocks) | 0.44 GB | 0.30 GB | 0.05 GB | 0.59 GB | 0.94 GB |
| 1.2 B (Llama 3.2's sizes) | 4.9 GB | 0.81 GB | 0.37 GB | 4.2 GB | 5.3 GB |
| 6.7 B (Llama 2's sizes) | 26 GB | 1.6 GB | 0.54 GB | 7.9 GB | 10 GB |

GPTQ's copies of one matrix of moments (n x n of the layer with the most inputs) are the most of it,
not the activations. The network is not streamed from its files: it is in memory in float32, twice
while it is wrapped, and so are the codes, a byte for each weight and width. A network of 7 B
therefore needs a machine of 80 GB and more, and files of weights above 4.3 GB are refused; the
block-wise pass bounds what is added."""


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
