"""Read by every Python that the server under test starts: its workers prepare a toy.

The program itself has no such switch. Nothing is imported here but what a hook needs; the toy comes
when a worker prepares.
"""

import importlib.abc
import importlib.util
import sys


def _prepare(spec, **callbacks):
    from tests.engine import toys

    return toys.prepare(spec, **callbacks)


class _Swap(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "store.workers.worker":
            return None
        sys.meta_path.remove(self)
        found = importlib.util.find_spec(name)
        execute = found.loader.exec_module

        def exec_module(module):
            execute(module)
            module.default_prepare = _prepare

        found.loader.exec_module = exec_module
        return found


sys.meta_path.insert(0, _Swap())
