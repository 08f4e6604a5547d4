"""Rules that change the bits of many layers at once. Pure functions."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from pages.workbench.draft import Draft, Row
from qcore.allocation import LayerSpec, ModelSpec

Chooser = Callable[[int, int, LayerSpec], bool]
"""(place from 0, number of layers, layer) to whether the rule takes it."""

LAYER_SETS: dict[str, Chooser] = {
    "all layers": lambda place, count, layer: True,
    "first and last layer": lambda place, count, layer: place in (0, count - 1),
    "all but first and last": lambda place, count, layer: place not in (0, count - 1),
    "depthwise convolutions": lambda place, count, layer: layer.depthwise,
    "other convolutions": lambda place, count, layer: (
        layer.kind.startswith("conv") and not layer.depthwise
    ),
    "linear layers": lambda place, count, layer: layer.kind == "linear",
    "recurrent layers": lambda place, count, layer: layer.kind == "recurrent",
    "embeddings": lambda place, count, layer: layer.kind.endswith("embedding"),
    "layers whose name contains …": lambda place, count, layer: True,
}
"""Which layers a rule may be for."""

NAMED = "layers whose name contains …"

PARTS = {
    "weights": ("weight",),
    "activations": ("activation",),
    "weights and activations": ("weight", "activation"),
}

STEPS = {"one bit fewer": -1, "one bit more": 1}
"""Changes that depend on what a layer has."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One change of many layers.

    Attributes:
        layers: Key of LAYER_SETS.
        part: Key of PARTS.
        bits: The new width, or a key of STEPS.
        contains: For NAMED, what the layer's name must contain; capitals do not matter.
    """

    layers: str
    part: str
    bits: int | str
    contains: str = ""


def matching(rule: Rule, model: ModelSpec) -> list[int]:
    """Places (from 0) of the layers a rule is for, locked or not."""
    chooses, count = LAYER_SETS[rule.layers], len(model.layers)
    wanted = rule.contains.casefold() if rule.layers == NAMED else ""
    return [
        place
        for place, layer in enumerate(model.layers)
        if chooses(place, count, layer) and wanted in layer.name.casefold()
    ]


def apply_rule(rule: Rule, draft: Draft, model: ModelSpec) -> Draft:
    """The draft after a rule; locked layers keep what they have."""
    rows = list(draft.rows)
    for place in matching(rule, model):
        if not rows[place].locked:
            rows[place] = _changed(rule, rows[place], model.layers[place])
    return replace(draft, rows=tuple(rows))


def _changed(rule: Rule, row: Row, layer: LayerSpec) -> Row:
    parts = PARTS[rule.part]
    weight = _new(rule.bits, row.weight) if "weight" in parts else row.weight
    inputs = "activation" in parts and not layer.looks_up
    activation = _new(rule.bits, row.activation) if inputs else row.activation
    return replace(row, weight=weight, activation=activation)


def _new(bits: int | str, had: int | str | None) -> int | str | None:
    if isinstance(bits, int):
        return bits
    step = STEPS[bits]
    if not isinstance(had, int) or had not in range(1, 17):
        return had
    # nobody gets more than 8 bits by a step, but who has them may go on
    return min(max(had + step, 1), 8 if had <= 8 else 16)
