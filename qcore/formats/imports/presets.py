"""The configurations of NVIDIA ModelOpt that other configurations start from. Torch-free.

Read from nvidia-modelopt 0.47, modelopt_recipes/configs: presets of whole bits, the lists of
entries they share and their number formats. Presets of floating-point formats are known by name
alone, so that they can be refused in words.
"""

import re
from collections.abc import Mapping
from typing import Any

OF_MODELOPT = "of ModelOpt"
DISABLE_ALL = {"quantizer_name": "*", "enable": False}

_NEVER = (
    "*block_sparse_moe.gate*", "*linear_attn.conv1d*", "*self_attention.conv1d*",
    "*linear_attn.in_proj_a*", "*linear_attn.in_proj_b*", "*lm_head*", "*mixer.conv1d*",
    "*mlp.gate.*", "*mlp.shared_expert_gate.*", "*output_layer*", "*proj_out.*", "*router*",
    "mtp.*", "output.*", "*embed_vision*", "*vision_tower*", "*visual*", "*vision_model*",
    "*multi_modal_projector*",
)  # fmt: skip
"""Layers that ModelOpt's presets leave in float by name."""

NUMERICS: Mapping[str, Mapping[str, Any]] = {
    "int8": {"num_bits": 8, "axis": None},
    "int8_per_channel": {"num_bits": 8, "axis": 0},
    "int4_per_block": {"num_bits": 4, "block_sizes": {-1: 128, "type": "static"}},
    "mxint8": {"num_bits": 8, "block_sizes": {-1: 32, "type": "dynamic", "scale_bits": [8, 0]}},
}
"""What a recipe's `$import` of a number format stands for, by the last part of its path."""

_PRESETS = {
    "INT8_DEFAULT_CFG": ("int8_per_channel", "int8"),
    "INT8_SMOOTHQUANT_CFG": ("int8_per_channel", "int8"),
    "INT8_WEIGHT_ONLY_CFG": ("int8_per_channel", None),
    "INT4_BLOCKWISE_WEIGHT_ONLY_CFG": ("int4_per_block", None),
    "INT4_AWQ_CFG": ("int4_per_block", None),
    "MXINT8_DEFAULT_CFG": ("mxint8", "mxint8"),
}
"""Preset to the number formats of its weights and of its inputs; None leaves those in float."""

_FLOATS = re.compile(r"\w*(?:FP[468]|NVFP4|E[245]M[123]|W4A8_AWQ)\w*_(?:CFG|CONFIG)")


class Entries(list[Any]):
    """The list of a preset, which people also index by pattern, as older releases had it."""

    def named(self, pattern: str) -> Any:
        """What a pattern is given; None where no entry has it."""
        if pattern == "default":
            pattern = "*"
        entry = next((e for e in self if _names(e, pattern)), None)
        return None if entry is None else entry.get("cfg") or entry

    def put(self, pattern: Any, value: Any) -> None:
        """Give a pattern other settings: at its place where it has one, else at the end."""
        for place, entry in enumerate(self):
            if _names(entry, "*" if pattern == "default" else pattern):
                self[place] = {pattern: value}
                return
        self.append({pattern: value})

    def drop(self, pattern: Any) -> None:
        """Take a pattern out."""
        wanted = "*" if pattern == "default" else pattern
        self[:] = [entry for entry in self if not _names(entry, wanted)]

    def as_dictionary(self) -> dict[Any, Any]:
        """The older form: pattern to settings, "default" for what no pattern names."""
        found: dict[Any, Any] = {}
        for entry in self:
            if "quantizer_name" not in entry:
                found |= entry
            elif "parent_class" in entry:
                found[entry["parent_class"]] = {"*": {"enable": False}}
            elif entry == DISABLE_ALL:
                found["default"] = {"enable": False}
            else:
                found[entry["quantizer_name"]] = entry.get("cfg") or {"enable": entry["enable"]}
        return found


def _names(entry: Any, pattern: Any) -> bool:
    if not isinstance(entry, Mapping):
        return False
    if "quantizer_name" in entry:
        return entry["quantizer_name"] == pattern and "parent_class" not in entry
    return pattern in entry


def unit(name: str) -> list[dict[str, Any]] | None:
    """The entries that a recipe's `$import` stands for; None where it is not known.

    Args:
        name: Last part of its path, such as "base_disable_all".
    """
    if name in ("base_disable_all", "disable_all"):
        return [dict(DISABLE_ALL)]
    if name == "default_disabled_quantizers":
        return [{"quantizer_name": pattern, "enable": False} for pattern in _NEVER]
    # keys and values of attention have quantizers of their own, and no layer here is one
    return [] if name.startswith("kv_") else None


def preset(name: str) -> dict[str, Any] | str | None:
    """A configuration by its name in `modelopt.torch.quantization`.

    Returns:
        The configuration, a new one each time; a sentence where it has no whole bits; None where
        no preset has this name.
    """
    if name in _PRESETS:
        weights, inputs = _PRESETS[name]
        on_inputs: dict[str, Any] = {"enable": False} if inputs is None else {}
        if inputs is not None:
            on_inputs["cfg"] = dict(NUMERICS[inputs])
        entries = Entries(
            [
                dict(DISABLE_ALL),
                {"quantizer_name": "*weight_quantizer", "cfg": dict(NUMERICS[weights])},
                {"quantizer_name": "*input_quantizer", **on_inputs},
                *(unit("default_disabled_quantizers") or []),
            ]
        )
        return {"quant_cfg": entries, "algorithm": "max"}
    if _FLOATS.fullmatch(name):
        return (
            f"{name} {OF_MODELOPT}, whose formats are floating-point, while bitdial gives layers "
            "whole numbers of bits"
        )
    return None
