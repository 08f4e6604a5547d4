"""Who may import whom, and what importing drags in."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = {"qcore": {"qcore"}, "store": {"qcore", "store"}, "pages": {"qcore", "store", "pages"}}
OURS = set(LAYERS)
HOMES = {
    "streamlit": {"app.py", "pages"},
    "plotly": {"pages"},
    "pandas": {"pages"},
    "sqlalchemy": {"store"},
    "alembic": {"store"},
    "filelock": {"store"},
    "torch": {"qcore"},
    "torchvision": {"qcore"},
    "cma": {"qcore"},
    "distributed": {"qcore"},
    "dask": {"qcore"},
    # a pool started inside the server would run the page again in its children
    "multiprocessing": {"qcore"},
    "concurrent": {"qcore"},
}
TORCH_FREE = (
    "qcore", "qcore.errors", "qcore.allocation", "qcore.costs", "qcore.front", "qcore.knapsack",
    "qcore.problem", "qcore.engine", "qcore.config", "qcore.catalog", "qcore.searches",
    "qcore.adding", "qcore.cards", "qcore.permission", "store.inspection", "store.inspect_worker",
    "store.add_model", "pages.ui.models_form", "pages.ui.models_frames", "pages.ui.models_steps",
    "qcore.exports", "store", "store.worker", "store.__main__", "app", "pages.ui.figures",
    "pages.ui.frames", "pages.ui.session", "pages.ui.widgets",
    "pages.ui.setup", "store.doctor", "store.settings", "qcore.evaluators", "qcore.checkpoints",
)  # fmt: skip


def torch_free():
    """The modules above, and everything that a page draws with."""
    drawn = (ROOT / "pages" / "ui").glob("*.py")
    names = {f"pages.ui.{path.stem}" for path in drawn if path.stem != "__init__"}
    return sorted({*TORCH_FREE, *names, "qcore.imports", "pages.components.budget_explorer"})


def sources():
    return list(walk())


def walk():
    for place in ("app.py", *LAYERS):
        path = ROOT / place
        yield from [path] if path.is_file() else sorted(path.rglob("*.py"))


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield (node.module or "").split(".")[0]


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way_and_stay_at_home(path):
    place = path.relative_to(ROOT).parts[0]
    for name in imports_of(path):
        if name in OURS:
            assert name in LAYERS.get(place, OURS), f"{path} may not import {name}"
        assert place in HOMES.get(name, {place}), f"{name} does not belong in {place}"


def test_pages_store_and_half_of_the_core_load_neither_torch_nor_migrations():
    code = f"import sys, importlib\nfor n in {torch_free()!r}: importlib.import_module(n)\n"
    code += "print(*({'torch', 'torchvision', 'alembic'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr


def test_only_init_lies_directly_in_pages():
    assert [path.name for path in (ROOT / "pages").glob("*.py")] == ["__init__.py"]


@pytest.mark.parametrize(
    "path",
    [*sources(), *sorted((ROOT / "tests").rglob("*.py")), *(ROOT / "benchmarks").glob("*.py")],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_no_file_is_longer_than_the_wall(path):
    assert len(path.read_text().splitlines()) <= 400


def test_nothing_unpickles_and_nothing_asserts_on_input():
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            assert not isinstance(node, ast.Assert), f"{path}:{node.lineno}"
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
                assert keywords.get("weights_only") == "True", f"{path}:{node.lineno}"


def test_the_explorer_keeps_under_six_hundred_lines_of_code():
    lines = [
        line.strip()
        for path in (ROOT / "pages/components/budget_explorer").glob("*.js")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    assert sum(bool(line) and not line.startswith(("//", "/*", "*")) for line in lines) < 600
