"""Networks from ONNX files: converted by one of two packages, and held against onnxruntime.

What a conversion gives is believed only where it computes what onnxruntime computes from the file
itself, on every output that is kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from qcore.errors import QcoreError, UnsupportedModel
from qcore.inputs import Input
from qcore.models.loading.onnx.branches import without_branches
from qcore.models.loading.onnx.compared import Original, columns_for, difference
from qcore.models.loading.onnx.converting import CONVERTERS, convert, unknown_operators, written_out
from qcore.models.loading.onnx.endings import ending
from qcore.models.loading.onnx.graph import tidied
from qcore.models.loading.onnx.opened import Gives, samples_first, unfixed, with_fixed
from qcore.models.loading.onnx.parse import parse, short
from qcore.models.loading.onnx.pieces import OneByOne
from qcore.models.loading.onnx.runtime import run, showing
from qcore.models.loading.onnx.sizes import Sized, lowered, with_sizes
from qcore.models.loading.onnx.takes import Takes, read_takes
from qcore.models.loading.onnx.widened import widened

BATCHES = (2, 3)
ALONE = ", one by one"
"""Ends a converter's name where the network takes its samples one by one."""


_SLOW = "It takes one sample at a time, so that they go through it one by one, which is slower."


@dataclass(frozen=True)
class OnnxNetwork:
    """A converted network.

    Attributes:
        network: In eval mode.
        converter: "onnx2torch" or "onnx2pytorch", with ALONE behind it where samples go one by one.
        input_shape: Shape of the first input of one sample: (channels, height, width) of a picture.
        difference: Largest difference from onnxruntime, relative to its largest output.
        notes: What was assumed, and what the converters that failed said.
        inputs: What it takes; () for one picture.
        endings: Output name ("" for the only one) to "softmax" or "sigmoid" where that ends it, or
            to "" where the file ends it otherwise.
    """

    network: nn.Module
    converter: str
    input_shape: tuple[int, ...]
    difference: float
    notes: tuple[str, ...] = ()
    inputs: tuple[Input, ...] = ()
    endings: Mapping[str, str] = field(default_factory=dict)


def read_onnx(
    path: Path,
    input_shape: tuple[int, ...] | None = None,
    converter: str = "",
    inputs: Sequence[Input] = (),
    fixed: Mapping[str, Any] | None = None,
) -> OnnxNetwork:
    """Read an ONNX file as a network whose inputs and outputs have the samples first.

    Args:
        path: The file; further weight files lie beside it.
        input_shape: (channels, height, width) of a picture; None is the file's.
        converter: The one that is known to read it, which is then believed; "" tries and verifies.
        inputs: Inputs whose sizes are known; the file says the others.
        fixed: Name to number of inputs without samples; None proposes them.

    Raises:
        DataUnavailable: there is no such file, or a package is not installed.
        InvalidConfig: it is damaged or too large.
        InvalidParams: what was said contradicts the file.
        UnsupportedModel: kinds of inputs or outputs nothing can be made of, operators nobody
            converts (listed), or a conversion that computes something else.
    """
    stored = parse(path)
    proto = widened(stored)
    known = read_takes(proto, input_shape, inputs, fixed or {})
    original = Original(proto, path, known, proto is not stored)
    takes, gives = original.trial(known)
    if converter:
        original.close()
        return _built(converter, _ready(proto, takes, gives, ALONE in converter), takes, gives)
    columns = columns_for(takes)
    wanted = original.answers(takes, gives, columns)
    original.close()  # it holds all weights once more
    if not all(np.isfinite(values).all() for values in wanted):
        raise UnsupportedModel(
            f"{path.name} itself gives NaN or infinity on ordinary inputs: its weights are "
            "damaged, or it was made for inputs of another range. Check it in onnxruntime."
        )
    failures: list[str] = []
    missing: list[str] = []
    ways = _ways(takes)
    for alone in ways:
        try:
            ready = _ready(proto, takes, gives, alone)
        except UnsupportedModel:
            if alone == ways[-1]:
                raise
            continue
        missing = unknown_operators(lowered(ready.proto))
        for name in CONVERTERS if not alone else ("onnx2torch",):
            try:
                read = _built(f"{name}{ALONE if alone else ''}", ready, takes, gives)
                ends = list(read.endings.values())
                off = difference(read.network, takes, gives, columns, wanted, ends)
            except QcoreError as error:
                failures.append(f"{name}{ALONE if alone else ''}: {error}")
                continue
            slow = (_SLOW,) if alone else ()
            notes = (*takes.notes, *original.notes, *slow, *failures)
            return OnnxNetwork(
                read.network, read.converter, takes.shape, off, notes, takes.inputs, read.endings
            )
        if missing:
            break
    listed = f" Operators onnx2torch does not know: {', '.join(missing)}." if missing else ""
    raise UnsupportedModel(
        f"{path.name} cannot be converted.{listed} {' '.join(failures)} Export it with an opset "
        "from 13 to 17 and a batch size left open, or bring the weights and the architecture."
    )


def _ways(takes: Takes) -> list[bool]:
    """Whether samples go one by one: first together, where the file has a place for several."""
    together = all(slot.axis is not None for slot in takes.slots)
    return [False] * together + [True] * (takes.batch <= 1)


def _ready(proto: Any, takes: Takes, gives: Sequence[Gives], alone: bool) -> Sized:
    """The model in the form it is converted in."""
    whole = samples_first(with_fixed(proto, takes), takes, gives, 1 if alone else 0)
    batches = [columns_for(takes, n) for n in ((1,) if alone else BATCHES)]

    def values(model: Any, names: list[str]) -> list[list[np.ndarray]]:
        entries = [entry.name for entry in model.graph.input]
        shown = showing(model, names)
        return [run(shown, dict(zip(entries, x.values(), strict=True)), names) for x in batches]

    if not alone and takes.batch:
        whole = unfixed(tidied(whole), takes.batch)
    try:
        plain = written_out(without_branches(whole, values))
    except QcoreError:
        raise
    except Exception as error:
        # onnxruntime's exceptions derive from Exception alone
        raise UnsupportedModel(
            f"onnxruntime cannot run a part of the file: {short(error)}. Check the file."
        ) from error
    try:
        return with_sizes(plain, values)
    except Exception:  # noqa: BLE001 - onnxruntime's own; as it is, the file may still do
        return Sized(plain)


def _built(name: str, ready: Sized, takes: Takes, gives: Sequence[Gives]) -> OnnxNetwork:
    alone = name.endswith(ALONE)
    inputs = [slot.given.name for slot in takes.slots]
    outputs = [give.word for give in gives]
    network = convert(name.removesuffix(ALONE), ready, inputs, outputs)
    if alone:
        network = OneByOne(network, inputs)
    ends = [ending(ready.proto.graph, value.name) for value in ready.proto.graph.output]
    endings = dict(zip(outputs if len(outputs) > 1 else [""], ends, strict=True))
    return OnnxNetwork(network.eval(), name, takes.shape, 0.0, (), takes.inputs, endings)
