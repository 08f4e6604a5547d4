"""Writes bit-packed safetensors; the format is described in `qcore.formats.exports.packed`."""

import json
import struct
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qcore.allocation import BFLOAT16, FLOAT16, HALF_WIDTHS, stored_bits, width_json
from qcore.errors import ExportRefused
from qcore.formats.config import BitConfig
from qcore.formats.exports.base import Rendered
from qcore.formats.exports.packing import pack_codes
from qcore.formats.exports.provenance import provenance_text
from qcore.formats.exports.templates import packed_reader
from qcore.formats.exports.torch_side.answers import agreement, answers_of, judge_of
from qcore.formats.exports.torch_side.parts import Part, PlainLayer, take_apart
from qcore.network.rewriting import expose_layers
from qcore.quantizers import HALF_TYPES, ActivationGrid
from qcore.trees import Tree

TYPES = {torch.float32: "F32", torch.float16: "F16", torch.int64: "I64", torch.uint8: "U8"}
TYPES |= {torch.float64: "F64", torch.int32: "I32", torch.bool: "BOOL", torch.int16: "I16"}
TYPES |= {torch.int8: "I8", torch.bfloat16: "BF16"}


def render(config: BitConfig, model: nn.Module, sample: Tree) -> Rendered:
    """The file, and the agreement of what the reader makes of it with the measured answers.

    Raises:
        ExportRefused: a layer has more levels than its bits can count, or a tensor of a type
            safetensors does not know.
    """
    taken = take_apart(config, model)
    tensors: dict[str, tuple[str, tuple[int, ...], bytes, str]] = {}
    layers: dict[str, dict[str, Any]] = {}
    for part in taken.parts.values():
        layers[part.name] = _add_layer(tensors, part)
    covered = {id(m.weight) for m in taken.network.modules() if isinstance(m, PlainLayer)}
    covered |= {id(m.bias) for m in taken.network.modules() if isinstance(m, PlainLayer)}
    for name, value in taken.network.state_dict(keep_vars=True).items():
        if id(value) in covered:
            continue
        if value.dtype not in TYPES:
            raise ExportRefused(f"Safetensors has no type for {name}, a tensor of {value.dtype}.")
        plain = value.detach().cpu().contiguous()
        # numpy has no bfloat16
        plain = plain.view(torch.int16) if plain.dtype == torch.bfloat16 else plain
        data = plain.numpy().tobytes()
        tensors[f"float.{name}"] = (TYPES[value.dtype], tuple(value.shape), data, "float")
    metadata = {
        "format": "bitdial-packed",
        "version": "1",
        "layers": json.dumps(layers, sort_keys=True),
        "norms": json.dumps(dict(config.norms), sort_keys=True),
        "provenance": provenance_text(config),
    }
    content, overhead = _file(tensors, metadata)
    report: dict[str, Any] = {
        "format": "packed",
        "versions": {"torch": str(torch.__version__).split("+")[0]},
        "bytes": len(content),
        "weight_bytes": overhead.pop("weights"),
        "overhead": overhead,
        "widened": {},
    }
    tensors = packed_reader.parse(content)
    network = packed_reader.apply(model, tensors)
    if expose_layers(model) is not model:
        report["note"] = (
            "To read it, packed_reader.py needs bitdial's folder on PYTHONPATH as well: some "
            "layers of this network are parts of functional code."
        )
    wanted, got = answers_of(taken.reference, sample), answers_of(network, sample)
    report |= agreement(judge_of(config), sample, wanted, got)
    return Rendered(content, report)


def _add_layer(tensors: dict[str, Any], part: Part) -> dict[str, Any]:
    """Add a layer's tensors; returns what the header says about it."""
    name, width = part.name, part.bits.weight
    bits = stored_bits(width) if part.group else width
    entry: dict[str, Any] = {
        "weight_bits": width_json(bits),
        "activation_bits": width_json(part.bits.activation),
        "shape": list(part.weight.shape),
        "axis": part.axis,
        "groups": part.operation.groups,
        **({"scale_group": part.group} if part.group else {}),
    }
    if bits in HALF_WIDTHS:
        data, kind = half_bytes(part.weight, bits)
        tensors[f"{name}.weight"] = (kind, tuple(part.weight.shape), data, "weights")
    elif part.codes is None or part.scale is None:
        data = part.weight.numpy().astype("<f4").tobytes()
        tensors[f"{name}.weight"] = ("F32", tuple(part.weight.shape), data, "weights")
    else:
        codes = part.codes
        if part.code_bits > bits and bits > 1:
            levels = np.unique(codes)
            if len(levels) > 2**bits:
                raise ExportRefused(
                    f"Layer {name!r} uses {len(levels)} levels, more than {bits} bits can count."
                )
            codes = np.searchsorted(levels, codes) - 2 ** (bits - 1)
            data = levels.astype("<i2").tobytes()
            tensors[f"{name}.levels"] = ("I16", levels.shape, data, "levels")
        packed = pack_codes(codes, bits)
        tensors[f"{name}.weight_packed"] = ("U8", (len(packed),), packed, "weights")
        if part.group:
            data, kind = half_bytes(torch.from_numpy(part.scale), BFLOAT16)
            tensors[f"{name}.weight_scale"] = (kind, part.scale.shape, data, "scales")
        else:
            scale = part.scale.astype("<f4")
            tensors[f"{name}.weight_scale"] = ("F32", scale.shape, scale.tobytes(), "scales")
    bias = part.bias.numpy().astype("<f4")
    if len(bias):
        tensors[f"{name}.bias"] = ("F32", bias.shape, bias.tobytes(), "biases")
    grid = part.grid
    if isinstance(grid, ActivationGrid):
        data = struct.pack("<4f", grid.step, grid.low, grid.high, grid.offset)
        tensors[f"{name}.activation_grid"] = ("F32", (4,), data, "activation grids")
    return entry


def half_bytes(weight: Tensor, width: int) -> tuple[bytes, str]:
    """Values of a float of 16 bits, little endian, and safetensors' name of their type."""
    # numpy has no bfloat16: both go as the whole numbers of their bits
    bits = weight.contiguous().to(HALF_TYPES[width]).view(torch.int16)
    return bits.numpy().astype("<i2").tobytes(), "F16" if width == FLOAT16 else "BF16"


def _file(tensors: dict[str, Any], metadata: dict[str, str]) -> tuple[bytes, dict[str, int]]:
    """The bytes of a safetensors file, and how many of them serve what."""
    # wide types first, so that every tensor is aligned
    widths = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2}
    order = sorted(tensors, key=lambda name: -widths.get(tensors[name][0], 1))
    header: dict[str, Any] = {"__metadata__": metadata}
    place, spent = 0, {"weights": 0}
    for name in order:
        kind, shape, data, purpose = tensors[name]
        spent[purpose] = spent.get(purpose, 0) + len(data)
        offsets = [place, place + len(data)]
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": offsets}
        place += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    spent["header"] = 8 + len(text)
    body = b"".join(tensors[name][2] for name in order)
    return struct.pack("<Q", len(text)) + text + body, spent
