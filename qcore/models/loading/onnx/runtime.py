"""Runs ONNX models in onnxruntime, as they are written."""

import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from qcore.errors import UnsupportedModel
from qcore.models.loading.packages import need

Feeds = Mapping[str, np.ndarray]

MOST_SECONDS = 60.0
"""After which a run is ended: a loop of a file may have no end."""

MOST_BYTES = 6 * 2**30
"""Memory that onnxruntime may take; a file of a few bytes can ask for any amount."""

_FULL = ("BFCArena", "bad_alloc", "Failed to allocate memory")


def session_of(model: Any) -> Any:
    """A session of a model, or of a file, on the processor and without optimisation."""
    runtime = need("onnxruntime", "to verify ONNX files")
    _bound_memory()
    options = runtime.SessionOptions()
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    given = str(model) if isinstance(model, Path) else model.SerializeToString()
    return runtime.InferenceSession(given, options, providers=["CPUExecutionProvider"])


@cache
def _bound_memory() -> None:
    """Let no session of this process take more than MOST_BYTES; once."""
    runtime = need("onnxruntime", "to verify ONNX files")
    kinds = runtime.OrtAllocatorType, runtime.OrtMemType
    place = runtime.OrtMemoryInfo("Cpu", kinds[0].ORT_ARENA_ALLOCATOR, 0, kinds[1].DEFAULT)
    runtime.create_and_register_allocator(place, runtime.OrtArenaCfg(MOST_BYTES, -1, -1, -1))


def run(model: Any, feeds: Feeds, names: Sequence[str] | None = None) -> list[np.ndarray]:
    """The values of these names, or of all outputs; what onnxruntime raises is passed on."""
    session = session_of(model)
    known = {entry.name for entry in session.get_inputs()}
    given = {name: values for name, values in feeds.items() if name in known}
    return answers_of(session, given, names)


def answers_of(session: Any, feeds: Feeds, names: Sequence[str] | None = None) -> list[np.ndarray]:
    """The values of these names, or of all outputs, by a session that is there already.

    Raises:
        UnsupportedModel: it did not end in time. What else onnxruntime raises is passed on.
    """
    options = need("onnxruntime", "to verify ONNX files").RunOptions()
    options.log_severity_level = 4
    late = threading.Event()

    def end() -> None:
        late.set()
        options.terminate = True

    timer = threading.Timer(MOST_SECONDS, end)
    timer.daemon = True
    timer.start()
    try:
        return list(session.run(None if names is None else list(names), dict(feeds), options))
    except Exception as error:
        # onnxruntime's exceptions derive from Exception alone
        if any(word in str(error) for word in _FULL):
            raise UnsupportedModel(
                f"onnxruntime needs more than {MOST_BYTES / 2**30:g} GiB of memory for a few "
                "samples of the file. Give smaller ones (--shape, or --input NAME:KIND:SIZES), or "
                "check what it computes."
            ) from error
        if not late.is_set():
            raise
        raise UnsupportedModel(
            f"onnxruntime did not end within {MOST_SECONDS:g} seconds on a few samples: has the "
            "file a loop without an end? Export it with a fixed number of steps."
        ) from error
    finally:
        timer.cancel()


def showing(proto: Any, names: Sequence[str]) -> Any:
    """A copy of a model that also gives the values of these names."""
    copy = copied(proto)
    value = need("onnx", "").ValueInfoProto
    known = {output.name for output in copy.graph.output}
    copy.graph.output.extend(value(name=name) for name in names if name not in known)
    return copy


def copied(message: Any) -> Any:
    """A copy of a protobuf message."""
    copy = type(message)()
    copy.CopyFrom(message)
    return copy
