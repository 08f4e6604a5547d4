"""One connection to a Dask cluster: its workers, what they have unpacked, tasks under way."""

import pickle
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any

from qcore.errors import EvaluatorFailed, QcoreError
from qcore.scoring.executors.dask_worker import (
    build_there,
    carry,
    check_versions,
    forget_there,
    our_versions,
    score_there,
)
from qcore.scoring.executors.recipe import Newest, Recipe

CONNECT_S = 5.0
POLL_S = 0.2
LOOK_S = 1.0
MOST_DEATHS = 4
"""Workers that may die one after the other while unpacking a recipe."""


def lost_errors() -> tuple[type[BaseException], ...]:
    """What Dask raises once its scheduler is gone or has forgotten our tasks."""
    from distributed.client import ClosedClientError

    return OSError, CancelledError, ClosedClientError


class Session:
    """A connection; everything in it is void once the connection is.

    Args:
        address: "tcp://HOST:PORT" or "tls://HOST:PORT".
        on_progress: Told what is waited for.

    Raises:
        EvaluatorFailed: versions differ, or there are no certificates for tls.
        OSError: the scheduler is out of reach.
    """

    def __init__(self, address: str, on_progress: Callable[[str], None]) -> None:
        self._address, self._on_progress = address, on_progress
        self._lost = lost_errors()
        self._carried: Newest[Any] = Newest()
        self._built: set[tuple[str, str]] = set()
        self._building: dict[Any, tuple[str, str]] = {}
        self._workers: set[str] | None = None
        self._looked = float("-inf")
        self._deaths = 0
        self._client = _client(address)
        try:
            _check_cluster(self._client, address)
        except BaseException:
            self.close()
            raise

    @property
    def alive(self) -> bool:
        """True while the scheduler is in touch."""
        return self._client.status == "running"

    def close(self) -> None:
        """Disconnect; what is still computing there is dropped, unpacked recipes are freed."""
        keys = sorted({key for key, _ in self._built})
        with suppress(TimeoutError, *self._lost):
            if keys and self.alive:
                self._client.run(forget_there, keys, on_error="ignore")
        with suppress(TimeoutError, *self._lost):
            self._client.close(CONNECT_S)

    def ready_for(self, recipe: Recipe) -> bool:
        """True when every worker there is has unpacked the recipe; sees to it otherwise.

        Raises:
            QcoreError: it cannot be unpacked there.
        """
        self._look(recipe)
        self._build(recipe)
        return bool(self._workers) and not self._building

    def score(self, recipe: Recipe, *what: Any) -> Any:
        """Future of one allocation's point, or of the worker that has no such recipe."""
        return self._submit(recipe, score_there, recipe.key, *what)

    def missing(self, recipe: Recipe, worker: str) -> None:
        """Note that a worker has lost a recipe; it is unpacked there again."""
        self._built.discard((recipe.key, worker))

    def wait(self, futures: Iterable[Any]) -> None:
        """Wait a moment for any of these futures, or of those that unpack."""
        from distributed import wait

        under_way = [*futures, *self._building]
        if not under_way:
            time.sleep(POLL_S)
            return
        # `wait` looks for the current client, which ours is only here
        with self._client.as_current(), suppress(TimeoutError):
            wait(under_way, timeout=POLL_S, return_when="FIRST_COMPLETED")
        if not self.alive:
            raise ConnectionError(f"{self._address} has closed the connection")

    def answers(self, futures: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """Futures that are done, with what they gave or the QcoreError they failed with."""
        for future in [f for f in futures if f.done()]:
            try:
                yield future, future.result(timeout=CONNECT_S)
            except QcoreError as error:
                yield future, error
            except TimeoutError:
                continue  # its worker died with the result, so it is computed again
            except self._lost:
                raise
            except Exception as error:  # noqa: BLE001 - raised by who asked, in its turn
                yield future, _in_words(error, self._address)

    def _submit(self, recipe: Recipe, task: Any, *what: Any, **places: Any) -> Any:
        resources = {"GPU": 1} if recipe.device == "cuda" else None
        return self._client.submit(task, *what, pure=False, resources=resources, **places)

    def _look(self, recipe: Recipe) -> None:
        """See once a second which workers there are."""
        if time.monotonic() - self._looked < LOOK_S:
            return
        self._looked = time.monotonic()
        known = self._client.scheduler_info(n_workers=-1)["workers"]
        gpu = recipe.device == "cuda"
        workers = {
            address
            for address, worker in known.items()
            if worker["status"] == "running" and (not gpu or worker["resources"].get("GPU"))
        }
        if not workers and self._workers != workers:
            kind = "worker with a GPU (--resources GPU=1)" if gpu else "worker"
            self._on_progress(f"cluster {self._address} has no {kind}, waiting for one")
        self._workers = workers
        self._built = {(key, worker) for key, worker in self._built if worker in workers}
        for future in [f for f, (_, worker) in self._building.items() if worker not in workers]:
            del self._building[future]
            future.release()
            self._deaths += 1
        if self._deaths >= MOST_DEATHS:
            raise EvaluatorFailed(
                f"{self._deaths} workers of {self._address} died while unpacking the model, most "
                "likely for want of memory. Give each worker more, or start fewer per machine."
            )

    def _build(self, recipe: Recipe) -> None:
        """Have the recipe unpacked wherever it is not yet."""
        for future, answer in self.answers(self._building):
            place = self._building.pop(future)
            if isinstance(answer, QcoreError):
                raise answer
            self._built.add(place)
            self._deaths = 0
        under_way = {*self._built, *self._building.values()}
        for worker in self._workers or ():
            if (recipe.key, worker) in under_way:
                continue
            packed = self._carried.get(recipe.key, lambda: self._carry(recipe))
            what = (packed, recipe.key, our_versions())
            future = self._submit(recipe, build_there, *what, workers=[worker])
            self._building[future] = (recipe.key, worker)

    def _carry(self, recipe: Recipe) -> Any:
        packed = pickle.dumps(recipe)
        self._on_progress(f"Sending the model to {self._address} ({len(packed) / 2**20:,.1f} MiB)")
        # by its key, so that searches of one model share it
        return self._client.submit(carry, packed, key=f"bitdial-{recipe.key}")


def _client(address: str) -> Any:
    from distributed import Client

    try:
        return Client(address, timeout=CONNECT_S, set_as_default=False, name="bitdial")
    except TypeError as error:
        raise EvaluatorFailed(
            f"{address} cannot be reached without certificates ({error}). Set "
            "distributed.comm.tls (ca-file, client.cert, client.key) in Dask's configuration."
        ) from error


def _check_cluster(client: Any, address: str) -> None:
    """Raise unless scheduler and workers have our versions."""
    ours = our_versions()
    packages = client.get_versions()["scheduler"]["packages"]
    theirs = {
        "Python": ".".join(packages["python"].split(".")[:2]),
        "distributed": packages["distributed"],
    }
    check_versions(ours, theirs, f"The scheduler at {address}")
    for worker, found in client.run(our_versions, on_error="return").items():
        if isinstance(found, Exception):
            raise EvaluatorFailed(
                f"Worker {worker} of {address} cannot import bitdial ({found}). Start workers with "
                "python -m dask worker in the folder of bitdial, everywhere the same version."
            )
        check_versions(ours, found, f"Worker {worker} of {address}")


def _in_words(error: Exception, address: str) -> QcoreError:
    if type(error).__name__ == "KilledWorker":
        return EvaluatorFailed(
            f"Workers of {address} died, one after the other, of the same task, most likely for "
            "want of memory. Give each worker more, or start fewer per machine; their logs say "
            f"more. ({error})"
        )
    return EvaluatorFailed(
        f"{address} could not score: {type(error).__name__}: {error}. Start its scheduler and "
        "workers with python -m dask, in the folder of the same bitdial."
    )
