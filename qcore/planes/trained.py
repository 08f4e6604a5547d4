"""Bit planes of a network as its training left it. Needs torch, as no other file of the folder."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from qcore.allocation import FLOAT_BITS, BitAllocation, LayerBits
from qcore.errors import ExportRefused
from qcore.network.layers import Found
from qcore.planes.reading import Planes, copy_key, float_name
from qcore.planes.writing import pack_planes
from qcore.qat.model import TrainableModel


def planes_of(
    model: TrainableModel, found: Found, provenance: Mapping[str, Any] | None = None
) -> Planes:
    """A network with all that it can be switched to.

    Args:
        model: As `load_switchable` gives it; left at the bits it has.
        found: Its layers.
        provenance: Plain JSON values of where it comes from.

    Raises:
        ExportRefused: it does not switch, or its codes of fewer bits are not the leading bits of
            the widest.
    """
    plan = model.plan
    bits = {name: layer.bits for name, layer in model.layers.items()}
    copies = {name: norm.key for name, norm in model.norms.items() if hasattr(norm, "copies")}
    if plan is None:
        raise ExportRefused("This network was trained for one allocation and has no switches.")
    rows: dict[str, dict[str, Any]] = {}
    tensors: dict[str, np.ndarray] = {}
    for name, layer in model.layers.items():
        if not layer.quantizer.nests:
            raise ExportRefused(
                "Bit planes need nested codes: with the quantizer "
                f"{layer.quantizer.name!r} codes of fewer bits are not the leading bits of the "
                "widest. Train with quantizer=nested, or export each switch as a configuration."
            )
        rows[name] = _add_layer(tensors, layer, plan.rungs[name])
    for name in model.layers:
        rows[name]["reader"] = getattr(model.norms.get(name), "consumer", None)
        rows[name]["copies"] = _copies(model, name)
    _add_norms(tensors, model)
    for name, layer in model.layers.items():
        layer.set_bits(bits[name])
    for name, key in copies.items():
        model.norms[name].select(key)
    norms = {name: path for name, path in found.norms.items() if name in model.norms}
    return Planes(
        model=found.spec,
        plan=plan,
        layers=rows,
        norms=norms,
        tensors=tensors,
        provenance=provenance or {},
    )


def _add_layer(
    tensors: dict[str, np.ndarray], layer: Any, rungs: tuple[LayerBits, ...]
) -> dict[str, Any]:
    """Add a layer's codes and steps; what the header says of it."""
    name = layer.name
    weight_steps: dict[int, float] = {}
    input_steps: dict[int, float] = {}
    inputs: dict[str, list[float]] = {}
    for bits in rungs:
        layer.set_bits(bits)
        arrays = layer.arrays()
        if bits.weight == FLOAT_BITS:
            tensors[float_name(name)] = arrays["weight"]
        elif bits.weight not in weight_steps:
            if not weight_steps:
                codes = (arrays["weight_codes"].astype(np.int32) - 1) // 2
                tensors |= pack_planes(name, codes, bits.weight)
            weight_steps[bits.weight] = arrays["weight_step"][0]
        if bits.activation != FLOAT_BITS and str(bits.activation) not in inputs:
            step, *grid = arrays["activation_grid"].tolist()
            inputs[str(bits.activation)] = grid
            input_steps[bits.activation] = step
    tensors[f"{name}.weight_step"] = np.asarray(list(weight_steps.values()), np.float32)
    tensors[f"{name}.input_step"] = np.asarray(list(input_steps.values()), np.float32)
    adds = not layer.operation.looks_up
    return {"weights": list(weight_steps), "inputs": inputs, "adds": adds}


def _copies(model: TrainableModel, name: str) -> dict[str, int]:
    """What each copy of the norm behind a layer is found by; empty where there is one for all."""
    norm, plan = model.norms.get(name), model.plan
    if plan is None or norm is None or not hasattr(norm, "copies"):
        return {}
    places = {key: place for place, key in enumerate(norm.copies)}
    if plan.kind == "switch":
        return places
    found: dict[str, int] = {}
    widest = next(iter(plan.switches.values()))
    reader = norm.consumer
    for bits in plan.rungs[name]:
        for behind in plan.rungs[reader] if reader is not None else (bits,):
            after = {} if reader is None else {reader: behind}
            allocation = BitAllocation({**widest, name: bits, **after})
            norm.follow("", allocation)
            found[copy_key(plan.kind, "", reader, name, allocation)] = places[norm.key]
    return found


def _add_norms(tensors: dict[str, np.ndarray], model: TrainableModel) -> None:
    """Add every copy of every norm, folded to a gain and a bias of each channel."""
    copies = {name: list(getattr(norm, "copies", ())) for name, norm in model.norms.items()}
    plain = {n for n, layer in model.layers.items() if layer.bias is None and n not in copies}
    rows: dict[str, list[np.ndarray]] = {}
    for place in range(max(map(len, copies.values()), default=0) or 1):
        for name, keys in copies.items():
            if place < len(keys):
                model.norms[name].select(keys[place])
        for name, arrays in model.state().items():
            if place < len(copies.get(name, ())) or not place:
                for key, kept in (("weight_gain", "gain"), ("bias", "bias")):
                    if key in arrays and name not in plain:
                        rows.setdefault(f"{name}.{kept}", []).append(arrays[key])
    tensors |= {name: np.stack(found) for name, found in rows.items()}
