"""What can be set from outside: environment variables with defaults, each explained.

Every BITDIAL_ variable is listed here, and one that is nonsense is refused by its name. Two are
read in the core as well, by the functions that are called here: `data_folder` and `allowed`.
"""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from qcore.data_folder import FOLDER_VARIABLE, data_folder
from qcore.errors import InvalidParams
from qcore.models.code_allowed import VARIABLE as CODE_VARIABLE
from qcore.models.code_allowed import allowed
from qcore.scoring.executors.address import check_address
from store.database.locations import URL_VARIABLE, database_url, shown_url

WORKERS_VARIABLE = "BITDIAL_WORKERS"
LEASE_VARIABLE = "BITDIAL_LEASE_S"
EVALUATOR_VARIABLE = "BITDIAL_EVALUATOR"
GPUS_VARIABLE = "BITDIAL_GPUS"
RECORDINGS_VARIABLE = "BITDIAL_RECORDINGS"

DEFAULT_LEASE_S = 30.0
DEFAULT_EVALUATOR = "inline"
MOST_WORKERS = 256
LEASE_RANGE_S = (1.0, 86_400.0)

Env = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Settings:
    """What this installation was told.

    Attributes:
        folder: Of the database file, locks, logs and checkpoints; absolute.
        database_url: SQLAlchemy URL, with its password where it has one: never show it.
        workers: Most searches that work at once on this machine, from 1.
        lease_s: Seconds without a beat after which a worker counts as lost.
        evaluator: Where candidates are scored: "inline", "procs:N", "tcp://..." or "tls://...".
        gpus: GPUs to use; None for as many as there are.
        recordings: Whether a new database begins with the recorded results.
        allow_code: Modules of the user's that may be imported, and "pt2" for such files.
    """

    folder: Path
    database_url: str
    workers: int
    lease_s: float
    evaluator: str
    gpus: int | None
    recordings: bool = True
    allow_code: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One setting, explained.

    Attributes:
        name: What people call it.
        value: What holds now, without passwords; "" where it is nonsense.
        source: The variable it was read from, or "default".
        variable: The variable that sets it.
        help: What it means and how to set it.
        problem: Why it cannot be used; "" where it can.
    """

    name: str
    value: str
    source: str
    variable: str
    help: str
    problem: str = ""


def read_settings(env: Env | None = None) -> Settings:
    """Read every setting.

    Args:
        env: Environment variables; None is this process's.

    Raises:
        InvalidParams: a variable is nonsense; names it and says what it may be.
    """
    env = os.environ if env is None else env
    return Settings(
        folder=data_folder(env),
        database_url=database_url(None, env),
        workers=_workers(env),
        lease_s=_lease_s(env),
        evaluator=_evaluator(env),
        gpus=_gpus(env),
        recordings=_recordings(env),
        allow_code=allowed(env),
    )


def describe_settings(env: Env | None = None) -> list[SettingRow]:
    """Every setting with its value, where that comes from, and what it means; never raises."""
    env = os.environ if env is None else env
    return [_row(env, *entry) for entry in _EXPLAINED]


def _row(
    env: Env, name: str, variable: str, read: Callable[[Env], str], explanation: str
) -> SettingRow:
    source = variable if env.get(variable) else "default"
    try:
        return SettingRow(name, read(env), source, variable, explanation)
    except InvalidParams as error:
        return SettingRow(name, "", source, variable, explanation, str(error))


def _whole(env: Env, variable: str, low: int, high: int) -> int | None:
    words = env.get(variable, "").strip()
    if not words:
        return None
    if not words.isdecimal() or len(words) > 9 or not low <= int(words) <= high:
        raise InvalidParams(
            f"{variable} is {words[:80]!r}; it must be a whole number from {low} to {high}. "
            "Correct it, or remove it to use the default."
        )
    return int(words)


def _workers(env: Env) -> int:
    found = _whole(env, WORKERS_VARIABLE, 1, MOST_WORKERS)
    return min(4, os.cpu_count() or 1) if found is None else found


def _gpus(env: Env) -> int | None:
    return _whole(env, GPUS_VARIABLE, 0, MOST_WORKERS)


def _recordings(env: Env) -> bool:
    words = env.get(RECORDINGS_VARIABLE, "").strip().lower() or "yes"
    if words not in ("yes", "no"):
        raise InvalidParams(f"{RECORDINGS_VARIABLE} is {words!r}; it must be yes or no.")
    return words == "yes"


def _lease_s(env: Env) -> float:
    words = env.get(LEASE_VARIABLE, "").strip()
    if not words:
        return DEFAULT_LEASE_S
    low, high = LEASE_RANGE_S
    try:
        seconds = float(words)
    except ValueError:
        seconds = math.nan
    if not low <= seconds <= high:
        raise InvalidParams(
            f"{LEASE_VARIABLE} is {words!r}; it must be a number of seconds from {low:g} to "
            f"{high:g}. Correct it, or remove it to use the default, {DEFAULT_LEASE_S:g}."
        )
    return seconds


def _evaluator(env: Env) -> str:
    address = env.get(EVALUATOR_VARIABLE, "").strip() or DEFAULT_EVALUATOR
    try:
        check_address(address)
    except InvalidParams as error:
        raise InvalidParams(f"{EVALUATOR_VARIABLE} cannot be used: {error}") from error
    return address


def _gpus_text(env: Env) -> str:
    found = _gpus(env)
    return "all that are found" if found is None else str(found)


_EXPLAINED: tuple[tuple[str, str, Callable[[Env], str], str], ...] = (
    (
        "Data folder",
        FOLDER_VARIABLE,
        lambda env: str(data_folder(env)),
        "Folder of the database file, locks, logs and checkpoints. "
        "Default: bitdial-data in the folder the dashboard was started in.",
    ),
    (
        "Database",
        URL_VARIABLE,
        lambda env: shown_url(database_url(None, env)),
        "Address of the database of results. Default: the SQLite file bitdial.db in the data "
        "folder. For a team or several machines: postgresql+psycopg://user@host/name, after "
        "`pip install -r requirements-postgres.txt`.",
    ),
    (
        "Searches at once",
        WORKERS_VARIABLE,
        lambda env: str(_workers(env)),
        "Most searches that work at the same time on this machine; the others wait. "
        f"A whole number from 1 to {MOST_WORKERS}. Default: one a core, at most 4.",
    ),
    (
        "Lease, seconds",
        LEASE_VARIABLE,
        lambda env: f"{_lease_s(env):g}",
        "A search whose worker gives no sign of life for so long is taken over. "
        f"Default: {DEFAULT_LEASE_S:g}.",
    ),
    (
        "Evaluator",
        EVALUATOR_VARIABLE,
        _evaluator,
        "Where candidates are scored: inline (in the search's own process), procs:N (N local "
        "processes), or tcp://host:8786 or tls://host:8786 (a Dask cluster). Default: inline.",
    ),
    (
        "GPUs",
        GPUS_VARIABLE,
        _gpus_text,
        "How many GPUs searches may use; 0 for none. Default: all that nvidia-smi lists.",
    ),
    (
        "Recorded results",
        RECORDINGS_VARIABLE,
        lambda env: "yes" if _recordings(env) else "no",
        "Whether a new database begins with results recorded with the shipped code, to look at "
        "while the first search runs: yes or no. Default: yes.",
    ),
    (
        "Code that may run",
        CODE_VARIABLE,
        lambda env: ", ".join(allowed(env)) or "none",
        "Modules of yours that may be imported to build networks, with commas between, and pt2 "
        "for .pt2 files: both run code. Default: none.",
    ),
)
