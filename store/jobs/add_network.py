"""Steps of adding a network of one's own: what each asks for; `opening` works on them."""

import shutil
from pathlib import Path

from qcore.judges import Judge
from qcore.models.new_network import NewNetwork
from store.database import Store
from store.jobs.opening import new_place, start


def start_adding(store: Store, new: NewNetwork, upload: tuple[str, bytes] | None = None) -> str:
    """Start loading a network; returns the step's name.

    Args:
        store: The database.
        new: What the user said; its weights are replaced by the upload, where there is one.
        upload: Name and content of a file that came through the browser.

    Raises:
        InvalidParams, DataUnavailable: what was said cannot be; nothing was started.
    """
    if upload is None:
        new.check()
        return start(store, {"kind": "add", "new": new.to_json()})
    place = new_place(store)
    # only the ending is taken from a name somebody else chose
    path = place / f"upload{Path(upload[0]).suffix.lower()[:12]}"
    path.write_bytes(upload[1])
    request = {**new.to_json(), "weights": str(path)}
    try:
        NewNetwork.from_json(request).check()
    except Exception:
        shutil.rmtree(place, ignore_errors=True)
        raise
    return start(store, {"kind": "add", "new": request}, place)


def start_judging(store: Store, model: str, judge: Judge) -> str:
    """Start trying another judge on a network of the user's; returns the step's name."""
    return start(store, {"kind": "judge", "model": model, "judge": judge.to_json()})


def start_check(store: Store, model: str, data: str, calibration: int, search: int) -> str:
    """Start measuring a float network on data; returns the step's name."""
    return start(
        store,
        {
            "kind": "check",
            "model": model,
            "data": data,
            "calibration": calibration,
            "search": search,
        },
    )


def start_sensitivity(
    store: Store,
    model: str,
    data: str,
    sensitivity: str,
    weight_bits: tuple[int, ...],
    activation_bits: tuple[int, ...],
    calibration: int,
    search: int,
) -> str:
    """Start computing a sensitivity table; returns the step's name."""
    return start(
        store,
        {
            "kind": "sensitivity",
            "model": model,
            "data": data,
            "sensitivity": sensitivity,
            "weight_bits": list(weight_bits),
            "activation_bits": list(activation_bits),
            "calibration": calibration,
            "search": search,
        },
    )
