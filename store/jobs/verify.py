"""Does a kept configuration still do what it says? Loaded into a new process and measured again.

`python -m store verify 3` rebuilds the network from its weights, applies the file, scores it on
the test images, and keeps the verdict with the configuration.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from qcore.errors import InvalidConfig, InvalidParams, QcoreError, StoreError
from qcore.formats.config import BitConfig, parse_bits
from qcore.judges import CLASSES, Measure, read_judge
from store.bounds import Opening
from store.database import Store, now
from store.jobs import opening as steps
from store.jobs.opening import Pool
from store.runs.configurations import SavedConfig, configs, update_config

TOLERANCE = 0.001
"""Share of test images that may come out differently: other processors round differently."""

TOLERANCE_OTHER = 0.01
"""The same of scores that are no shares, in their unit, as dB."""


VERIFYING = Pool(4, "other configurations are being measured again", threads=0)


def saved(store: Store, config_id: int) -> SavedConfig:
    """A kept configuration.

    Raises:
        StoreError: there is none of this number.
    """
    found = next((entry for entry in configs(store) if entry.id == config_id), None)
    if found is None:
        raise StoreError(f"There is no saved configuration {config_id}.")
    return found


def verifiable(config: BitConfig) -> str | None:
    """Why a configuration cannot be verified; None where it can."""
    if config.test is None or not config.state:
        return "it holds bits alone: measure it first, then verify what that gives."
    if not config.provenance.get("data"):
        return "it does not say on which data it was measured."
    return None


def verify(store: Store, config_id: int, opening: Opening = nullcontext) -> dict[str, Any]:
    """Measure a kept configuration again and keep the verdict. Loads torch.

    Args:
        store: The database.
        config_id: Its number.
        opening: Gives what is entered while network and data are opened, to bound it.

    Returns:
        {"at", "passed", "wanted", "got", "n"}: accuracies (agreement with the float network where
        images have no labels) 0..1 on n test images; of another judge its scores, with "judge" and
        "labelled"; where it could not be measured "got" is None
        and "error" says why.

    Raises:
        StoreError: there is no such configuration.
    """
    text = saved(store, config_id).text
    found: dict[str, Any] = {"at": now(), "passed": False, "wanted": None, "got": None, "n": 0}
    try:
        config = parse_bits(text)
        found |= compare(config, opening)
    except QcoreError as error:
        found["error"] = str(error)
    update_config(store, config_id, check=found)
    return found


def compare(config: BitConfig, opening: Opening = nullcontext) -> dict[str, Any]:
    """Score a configuration anew against its own test scores.

    Args:
        config: The configuration.
        opening: Gives what is entered while network and data are opened, to bound it.

    Raises:
        InvalidConfig: it cannot be verified, or is not for the network or images that are here.
        DataUnavailable: the images or weights are not here.
    """
    reason = verifiable(config)
    if reason is not None or config.test is None:
        raise InvalidConfig(f"This configuration cannot be verified: {reason}")
    from qcore.scoring.verification import measure

    got = measure(config, opening)
    wanted = config.test
    if got.n != wanted.n:
        raise InvalidConfig(
            f"It was measured on {wanted.n:,} test samples, and there are {got.n:,} now: the data "
            "has changed."
        )
    said = config.provenance.get("judge")
    measure_of = _measure(said, wanted.accuracy is not None)
    most = TOLERANCE if measure_of.share else TOLERANCE_OTHER
    close = abs(got.headline - wanted.headline) <= most + 1e-9
    found = {"passed": close, "wanted": wanted.headline, "got": got.headline, "n": got.n}
    return found | ({"judge": said, "labelled": wanted.accuracy is not None} if said else {})


def _measure(judge: Any, labelled: bool) -> Measure:
    """What a verdict's figures are."""
    try:
        found = read_judge(judge)
    except InvalidParams:
        found = CLASSES
    return found.score if labelled else found.match


def start(store: Store, config_id: int) -> str:
    """Verify in a process of its own; returns the step's name.

    The verdict is in the database when it has ended.

    Raises:
        InvalidParams: others are being measured; wait.
        StoreError: the process could not be started.
    """
    request = {"kind": "verify", "configuration": config_id}
    name = steps.name_of(store, "verify", str(config_id))
    return steps.start(store, request, pool=VERIFYING, name=name)


def words(check: Mapping[str, Any]) -> str:
    """A verdict in one sentence."""
    if check.get("error"):
        return f"could not be verified: {check['error']}"
    measure = _measure(check.get("judge"), bool(check.get("labelled", True)))
    wanted, got = (measure.write(check[name], 2) for name in ("wanted", "got"))
    verdict = "as saved" if check["passed"] else "not as saved"
    return f"{verdict}: {got} measured, {wanted} in the file, n={check['n']:,}"
