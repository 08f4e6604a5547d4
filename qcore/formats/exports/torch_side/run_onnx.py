"""Runs an ONNX file in onnxruntime and compares its outputs with the measured ones."""

import importlib.util
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from qcore.formats.exports.torch_side.answers import RUN_BATCH, agreement, answers_of, like
from qcore.judges import Judge
from qcore.ptq.model import QuantizedModel
from qcore.trees import Tree, count, part


def compare(
    content: bytes, reference: QuantizedModel, sample: Tree, judge: Judge
) -> dict[str, Any]:
    """Agreement with the quantized model, without and with the runtime's optimisations.

    Returns:
        What `agreement` gives for a session without optimisation, where each operator is computed
        as it is written, and under "optimised" the same for a session as users start one. The two
        differ: optimised sessions round biases to int32. {} where onnxruntime is not installed;
        "failed" in place of figures where it cannot run the file.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        return {"not_run": "onnxruntime is not installed here"}
    wanted = answers_of(reference, sample)
    plain = _attempt(content, sample, wanted, judge, optimise=False)
    return {**plain, "optimised": _attempt(content, sample, wanted, judge, optimise=True)}


def _attempt(
    content: bytes, sample: Tree, wanted: Any, judge: Judge, optimise: bool
) -> dict[str, Any]:
    from onnxruntime.capi.onnxruntime_pybind11_state import (
        Fail,
        InvalidArgument,
        InvalidGraph,
        RuntimeException,
    )
    from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as NotThere

    try:
        got = like(wanted, outputs_of(content, sample, optimise))
    except (Fail, InvalidArgument, InvalidGraph, NotThere, RuntimeException) as error:
        return {"failed": str(error).splitlines()[0][:300]}
    return agreement(judge, sample, wanted, got)


def outputs_of(content: bytes, sample: Tree, optimise: bool = False) -> list[np.ndarray]:
    """Outputs (n, ...) of an ONNX file on a sample (n, ...), on the CPU.

    int2 needs the fusion of QDQ pairs switched off in optimised sessions, where ONNX Runtime 1.31
    has no integer kernel for it and does not fall back.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimise else levels.ORT_DISABLE_ALL
    if optimise and _has_int2(content):
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    entries = session.get_inputs()
    size = entries[0].shape[0] if isinstance(entries[0].shape[0], int) else RUN_BATCH
    names = [entry.name for entry in entries]
    found = [
        session.run(None, feeds_of(part(sample, slice(start, start + size)), names))
        for start in range(0, count(sample), size)
    ]
    return [np.concatenate(each) for each in zip(*found, strict=True)]


def logits(content: bytes, sample: Tree, optimise: bool = False) -> np.ndarray:
    """The first output of an ONNX file on a sample, (n, ...)."""
    return outputs_of(content, sample, optimise)[0]


def feeds_of(sample: Tree, names: Sequence[str]) -> dict[str, np.ndarray]:
    """A sample under the names of a file's inputs: those it has, or the only one."""
    if isinstance(sample, Tensor):
        return {names[0]: _array(sample)}
    return {name: _array(sample[name]) for name in names}


def _array(values: Tensor) -> np.ndarray:
    found: np.ndarray = (values.float() if values.is_floating_point() else values).numpy()
    return found


def _has_int2(content: bytes) -> bool:
    import onnx

    kinds = {onnx.TensorProto.INT2, onnx.TensorProto.UINT2}
    return any(i.data_type in kinds for i in onnx.load_from_string(content).graph.initializer)
