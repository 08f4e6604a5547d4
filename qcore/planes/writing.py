"""Writes bit planes of a network that switches. Torch-free."""

import json
import struct
from typing import Any

import numpy as np

from qcore.allocation import FLOAT_BITS
from qcore.planes.reading import FORMAT, VERSION, Planes, float_name, plane_name


def dump_planes(planes: Planes) -> bytes:
    """The whole file; `sizes` and `ends` are worked out from the tensors.

    Args:
        planes: With all tensors.
    """
    order = [name for name in planes.tensors if ".plane." not in name]
    floats = {float_name(layer) for layer in planes.layers}
    order = [name for name in order if name not in floats]
    ends: dict[str, int] = {}
    place = sum(planes.tensors[name].nbytes for name in order)
    for switch, allocation in list(planes.plan.switches.items())[::-1]:
        # a plane of all layers after the other, so that what is cut off in between is little
        more = [
            (depth, name)
            for layer, bits in allocation.items()
            for depth, name in _needed(layer, bits.weight)
            if name not in order
        ]
        for _, name in sorted(more, key=lambda each: each[0]):
            order.append(name)
            place += planes.tensors[name].nbytes
        ends[switch] = place
    header: dict[str, Any] = {}
    sizes, place = {"weights": 0, "norms": 0, "scales": 0, "rest": 0}, 0
    for name in order:
        array = planes.tensors[name]
        kind = "U8" if array.dtype == np.uint8 else "F32"
        entry = {"dtype": kind, "shape": list(array.shape)}
        header[name] = {**entry, "data_offsets": [place, place + array.nbytes]}
        sizes[_purpose(planes, name)] += array.nbytes
        place += array.nbytes
    said = {
        "model": planes.model.to_json(), "plan": planes.plan.to_json(), "layers": planes.layers,
        "norms": dict(planes.norms), "sizes": sizes, "ends": ends,
        "provenance": dict(planes.provenance),
    }  # fmt: skip
    metadata = {key: json.dumps(value, allow_nan=False) for key, value in said.items()}
    header["__metadata__"] = {"format": FORMAT, "version": str(VERSION), **metadata}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    body = b"".join(np.ascontiguousarray(planes.tensors[name]).tobytes() for name in order)
    return struct.pack("<Q", len(text)) + text + body


def _needed(layer: str, width: int) -> list[tuple[int, str]]:
    if width == FLOAT_BITS:
        return [(FLOAT_BITS, float_name(layer))]
    return [(place, plane_name(layer, place)) for place in range(width)]


def _purpose(planes: Planes, name: str) -> str:
    layer, _, what = name.rpartition(".")
    if what in ("weight_step", "input_step"):
        return "scales"
    if what in ("gain", "bias"):
        return "norms" if layer in planes.norms else "rest"
    return "weights"


def pack_planes(layer: str, codes: np.ndarray, bits: int) -> dict[str, np.ndarray]:
    """The tensors of a layer's codes, the sign bits first.

    Args:
        layer: Name.
        codes: Whole numbers -2^(bits-1) .. 2^(bits-1)-1, (weights,).
        bits: Their width.
    """
    unsigned = codes.astype(np.int32) & (2**bits - 1)
    return {
        plane_name(layer, place): np.packbits(
            ((unsigned >> (bits - 1 - place)) & 1).astype(np.uint8), bitorder="little"
        )
        for place in range(bits)
    }
