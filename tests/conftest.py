"""One thread for every test: two threads on small tensors spend their time waiting.

Processes that run tests side by side take the files of all folders in turn. Examples are few, in
the default run fewer still, and have no deadline: on a machine that does other work a slow one
says nothing.
"""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.order import mixed

os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_configure(config: pytest.Config) -> None:
    """Before a test module is read: how many examples its properties are tried on."""
    settings.register_profile(
        "bitdial",
        deadline=None,
        max_examples=20 if config.option.markexpr == "not slow" else 50,
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("bitdial")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where pytest-xdist runs the tests, mix the files before it hands them out."""
    if not hasattr(config, "workerinput"):
        return
    folder = Path(__file__).parent
    files = {item: item.path.relative_to(folder) for item in items}
    place = {file: at for at, file in enumerate(mixed(dict.fromkeys(files.values())))}
    items.sort(key=lambda item: place[files[item]])
