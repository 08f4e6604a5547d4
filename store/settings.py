"""What can be set from outside: environment variables with defaults, each explained.

Every BITDIAL_ variable is listed here, and one that is nonsense is refused by its name. Two are
read in the core as well, by the functions that are called here: `data_folder` and `allowed`.
"""

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
TOKEN_VARIABLE = "BITDIAL_TOKEN"
BACKUPS_VARIABLE = "BITDIAL_BACKUPS"
TRIES_VARIABLE = "BITDIAL_TRIES"
CACHE_VARIABLE = "BITDIAL_CACHE_GB"
OPEN_GB_VARIABLE = "BITDIAL_OPEN_GB"
OPEN_SECONDS_VARIABLE = "BITDIAL_OPEN_S"

DEFAULT_LEASE_S = 30.0
DEFAULT_EVALUATOR = "inline"
DEFAULT_BACKUPS = 4
DEFAULT_TRIES = 3
MOST_WORKERS = 256
DEFAULT_CACHE_GB = 4.0
CACHE_RANGE_GB = (0.0, 100_000.0)
DEFAULT_OPEN_S = 1800.0
OPEN_RANGE_S = (1.0, 86_400.0)
OPEN_RANGE_GB = (0.1, 100_000.0)
MOST_BACKUPS = 1000
MOST_TRIES = 1000
LEASE_RANGE_S = (1.0, 86_400.0)
TOKEN_LENGTHS = (16, 200)

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
        token: What a browser must know to open the dashboard; "" for nothing. Never show it.
        backups: Weekly backups of a SQLite file that are kept beside it; 0 for none.
        tries: Workers in a row that may end without a new point before their run has failed.
        cache_gb: What the cache may take on the disk, 10^9 bytes; 0 for none.
        open_gb: Memory that opening a file may take beyond the program's own, 10^9 bytes.
        open_s: Seconds that opening a file may take.
    """

    folder: Path
    database_url: str
    workers: int
    lease_s: float
    evaluator: str
    gpus: int | None
    recordings: bool = True
    allow_code: tuple[str, ...] = ()
    token: str = field(default="", repr=False)
    backups: int = DEFAULT_BACKUPS
    tries: int = DEFAULT_TRIES
    cache_gb: float = DEFAULT_CACHE_GB
    open_gb: float = OPEN_RANGE_GB[1]
    open_s: float = DEFAULT_OPEN_S


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
        token=token(env),
        backups=_backups(env),
        tries=_tries(env),
        cache_gb=cache_gb(env),
        open_gb=open_gb(env),
        open_s=open_seconds(env),
    )


def token(env: Env | None = None) -> str:
    """What a browser must know to open the dashboard; "" where that is nothing.

    Raises:
        InvalidParams: it is too short to be a secret, or has signs that an address would change.
    """
    words = (os.environ if env is None else env).get(TOKEN_VARIABLE, "").strip()
    low, high = TOKEN_LENGTHS
    if words and not re.fullmatch(rf"[A-Za-z0-9_.~-]{{{low},{high}}}", words):
        raise InvalidParams(
            f"{TOKEN_VARIABLE} cannot be used: it must have {low} to {high} letters, digits or "
            'signs of "-_.~". Make one with '
            "`python -c 'import secrets; print(secrets.token_urlsafe(24))'`."
        )
    return words


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


def _backups(env: Env) -> int:
    found = _whole(env, BACKUPS_VARIABLE, 0, MOST_BACKUPS)
    return DEFAULT_BACKUPS if found is None else found


def _tries(env: Env) -> int:
    found = _whole(env, TRIES_VARIABLE, 1, MOST_TRIES)
    return DEFAULT_TRIES if found is None else found


def _recordings(env: Env) -> bool:
    words = env.get(RECORDINGS_VARIABLE, "").strip().lower() or "yes"
    if words not in ("yes", "no"):
        raise InvalidParams(f"{RECORDINGS_VARIABLE} is {words!r}; it must be yes or no.")
    return words == "yes"


def _lease_s(env: Env) -> float:
    return _number(env, LEASE_VARIABLE, LEASE_RANGE_S, "seconds", DEFAULT_LEASE_S)


def cache_gb(env: Env | None = None) -> float:
    """What the cache may take on the disk, 10^9 bytes; 0 for none.

    Raises:
        InvalidParams: it is no such number.
    """
    env = os.environ if env is None else env
    return _number(env, CACHE_VARIABLE, CACHE_RANGE_GB, "GB", DEFAULT_CACHE_GB)


def open_seconds(env: Env | None = None) -> float:
    """Seconds that opening a file may take.

    Raises:
        InvalidParams: it is no such number.
    """
    env = os.environ if env is None else env
    return _number(env, OPEN_SECONDS_VARIABLE, OPEN_RANGE_S, "seconds", DEFAULT_OPEN_S)


def open_gb(env: Env | None = None) -> float:
    """Memory that opening a file may take beyond the program's own, 10^9 bytes.

    Raises:
        InvalidParams: it is no such number.
    """
    env = os.environ if env is None else env
    return _number(env, OPEN_GB_VARIABLE, OPEN_RANGE_GB, "GB", _half_of_memory())


def _half_of_memory() -> float:
    """Half of this machine's memory, 10^9 bytes, or 8 where the system does not say."""
    try:
        found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 8.0
    return max(1.0, round(found / 2e9, 1))


def _number(
    env: Env, variable: str, bounds: tuple[float, float], unit: str, default: float
) -> float:
    words = env.get(variable, "").strip()
    if not words:
        return default
    low, high = bounds
    try:
        found = float(words)
    except ValueError:
        found = math.nan
    if not low <= found <= high:
        raise InvalidParams(
            f"{variable} is {words!r}; it must be a number of {unit} from {low:g} to "
            f"{high:g}. Correct it, or remove it to use the default, {default:g}."
        )
    return found


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
    (
        "Token",
        TOKEN_VARIABLE,
        lambda env: "asked for" if token(env) else "none",
        "A secret that opens the dashboard: the first address ends in ?token=..., then a cookie "
        "is kept. A server that others can reach does not start without one. Default: none.",
    ),
    (
        "Weekly backups",
        BACKUPS_VARIABLE,
        lambda env: str(_backups(env)),
        "How many weekly backups of a SQLite database are kept beside it; 0 for none. "
        f"Default: {DEFAULT_BACKUPS}.",
    ),
    (
        "Tries",
        TRIES_VARIABLE,
        lambda env: str(_tries(env)),
        "How often in a row a search's own worker may end without measuring anything before the "
        f"search has failed; power cuts and killed servers do not count. Default: {DEFAULT_TRIES}.",
    ),
    (
        "Cache size",
        CACHE_VARIABLE,
        lambda env: f"{cache_gb(env):g} GB",
        "What the folder cache in the data folder may take: what was worked out of a network and "
        "its samples, so that it is not worked out again. What was used longest ago goes first; 0 "
        f"for none. Default: {DEFAULT_CACHE_GB:g} GB.",
    ),
    (
        "Memory to open a file",
        OPEN_GB_VARIABLE,
        lambda env: f"{open_gb(env):g} GB",
        "What opening a file of yours, a network, data or bits, may take beyond the program's own "
        "memory; one that asks for more is refused. Default: half of this machine's memory.",
    ),
    (
        "Time to open a file",
        OPEN_SECONDS_VARIABLE,
        lambda env: f"{open_seconds(env):g} s",
        f"After how long opening a file of yours is ended. Default: {DEFAULT_OPEN_S:g} s.",
    ),
)
