"""Read by every Python that a test starts with this folder on its path: the bundled images are few.

The program itself has no such switch. The images lie in the file that BITDIAL_FEW_IMAGES names.
"""

import importlib.abc
import importlib.util
import os
import sys
from pathlib import Path


class _Few(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "qcore.data.fashion":
            return None
        sys.meta_path.remove(self)
        found = importlib.util.find_spec(name)
        execute = found.loader.exec_module

        def exec_module(module):
            execute(module)
            module.SHIPPED_FASHION = Path(os.environ["BITDIAL_FEW_IMAGES"])

        found.loader.exec_module = exec_module
        return found


sys.meta_path.insert(0, _Few())
