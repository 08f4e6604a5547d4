"""Reads a file of bit planes, or as much of its beginning as there is. Torch-free.

The folder says what such a file is.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from qcore.allocation import FLOAT_BITS, BitAllocation, LayerBits, ModelSpec
from qcore.errors import InvalidAllocation, InvalidConfig
from qcore.formats.config import BitConfig
from qcore.formats.config_parts import read_model, read_norms
from qcore.intact import worded
from qcore.qat.switches import NormPlan, words

FORMAT, VERSION = "bitdial-planes", 1
MOST_HEADER = 20 * 2**20
TYPES = {"F32": "<f4", "U8": "u1"}
Tensors = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Planes:
    """What a file holds, all of it or its beginning.

    Attributes:
        model: Facts about the float network.
        plan: What the whole file can be switched to.
        layers: Layer name to what the header says of it: "weights", its widths, widest first;
            "inputs", width to [smallest code, largest code, offset]; "copies", switch or bits
            before and behind to the copy of its norm; "reader", the layer behind or null; "adds",
            whether it has a place for a bias.
        norms: Layer name to the batch-norm folded into it.
        tensors: Those that are whole, by name.
        sizes: Bytes of the whole file by what they serve: "weights", "norms", "scales", "rest".
        ends: Switch to the bytes of the file's beginning that hold it.
        provenance: Where the network comes from.
    """

    model: ModelSpec
    plan: NormPlan
    layers: Mapping[str, Mapping[str, Any]]
    norms: Mapping[str, str]
    tensors: Tensors
    sizes: Mapping[str, int] = field(default_factory=dict)
    ends: Mapping[str, int] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def widths(self, layer: str) -> tuple[int, ...]:
        """Widths of a layer's weights that are here, widest first."""
        wanted = dict.fromkeys(bits.weight for bits in self.plan.rungs[layer])
        return tuple(width for width in wanted if self._here(layer, width))

    @property
    def switches(self) -> tuple[str, ...]:
        """Names of the switches that are here whole, widest first."""
        return tuple(
            name
            for name, allocation in self.plan.switches.items()
            if all(self._here(layer, bits.weight) for layer, bits in allocation.items())
        )

    def _here(self, layer: str, width: int) -> bool:
        if width == FLOAT_BITS:
            return float_name(layer) in self.tensors
        return all(plane_name(layer, place) in self.tensors for place in range(width))

    def codes(self, layer: str, bits: int) -> np.ndarray:
        """Codes -2^(bits-1) .. 2^(bits-1)-1 of a layer's weights, (weights,), int16.

        Raises:
            InvalidAllocation: these bits were cut off; says which are here.
        """
        if not self._here(layer, bits):
            here = ", ".join(map(str, self.widths(layer))) or "none"
            whole = ", ".join(self.switches) or "none"
            raise InvalidAllocation(
                f"The file was cut off before layer {layer!r} has its weights at {bits} bits; "
                f"here: {here}. Switches that are whole: {whole}. Take more of the file."
            )
        count = next(x.weights for x in self.model.layers if x.name == layer)
        codes = np.zeros(count, np.int16)
        for place in range(bits):
            plane = self.tensors[plane_name(layer, place)]
            bit = np.unpackbits(plane, count=count, bitorder="little").astype(np.int16)
            codes = 2 * codes + (bit if place else -bit)
        return codes

    def state(self, allocation: BitAllocation) -> dict[str, dict[str, np.ndarray]]:
        """Arrays of every layer at some bits, as `TrainableModel.state` gives them.

        Raises:
            InvalidAllocation: the network was not trained for them, or they were cut off.
            InvalidConfig: the header leaves something of them out.
        """
        allocation.check_names(self.model.layers)
        switch = self.plan.find(allocation)
        with worded(InvalidConfig, "The header of these bit planes is damaged"):
            return {
                name: self._layer(name, bits, allocation, switch)
                for name, bits in allocation.items()
            }

    def _layer(
        self, name: str, bits: LayerBits, allocation: BitAllocation, switch: str
    ) -> dict[str, np.ndarray]:
        said, tensors = self.layers[name], self.tensors
        arrays: dict[str, np.ndarray] = {}
        channels = next(x.channels for x in self.model.layers if x.name == name)
        if bits.weight == FLOAT_BITS:
            if float_name(name) not in tensors:
                self.codes(name, FLOAT_BITS)
            arrays["weight"] = tensors[float_name(name)]
        else:
            arrays["weight_codes"] = 2 * self.codes(name, bits.weight) + 1
            step = tensors[f"{name}.weight_step"][said["weights"].index(bits.weight)]
            arrays["weight_step"] = np.full(channels, step, np.float32)
        if bits.activation != FLOAT_BITS:
            place = list(said["inputs"]).index(str(bits.activation))
            step = tensors[f"{name}.input_step"][place]
            grid = [step, *said["inputs"][str(bits.activation)]]
            arrays["activation_grid"] = np.asarray(grid, np.float32)
        copy = 0
        if said["copies"]:
            key = copy_key(self.plan.kind, switch, said["reader"], name, allocation)
            copy = said["copies"][key]
        for key in ("gain", "bias"):
            if f"{name}.{key}" in tensors:
                kept = "weight_gain" if key == "gain" else key
                arrays[kept] = tensors[f"{name}.{key}"][copy]
        if said["adds"]:
            arrays.setdefault("bias", np.zeros(channels, np.float32))
        return arrays

    def config(self, allocation: BitAllocation) -> BitConfig:
        """The network at some bits as a configuration, for `apply_bits` and every export.

        Raises:
            QcoreError: as `state`.
        """
        return BitConfig(
            model=self.model,
            allocation=allocation,
            state=self.state(allocation),
            norms=self.norms,
            provenance=self.provenance,
        )


