"""What HAWQ calls the layers of a residual network. Torch-free.

HAWQ's dictionary names modules of its own classes (Q_ResNet18, Q_ResNet50, Q_ResNet101 of
Zhen-Dong/HAWQ, utils/models/q_resnet.py at commit 5e114cc), so layers are renamed:
"layer2.0.conv1" is "stage2.unit1.quant_convbn1", and its input is "stage2.unit1.quant_act".
"""

import re
from collections.abc import Iterable

STEM, CLASSIFIER = "conv1", "fc"
UNIT = re.compile(r"layer(\d+)\.(\d+)\.(?:conv([123])|(?:downsample|shortcut)\.0)")
ARCHITECTURES = {
    "resnet18": (False, (2, 2, 2, 2)),
    "resnet50": (True, (3, 4, 6, 3)),
    "resnet101": (True, (3, 4, 23, 3)),
}
"""HAWQ's `--arch`: whether units have a third convolution, and the units of each stage."""

RESIDUAL_BITS = 16
"""What HAWQ gives the sums of its residual joins ("quant_act_int32")."""


def hawq_names(layers: Iterable[str]) -> dict[str, tuple[str, str]] | None:
    """Layer name to HAWQ's names of its weights and of its input.

    The input of a unit is one tensor that its first convolution and its shortcut share, so two
    layers may share the second name.

    Returns:
        The names, or None where the network has a layer that HAWQ's residual networks lack.
    """
    layers = list(layers)
    deep = any(name.endswith(".conv3") for name in layers)
    found: dict[str, tuple[str, str]] = {}
    for name in layers:
        unit = UNIT.fullmatch(name)
        if name == STEM:
            found[name] = (f"quant_init_{'' if deep else 'block_'}convbn", "quant_input")
        elif name == CLASSIFIER:
            found[name] = ("quant_output", "quant_act_output")
        elif unit is not None:
            place = f"stage{unit[1]}.unit{int(unit[2]) + 1}."
            number = unit[3]
            weight = f"quant_convbn{number}" if number else "quant_identity_convbn"
            inputs = "quant_act" if number in (None, "1") else f"quant_act{int(number) - 1}"
            found[name] = (place + weight, place + inputs)
        else:
            return None
    return found


def architecture(layers: Iterable[str]) -> str | None:
    """Which of HAWQ's networks has just these layers; None where it has no class for them."""
    found = hawq_names(layers) or {}
    weights = {weight for weight, _ in found.values()}
    return next((name for name in ARCHITECTURES if weights == _weights(name)), None)


def _weights(name: str) -> set[str]:
    deep, stages = ARCHITECTURES[name]
    weights = {f"quant_init_{'' if deep else 'block_'}convbn", "quant_output"}
    for stage, units in enumerate(stages, 1):
        for unit in range(1, units + 1):
            parts = [f"convbn{number}" for number in range(1, 4 if deep else 3)]
            # the first stage of the shallow network keeps its channels
            parts += ["identity_convbn"] if unit == 1 and (deep or stage > 1) else []
            weights |= {f"stage{stage}.unit{unit}.quant_{part}" for part in parts}
    return weights


def joins(names: Iterable[str]) -> list[str]:
    """HAWQ's names of the sums: one after the stem, one at the end of every unit."""
    units = dict.fromkeys(name.rpartition(".")[0] for name in names if "." in name)
    return ["quant_act_int32", *(f"{unit}.quant_act_int32" for unit in units)]
