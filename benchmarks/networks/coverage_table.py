"""Writes docs/coverage.md from what `benchmarks.networks.coverage` measured.

python -m benchmarks.networks.coverage_table
"""

import json
import textwrap
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results" / "coverage.json"
NONE = "-"
KNOWN = {"norms", "positions and tokens", "attention biases", "scales"}
"""What may stay in float in a network that counts as wholly covered."""
DOCUMENT = Path(__file__).parents[2] / "docs" / "coverage.md"

HEAD = """# Coverage: which weights get bits

Every parameter of a network is under a bit-width, listed as left in float with its share, or named
as never run. This page counts them for all {tv} classifiers of torchvision and {timm} networks of
timm (`python -m benchmarks.networks.coverage`; {versions}).

{summary}

- **Layers**: convolutions and linear layers that get bits of their own; one that runs several times
  counts once. Attention whose projections are not modules (`nn.MultiheadAttention`, torchvision's
  Swin) is first rewritten into linear layers: `self_attention` becomes `self_attention.q_proj`,
  `.k_proj`, `.v_proj` and `.out_proj` (the first three hold the rows of `in_proj_weight`, a third
  each, in this order). Swin's `qkv` and `proj` keep their names, and timm's batch-norms that also
  apply an activation become `.norm` and `.act`. `apply_bits` and the
  exported scripts take your own, untouched network.
- **Under a bit-width**: share of the weights that run; biases do not count.
- **Left in float**: everything else that runs, by kind. Batch-norms are folded into the layer
  before them where the graph allows; norms that cannot be folded stay.
  A convolution whose class standardises its weight before it multiplies stays in float too.
- **Never runs**: parameters that evaluation does not use, such as auxiliary heads. They have no
  bits and no cost.
- **Products**: share of all multiply-accumulates in products of two activations (queries with
  keys, probabilities with values), or in a layer left in float. They stay in float, and no cost
  counts them.
- **Difference**: relative difference of the outputs of the wrapped network, every layer at 32 bits,
  from the network's own, on random weights and one random image: what folding and rewriting
  change. A dash: not compared, for its size.
- **Time**: CPU seconds of finding the layers, one thread, `torch.export` included.

| network | layers | under bits | left in float | never runs | GMAC | products | difference | s |
|---|---|---|---|---|---|---|---|---|
"""


def write_table(rows: dict[str, dict[str, Any]]) -> None:
    """Write the page."""
    versions = [f"{name} {version(name)}" for name in ("torch", "torchvision", "timm")]
    text = HEAD.format(
        tv=sum(name.startswith("torchvision/") for name in rows),
        timm=sum(name.startswith("timm/") for name in rows),
        versions=", ".join(versions),
        summary=summary(rows),
    )
    order = sorted(rows, key=lambda name: (name.startswith("timm/"), name))
    text += "".join(line(name, rows[name]) for name in order)
    DOCUMENT.write_text(text)
    print(f"wrote {DOCUMENT}")


def summary(rows: dict[str, dict[str, Any]]) -> str:
    """What all rows say, in a paragraph."""
    whole = [
        n
        for n, row in rows.items()
        if set(row["left"]) <= KNOWN and not any(" weights" in w for w in row["warnings"])
    ]
    rest = {n: row for n, row in rows.items() if n not in whole}
    least = min((rows[n] for n in whole), key=lambda row: row["coverage"])
    compared = [row["difference"] for row in rows.values() if "difference" in row]
    seconds = sorted(row["seconds"] for row in rows.values())
    sentences = [
        f"In {len(whole)} of {len(rows)} networks every weight that is multiplied with is under a "
        "bit-width, and only norms, positions, tokens, attention biases and scales stay in float "
        f"(at most {1 - least['coverage']:.2%} of the weights).",
        *(
            f"In {n} it is {row['coverage']:.2%}: {row['left'].get('other', 0):,} other parameters "
            f"stay in float. {' '.join(row['warnings'][:1])}"
            for n, row in rest.items()
        ),
        f"torch.export follows {sum(row['exported'] for row in rows.values())} of {len(rows)}.",
        f"Of the {len(compared)} networks compared, the largest difference is {max(compared):.1e}."
        if compared
        else "",
        f"Finding the layers takes {seconds[len(seconds) // 2]:.1f} s in the median and "
        f"{seconds[-1]:.1f} s at most.",
    ]
    return "\n".join(textwrap.wrap(" ".join(sentence for sentence in sentences if sentence), 100))


def line(name: str, row: dict[str, Any]) -> str:
    """One row of the table."""
    weights = row["weights"] + sum(row["left"].values())
    left = ", ".join(f"{kind} {share(count, weights)}" for kind, count in row["left"].items())
    idle = f"{row['idle']:,} ({share(row['idle'], row['parameters'])})" if row["idle"] else NONE
    macs = row["macs"] + row["product_macs"]
    products = share(row["product_macs"], macs) if row["product_macs"] else NONE
    gap = f"{row['difference']:.0e}" if "difference" in row else NONE
    cells = [
        name.replace("torchvision/", ""),
        str(row["layers"]),
        share(row["weights"], weights),
        left or NONE,
        idle,
        f"{row['macs'] / 1e9:.2f}",
        products,
        gap,
        f"{row['seconds']:.1f}",
    ]
    return f"| {' | '.join(cells)} |\n"


def share(part: int, whole: int) -> str:
    """A percentage that is 100 % only where it is all."""
    value = 100 * part / whole
    if part == whole:
        return "100 %"
    digits = 1 if 0.1 <= value <= 99.9 else 3
    return f"{value:.{digits}f} %"


if __name__ == "__main__":
    write_table(json.loads(RESULTS.read_text()))