def plane_name(layer: str, place: int) -> str:
    """Name of the tensor with one bit of every code of a layer; 0 is the sign."""
    return f"{layer}.plane.{place}"


def float_name(layer: str) -> str:
    """Name of the tensor with a layer's weights in float."""
    return f"{layer}.weight"


def copy_key(
    kind: str, switch: str, reader: str | None, layer: str, allocation: BitAllocation
) -> str:
    """What the copy of a layer's norm is found by: the switch, or the bits before and behind."""
    if kind == "switch":
        return switch
    behind = "end" if reader is None else words(allocation[reader])
    return f"{words(allocation[layer])} to {behind}"


def parse_planes(data: bytes) -> Planes:
    """Read a file, or as much of its beginning as there is.

    Raises:
        InvalidConfig: it is no such file, of a later version, damaged, or cut off before its bit
            planes begin.
    """
    with worded(InvalidConfig, "This is no file of bit planes that can be used"):
        return _parse(data)


def _parse(data: bytes) -> Planes:
    length = struct.unpack("<Q", data[:8])[0] if len(data) >= 8 else MOST_HEADER + 1
    if length > min(MOST_HEADER, len(data) - 8):
        raise InvalidConfig("This is no file of bit planes, or it was cut off in its header.")
    header = json.loads(data[8 : 8 + length])
    said = header.pop("__metadata__")
    if said.get("format") != FORMAT:
        raise InvalidConfig(f'This is no file of bit planes: its "format" is not "{FORMAT}".')
    if int(said["version"]) > VERSION:
        raise InvalidConfig(
            f"The file has version {said['version']}; this bitdial reads up to {VERSION}. Update "
            "bitdial to read it."
        )
    model = read_model(json.loads(said["model"]))
    plan = NormPlan.from_json(json.loads(said["plan"]))
    layers, start = json.loads(said["layers"]), 8 + length
    if set(plan.rungs) != set(model.names) or set(layers) != set(model.names):
        raise InvalidConfig("The layers of the file are not those of its network. Write it again.")
    tensors, missing = {}, []
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        if not 0 <= first <= last:
            raise InvalidConfig(f"The tensor {name[:80]!r} lies outside the file.")
        if start + last > len(data):
            missing.append(name)
            continue
        kind = TYPES[entry["dtype"]]
        raw = np.frombuffer(data, kind, (last - first) // np.dtype(kind).itemsize, start + first)
        tensors[name] = raw.reshape(entry["shape"])
    codes = {float_name(layer) for layer in layers}
    gone = [name for name in missing if ".plane." not in name and name not in codes]
    ends = {name: int(end) + start for name, end in json.loads(said["ends"]).items()}
    if gone:
        raise InvalidConfig(
            f"The file was cut off before its bit planes begin: {gone[0][:80]!r} is missing. Take "
            f"at least {min(ends.values()):,} bytes of it."
        )
    return Planes(
        model=model,
        plan=plan,
        layers=layers,
        norms=read_norms(json.loads(said["norms"]), model),
        tensors=_checked(tensors, model, layers, plan),
        sizes=json.loads(said["sizes"]),
        ends=ends,
        provenance=json.loads(said["provenance"]),
    )


def _checked(
    tensors: Tensors, model: ModelSpec, layers: Mapping[str, Any], plan: NormPlan
) -> Tensors:
    """The tensors, whose lengths are those of the network.

    Raises:
        InvalidConfig: one is of another length, or has a number that is not finite; or a width that
            the network has is not in the file.
    """
    for layer in model.layers:
        said, rungs = layers[layer.name], plan.rungs[layer.name]
        widths = {bits.weight for bits in rungs} - {FLOAT_BITS}
        inputs = {str(bits.activation) for bits in rungs} - {str(FLOAT_BITS)}
        steps = {f"{layer.name}.weight_step", f"{layer.name}.input_step"}
        if set(said["weights"]) != widths or set(said["inputs"]) != inputs or steps - set(tensors):
            raise InvalidConfig(
                f"The file does not have all widths of layer {layer.name!r}. Write it again."
            )
        copies = max(said["copies"].values(), default=0) + 1
        wanted = {
            f"{layer.name}.weight_step": (len(said["weights"]),),
            f"{layer.name}.input_step": (len(said["inputs"]),),
            f"{layer.name}.gain": (copies, layer.channels),
            f"{layer.name}.bias": (copies, layer.channels),
            float_name(layer.name): (layer.weights,),
        }
        planes = (plane_name(layer.name, place) for place in range(max(said["weights"], default=0)))
        wanted |= dict.fromkeys(planes, (-(-layer.weights // 8),))
        for name, shape in wanted.items():
            found = tensors.get(name)
            if found is not None and (found.shape != shape or not np.isfinite(found).all()):
                raise InvalidConfig(
                    f"The tensor {name!r} must have the shape {shape} and finite numbers; its "
                    f"shape is {found.shape}. Write the file again."
                )
    return tensors
