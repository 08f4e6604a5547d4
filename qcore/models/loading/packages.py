"""Packages that only some networks need, imported when they do."""

import importlib
from types import ModuleType

from qcore.errors import DataUnavailable
from qcore.models.loading.quiet import keep_quiet

REQUIREMENTS = "requirements-models.txt"


def need(package: str, what: str) -> ModuleType:
    """Import a package.

    Args:
        package: Its name, as it is imported.
        what: What it is needed for, to end a sentence.

    Raises:
        DataUnavailable: it is not installed; says the command that installs it.
    """
    keep_quiet()
    try:
        # torchvision must be imported through ours, and these packages import it
        importlib.import_module("qcore.models._torchvision")
        return importlib.import_module(package)
    except ImportError as error:
        raise DataUnavailable(
            f"{package} is needed {what} and cannot be imported ({error}). Install it with "
            f"pip install -r {REQUIREMENTS}, and restart."
        ) from error
