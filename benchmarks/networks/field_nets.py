"""Networks of public packages whose own code cannot be imported as it is; built by name.

The folder of the unpacked packages is named by the environment variable FIELD_PACKAGES.
"""

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

from torch import nn


def demosaick() -> nn.Module:
    """Demosaicnet's network for Bayer mosaics, without weights.

    Raises:
        FileNotFoundError: the package is not unpacked there.
    """
    folder = Path(os.environ["FIELD_PACKAGES"])
    (path,) = folder.glob("demosaicnet*/demosaicnet/modules.py")
    # setuptools no longer has what it asks for the place of its weights
    stand_in = ModuleType("pkg_resources")
    stand_in.resource_filename = lambda package, name: name  # type: ignore[attr-defined]
    before = sys.modules.get("pkg_resources")
    sys.modules["pkg_resources"] = stand_in
    try:
        spec = importlib.util.spec_from_file_location("demosaicnet_modules", path)
        if spec is None or spec.loader is None:
            raise FileNotFoundError(path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.modules.pop("pkg_resources")
        if before is not None:
            sys.modules["pkg_resources"] = before
    network: nn.Module = module.BayerDemosaick(pretrained=False)
    return network
