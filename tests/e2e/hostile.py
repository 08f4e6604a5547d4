"""Results whose every name is written to do harm where a page takes it for markup."""

import random
from pathlib import Path

from qcore.allocation import BitAllocation, LayerBits, LayerSpec, ModelSpec
from qcore.formats.config import BitConfig, dump_bits
from qcore.problem import Point, Scores
from qcore.run_spec import RunSpec
from store import Store, create_run, open_store, save_config, save_model
from store.runs.points import add_point, add_report
from store.runs.queue import claim, finish, progress
from tests.pages import sample

MARK = "<img src=x onerror=\"window.hacked=1;alert('hacked')\">"
"""Part of every hostile name: if it becomes an element, the page is marked."""

LAYERS = (
    MARK,
    "</script><script>window.hacked=1</script>",
    "\u202eevil\u202c layer",
    "![x](http://evil.example/p.png) $x^2$ **b** | a",
    "n" * 500,
    "\U0001f680\U0001f9ee",
)
RUN = f"{MARK} run \u202etxet \U0001f680 $x^2$ [a](http://evil.example)"
ERROR = f"{MARK} no space on \u202eksid"
KEPT = f"{MARK} kept"
MODEL = ModelSpec(
    "hostile",
    "1" * 64,
    tuple(LayerSpec(name, "conv2d", 900, 8, 8, 40_000, 400, 400) for name in LAYERS),
)


def fill(folder: Path) -> None:
    """The results of `tests.pages.sample`, and a network, runs and a configuration to fear."""
    store = open_store(folder / "bitdial.db")
    sample.fill(store)
    floats = Scores(1000, 0.0, 1.0, 0.93, 0.2)
    everything = BitAllocation.uniform(MODEL.layers, 32)
    save_model(store, MODEL, "fashion-mnist", Point(everything, floats, test=floats))
    _run(store, "portfolio", "done", "")
    content = _run(store, "random", "failed", ERROR)
    save_config(store, KEPT, content, note=MARK, tags=(MARK,))
    store.engine.dispose()


def _run(store: Store, search: str, state: str, error: str) -> str:
    create_run(store, RunSpec("hostile", "fashion-mnist", search), RUN)
    held = claim(store, "test")
    assert held is not None
    rng = random.Random(search)
    content = ""
    for at in range(8):
        bits = {name: LayerBits(rng.choice((2, 4, 8)), 8) for name in MODEL.names}
        point = sample.point(BitAllocation(bits), 700 + 10 * at, tested=at > 5)
        add_point(store, *held, point)
        if point.test is not None:
            config = BitConfig(MODEL, point.allocation, search=point.search, test=point.test)
            content = dump_bits(config)
            add_report(store, *held, point, content)
    progress(store, *held, 8, 8, MARK)
    finish(store, *held, state, error, f"Traceback of {MARK}" if error else None)
    return content
