"""Runs an ONNX file in onnxruntime and compares its logits with the measured ones."""

import importlib.util
from typing import Any

import numpy as np
from torch import Tensor

from qcore.formats.exports.torch_side.parts import RUN_BATCH, agreement, logits_of
from qcore.ptq.model import QuantizedModel


def compare(content: bytes, reference: QuantizedModel, sample: Tensor) -> dict[str, Any]:
    """Agreement with the quantized model, without and with the runtime's optimisations.

    Returns:
        What `agreement` gives for a session without optimisation, where each operator is computed
        as it is written, and under "optimised" the same for a session as users start one. The two
        differ: optimised sessions round biases to int32. {} where onnxruntime is not installed;
        "failed" in place of figures where it cannot run the file.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        return {"not_run": "onnxruntime is not installed here"}
    wanted = logits_of(reference, sample)
    plain = _attempt(content, sample, wanted, optimise=False)
    return {**plain, "optimised": _attempt(content, sample, wanted, optimise=True)}


def _attempt(content: bytes, sample: Tensor, wanted: np.ndarray, optimise: bool) -> dict[str, Any]:
    from onnxruntime.capi.onnxruntime_pybind11_state import (
        Fail,
        InvalidArgument,
        InvalidGraph,
        RuntimeException,
    )
    from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as NotThere

    try:
        return agreement(wanted, logits(content, sample, optimise))
    except (Fail, InvalidArgument, InvalidGraph, NotThere, RuntimeException) as error:
        return {"failed": str(error).splitlines()[0][:300]}


def logits(content: bytes, sample: Tensor, optimise: bool = False) -> np.ndarray:
    """Logits (n, classes) of an ONNX file on images (n, channels, height, width), on the CPU.

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
    entry = session.get_inputs()[0]
    size = entry.shape[0] if isinstance(entry.shape[0], int) else RUN_BATCH
    parts = [
        session.run(None, {entry.name: part.float().numpy()})[0] for part in sample.split(size)
    ]
    return np.concatenate(parts)


def _has_int2(content: bytes) -> bool:
    import onnx

    kinds = {onnx.TensorProto.INT2, onnx.TensorProto.UINT2}
    return any(i.data_type in kinds for i in onnx.load_from_string(content).graph.initializer)
