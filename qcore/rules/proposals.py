"""Rules that a network's own layers and wiring propose: ties, and widths of tables. Torch-free.

Layers that read one tensor meet it at one width in most runtimes: linear ones, such as query, key
and value or gate and up, are often one fused kernel, so that their weights share a width too; a
block's convolution and its shortcut share their input alone. What meets in an addition, such as
a residual stream, has one width on runtimes that add codes. A convolution and the rounding of its
output are one operation where the next layer's codes are of the width of its own.

A table that ids are looked up in is often half of a language model, and stands few bits where each
32 or 64 weights of a row have a scale of their own: no input tells which of them matter.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from qcore.allocation import LayerSpec, ModelSpec, in_order, parse_width
from qcore.errors import InvalidParams
from qcore.rules.pattern import quoted
from qcore.rules.resolve import resolve
from qcore.rules.rule import Rule
from qcore.rules.ties import PARTS, WORDS, Tie, merged

LINEAR = ("linear",)
TABLES = "kind:*embedding"
TABLE_WIDTHS = in_order(
    map(parse_width, ["2g32", "2g64", "3", "3g32", "3g64", "4", "4g64", "5", "6", "8"])
)
"""Widths worth measuring of a table's rows."""
FUSED = ("conv1d", "conv2d", "conv3d")
"""Kinds that integer runtimes multiply and round in one operation."""


@dataclass(frozen=True)
class Proposal:
    """Rules worth taking, for a reason that a network's wiring gives.

    Attributes:
        title: What it ties, or else what it does, in a few words.
        reason: Why a device may need it, one sentence.
        rules: The rules.
        ties: The ties that they are; () where they tie nothing.
    """

    title: str
    reason: str
    rules: tuple[Rule, ...]
    ties: tuple[Tie, ...]


def proposals(model: ModelSpec) -> list[Proposal]:
    """Rules that this network proposes; no ties where its wiring is not known."""
    read: dict[str, list[LayerSpec]] = {}
    added: dict[str, list[LayerSpec]] = {}
    for layer in model.layers:
        if layer.tensor and not layer.looks_up:
            read.setdefault(layer.tensor, []).append(layer)
        if layer.stream:
            added.setdefault(layer.stream, []).append(layer)
    together = [group for group in read.values() if len(group) > 1]
    fused = [group for group in together if all(one.kind in LINEAR for one in group)]
    inputs = [group for group in together if group not in fused]
    sums = [g for g in added.values() if len({one.tensor for one in g}) > 1]
    found = [
        _proposal(
            model,
            fused,
            "both",
            "Linear layers that read one tensor",
            "A fused kernel, as of query, key and value, multiplies them as one matrix of one "
            "width.",
        ),
        _proposal(
            model,
            inputs,
            "activations",
            "Layers that read one tensor",
            "The tensor is quantized once, and counted once in memory.",
        ),
        _proposal(
            model,
            sums,
            "activations",
            "Layers that read what additions join",
            "Runtimes that add codes want both sides of a residual sum at one width.",
        ),
        _proposal(
            model,
            _passed_on(model),
            "activations",
            "Convolutions and what reads their output",
            "ONNX Runtime fuses a convolution with the rounding of its output (QLinearConv, with "
            "weights and inputs of 8 bits) where it and what reads it have inputs of one width.",
        ),
    ]
    return [each for each in (*found, _tables(model)) if each is not None]


def _tables(model: ModelSpec) -> Proposal | None:
    tables = [layer.name for layer in model.layers if layer.kind.endswith("embedding")]
    if not tables:
        return None
    counted = "a table" if len(tables) == 1 else f"{len(tables)} tables"
    return Proposal(
        f"Scales per group in {counted} of ids",
        "Rows of tables stand few bits where each 32 or 64 weights have a scale, which is counted.",
        (Rule(TABLES, weights=TABLE_WIDTHS),),
        (),
    )


def _passed_on(model: ModelSpec) -> list[list[LayerSpec]]:
    """Convolutions with the layers that read their codes, joined along chains."""
    layers = {layer.name: layer for layer in model.layers}
    pairs = [
        Tie("activation", (layer.follows, layer.name))
        for layer in model.layers
        if layer.follows in layers and layers[layer.follows].kind in FUSED
    ]
    return [[layers[name] for name in tie.layers] for tie in merged(pairs, model.names)]


def _proposal(
    model: ModelSpec, groups: Sequence[Sequence[LayerSpec]], tie: str, title: str, reason: str
) -> Proposal | None:
    if not groups:
        return None
    names = [tuple(layer.name for layer in group) for group in groups]
    wanted = tuple(
        Tie(part, group) for part in PARTS if tie in ("both", WORDS[part]) for group in names
    )
    short = [Rule(pattern, tie=tie) for pattern in dict.fromkeys(map(_pattern, names)) if pattern]
    one_by_one = [Rule(", ".join(map(quoted, group)), tie=tie) for group in names]
    rules = short if _ties(short, model) == set(wanted) else one_by_one
    size = sorted({len(group) for group in names})
    counted = f"{len(names)} of {size[0]}" if len(size) == 1 else f"{len(names)}"
    return Proposal(f"{title} ({counted})", reason, tuple(rules), wanted)


def _pattern(names: Sequence[str]) -> str:
    """A pattern for layers of one module that differ in their last words: "*.{q,k,v}_proj"."""
    heads = {name.rpartition(".")[0] for name in names}
    if len(heads) != 1 or not next(iter(heads)):
        return ""
    ends = ",".join(name.rpartition(".")[2] for name in names)
    return f"*.{{{ends}}}"


def _ties(rules: Iterable[Rule], model: ModelSpec) -> set[Tie]:
    try:
        return set(resolve(list(rules), model.layers, (4, 8), (4, 8)).ties)
    except InvalidParams:
        return set()
