"""One thread for every test: two threads on small tensors spend their time waiting.

What was loaded to find the tests stays to the end: it is not searched for garbage.

Processes that run tests side by side take the files of all folders in turn. Examples are few, in
the default run fewer still, and have no deadline: on a machine that does other work a slow one
says nothing.
"""

import gc
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.order import mixed
from tests.variants import FEW

MAIN = sys.modules["__main__"]
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.umask(0o077)  # as the program itself: what it makes is its owner's


def pytest_configure(config: pytest.Config) -> None:
    """Before a test module is read: how many examples its properties are tried on."""
    settings.register_profile(
        "bitdial",
        deadline=None,
        max_examples=FEW if config.option.markexpr == "not slow" else 50,
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


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for garbage only after the tests were found, and only in what they leave behind."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """A page that ran took the main module's place; spawned processes would run it once more."""
    sys.modules["__main__"] = MAIN


@pytest.fixture(scope="session")
def fresh_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with every table and no row, to be copied: quicker than making one."""
    from store import open_store

    path = tmp_path_factory.mktemp("fresh") / "bitdial.db"
    open_store(path).engine.dispose()
    return path


@pytest.fixture(scope="session")
def few_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the bundled images with 500 of the 10,000 for tests: a report takes a moment."""
    import numpy as np

    from qcore.data import fashion

    with np.load(fashion.SHIPPED_FASHION) as stored:
        parts = {
            name: part[:500] if name.startswith("test") else part for name, part in stored.items()
        }
    path = tmp_path_factory.mktemp("images") / "few.npz"
    np.savez(path, **parts)
    return path


@pytest.fixture(scope="module")
def few_test_images(few_images: Path) -> Iterator[None]:
    """Every report of this process is on few of the bundled images."""
    from qcore.data import fashion

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fashion, "SHIPPED_FASHION", few_images)
        yield
