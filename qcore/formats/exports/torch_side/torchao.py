"""Writes torchao state dicts and runs them; described in `qcore.formats.exports.torchao`."""

import copy
import importlib
import io
from typing import Any

import torch
from torch import nn

from qcore.allocation import stored_bits, width_text
from qcore.errors import ExportRefused
from qcore.formats.config import BitConfig
from qcore.formats.exports.base import Rendered
from qcore.formats.exports.provenance import provenance_text
from qcore.formats.exports.torch_side.answers import agreement, answers_of, judge_of
from qcore.formats.exports.torch_side.parts import (
    Part,
    PlainLayer,
    require,
    take_apart,
    versions,
)
from qcore.trees import Tree


def render(config: BitConfig, model: nn.Module, sample: Tree) -> Rendered:
    """The file {"state_dict", "folded_norms", "provenance"}, and what torch makes of it.

    Raises:
        ExportRefused: torchao is not installed, or a layer's levels fit none of its integers.
    """
    require(("torchao",), "torchao tensors")
    taken = take_apart(config, model)
    names = {id(layer): path for path, layer in taken.network.named_modules()}
    state = dict(taken.network.state_dict())
    for module in taken.network.modules():
        if isinstance(module, PlainLayer) and taken.parts[module.part_name].codes is not None:
            state[f"{names[id(module)]}.weight"] = _tensor(taken.parts[module.part_name])
    stream = io.BytesIO()
    document = {
        "format": "bitdial-torchao",
        "state_dict": state,
        "folded_norms": dict(config.norms),
        "provenance": provenance_text(config),
    }
    torch.save(document, stream)
    content = stream.getvalue()
    report: dict[str, Any] = {
        "format": "torchao",
        "versions": versions(("torch", "torchao")),
        "bytes": len(content),
        "widened": {
            part.name: f"{width_text(part.bits.weight)}-bit weights, one in a byte"
            for part in taken.parts.values()
            if part.codes is not None and stored_bits(part.bits.weight) != 8
        },
    }
    loaded = load(content, taken.network)
    wanted, got = answers_of(taken.reference, sample), answers_of(loaded, sample)
    report |= agreement(judge_of(config), sample, wanted, got)
    return Rendered(content, report)


def load(content: bytes, network: nn.Module) -> nn.Module:
    """A copy of a network with the file's state; its batch-norms must be folded already."""
    importlib.import_module("torchao.quantization")  # registers the tensors in the file

    document = torch.load(io.BytesIO(content), weights_only=True)
    network = copy.deepcopy(network)
    network.load_state_dict(document["state_dict"], assign=True)
    return network.eval()


def _tensor(part: Part) -> Any:
    from torchao.quantization import IntxUnpackedToInt8Tensor

    if part.codes is None or part.scale is None or part.code_bits > 8:
        raise ExportRefused(
            f"The levels of layer {part.name!r} need integers of {part.code_bits} bits; torchao "
            "has up to 8."
        )
    codes = torch.from_numpy(part.codes).to(torch.int8)
    scale = torch.from_numpy(part.scale).reshape(len(codes), -1).contiguous()
    return IntxUnpackedToInt8Tensor(
        codes,
        scale,
        torch.zeros_like(scale, dtype=torch.int8),
        getattr(torch, f"int{part.code_bits}"),
        (1, part.group or codes.shape[1]),
        torch.float32,
        None,
    )
