"""Runs ONNX models in onnxruntime, as they are written."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qcore.errors import UnsupportedModel
from qcore.models.loading.packages import need

Feeds = Mapping[str, np.ndarray]

MOST_SECONDS = 60.0
"""After which a run is ended: a loop of a file may have no end."""

MOST_BYTES = 6 * 2**30
"""Memory that onnxruntime may take at most; a file of a few bytes can ask for any amount."""

ROOM, OF_WEIGHTS, OF_SAMPLES = 2**29, 16, 256
"""Of these bytes what any file gets, and how many more for each byte of the file and of samples."""

_FULL = ("BFCArena", "bad_alloc", "Failed to allocate memory")


def room_for(model_bytes: int, sample_bytes: int) -> int:
    """Bytes that onnxruntime may take for a model and the samples it is tried on."""
    return min(MOST_BYTES, ROOM + OF_WEIGHTS * model_bytes + OF_SAMPLES * sample_bytes)


def session_of(model: Any, room: int) -> Any:
    """A session of a model, or of a file, on the processor and without optimisation.

    Args:
        model: The model, or the file's path.
        room: Bytes of memory that it may take, as `room_for` says.
    """
    runtime = need("onnxruntime", "to verify ONNX files")
    _bound_memory(room)
    options = runtime.SessionOptions()
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    given = str(model) if isinstance(model, Path) else model.SerializeToString()
    session = runtime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
    session.room = room  # for messages
    return session


def _bound_memory(room: int) -> None:
    """Let no session that is made from here on take more than this, bytes."""
    runtime = need("onnxruntime", "to verify ONNX files")
    kinds = runtime.OrtAllocatorType, runtime.OrtMemType
    place = runtime.OrtMemoryInfo("Cpu", kinds[0].ORT_ARENA_ALLOCATOR, 0, kinds[1].DEFAULT)
    runtime.create_and_register_allocator(place, runtime.OrtArenaCfg(room, -1, -1, -1))


def run(model: Any, feeds: Feeds, names: Sequence[str] | None = None) -> list[np.ndarray]:
    """The values of these names, or of all outputs; what onnxruntime raises is passed on."""
    given = model.stat().st_size if isinstance(model, Path) else model.ByteSize()
    session = session_of(model, room_for(given, sum(x.nbytes for x in feeds.values())))
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
                f"onnxruntime needs more than {session.room / 2**30:.3g} GiB of memory for a few "
                "samples, far more than such a file and such samples take. Give smaller ones "
                "(--shape, or --input NAME:KIND:SIZES), or check what it computes."
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
