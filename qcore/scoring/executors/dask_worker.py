"""What runs on a cluster's machines. Torch-free until the first recipe is unpacked there."""

import pickle
import platform
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version

import qcore
from qcore.allocation import BitAllocation
from qcore.errors import EvaluatorFailed, QcoreError
from qcore.problem import Point, Window
from qcore.scoring.executors.recipe import Context, Newest, Recipe

KEPT = 4
"""Contexts a worker keeps: several searches may share it."""

_contexts: Newest[Context] = Newest(KEPT)
_lock = threading.Lock()


def our_versions() -> dict[str, str]:
    """Versions that must be equal on every machine for scores to be comparable."""
    found = {"bitdial": qcore.__version__, "Python": ".".join(platform.python_version_tuple()[:2])}
    for package in ("torch", "distributed"):
        try:
            found[package] = version(package).split("+")[0]  # builds for cpu and cuda may mix
        except PackageNotFoundError:
            found[package] = "missing"
    return found


def check_versions(ours: Mapping[str, str], theirs: Mapping[str, str], where: str) -> None:
    """Raise unless a machine has our versions of everything it names.

    Raises:
        EvaluatorFailed: one differs; says both.
    """
    wrong = [
        f"{name} {theirs[name]} (here: {ours[name]})"
        for name in ours
        if name in theirs and theirs[name] != ours[name]
    ]
    if wrong:
        raise EvaluatorFailed(
            f"{where} has {', '.join(wrong)}. Install the same bitdial, with the same packages and "
            "Python, on every machine, then start its workers again."
        )


def carry(packed: bytes) -> bytes:
    """The packed recipe itself, as a task: made again when every machine that held it is gone."""
    return packed


def build_there(packed: bytes, key: str, versions: Mapping[str, str]) -> None:
    """Unpack a recipe on a worker, which keeps the newest few.

    Args:
        packed: The pickled recipe.
        key: Its key.
        versions: `our_versions` of the machine that runs the search.
    """
    with _named_errors(), _lock:
        check_versions(versions, our_versions(), "This worker")
        _contexts.get(key, lambda: _unpack(packed))


def score_there(
    key: str, allocation: BitAllocation, stage: str, images: Window | None
) -> Point | str:
    """Score one allocation on a worker; gives its address instead where the recipe is not there.

    Raises:
        QcoreError: what the evaluation raised, with this worker's name.
    """
    # a worker with several threads would switch the one model's bits under its own feet
    with _named_errors(), _lock:
        context = _contexts.find(key)
        if context is None:
            return _worker()[1]
        (point,) = context.score([allocation], stage, images)
        return point


def forget_there(keys: Sequence[str]) -> None:
    """Free the memory of contexts whose search is over."""
    for key in keys:
        _contexts.drop(key)


def _unpack(packed: bytes) -> Context:
    recipe: Recipe = pickle.loads(packed)
    return recipe.context()


@contextmanager
def _named_errors() -> Iterator[None]:
    """Say on which worker an error happened, and send no exception the driver may not know."""
    try:
        yield
    except QcoreError as error:
        error.args = (f"{error} (on worker {_worker()[0]})", *error.args[1:])
        raise
    except Exception as error:  # noqa: BLE001 - raised again where the search runs
        raise EvaluatorFailed(
            f"Worker {_worker()[0]} failed: {type(error).__name__}: {error}\n"
            f"{traceback.format_exc()}"
        ) from None


def _worker() -> tuple[str, str]:
    """Name and address of the worker this runs on."""
    from distributed import get_worker

    worker = get_worker()
    return str(worker.name), str(worker.address)
