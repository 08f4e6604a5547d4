"""The folder in which results, the user's networks and the user's cost tables lie. Torch-free."""

import os
from collections.abc import Mapping
from pathlib import Path

FOLDER_VARIABLE = "BITDIAL_DATA"
DEFAULT_FOLDER = Path("bitdial-data")


def data_folder(env: Mapping[str, str] | None = None) -> Path:
    """Absolute path of $BITDIAL_DATA, or of ./bitdial-data where that is not set.

    Args:
        env: Environment variables; None is this process's.
    """
    words = (os.environ if env is None else env).get(FOLDER_VARIABLE)
    # "~" of somebody who is not there is part of a name
    return Path(os.path.expanduser(words or DEFAULT_FOLDER)).resolve()
