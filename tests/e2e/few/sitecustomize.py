"""Read by every Python that the server under test starts: the shipped subset has fewer test images.

Everything else is as the program has it; nothing is imported here but what a hook needs.
"""

import importlib.abc
import importlib.util
import os
import sys
from pathlib import Path

VARIABLE = "FEW_IMAGES"
"""Environment variable: the file that stands for the shipped subset."""


class _Swap(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "qcore.data.fashion":
            return None
        sys.meta_path.remove(self)
        found = importlib.util.find_spec(name)
        execute = found.loader.exec_module

        def exec_module(module):
            execute(module)
            module.SHIPPED_FASHION = Path(os.environ[VARIABLE])

        found.loader.exec_module = exec_module
        return found


sys.meta_path.insert(0, _Swap())
