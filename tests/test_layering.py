"""Who may import whom, what importing drags in, and how much lies in one place.

Each rule is one test that lists every offender.
"""

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path

from benchmarks import structure

ROOT = Path(__file__).parents[1]
LAYERS = {"qcore": {"qcore"}, "store": {"qcore", "store"}, "pages": {"qcore", "store", "pages"}}
OURS = {*LAYERS, "tests", "benchmarks"}
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
HEAVY = (
    *("torch", "torchvision", "alembic", "distributed", "dask", "cma", "scipy", "pymoo"),
    "matplotlib",
    *("onnx", "onnxscript", "onnxruntime", "torchao", "safetensors"),
)
"""What takes seconds to load, and is loaded only once it is needed."""

FOR_ALL = {"shared", "plots", "network", "downloads"}
"""Folders of `pages` that are no page's own."""

STARTS = ("app", "store.__main__", "store.workers.worker", "store.jobs.opening_worker")
"""What is run as a program; all of `pages` is added."""


graph = functools.cache(structure.graph)
parsed = structure.parsed


def all_imports(path):
    """First names of everything a file imports, inside functions too."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." if node.level else (node.module or "").split(".")[0]


def test_imports_go_one_way_and_stay_at_home():
    wrong = []
    for path in structure.sources():
        place = path.relative_to(ROOT).parts[0]
        for name in all_imports(path):
            if name == "." or (name in OURS and name not in LAYERS.get(place, set(LAYERS))):
                wrong.append(f"{path.relative_to(ROOT)} may not import {name}")
            elif place not in HOMES.get(name, {place}):
                wrong.append(f"{path.relative_to(ROOT)}: {name} does not belong in {place}")
    assert not wrong


def test_benchmarks_import_nothing_from_the_tests():
    paths = structure.sources(places=("benchmarks",))
    assert not [str(path) for path in paths if "tests" in all_imports(path)]


def test_no_files_import_one_another():
    assert structure.circles(graph()) == []


def test_a_file_has_five_hundred_lines_at_most_and_a_folder_twenty_five_files():
    paths = structure.sources(places=(*structure.PLACES, "benchmarks"))
    lengths = {path: len(path.read_text().splitlines()) for path in paths}
    long = {str(path.relative_to(ROOT)): count for path, count in lengths.items() if count > 500}
    assert long == {}
    assert structure.crowded(places=(*structure.PLACES, "benchmarks", "tests")) == []


def torch_free():
    """Every page, every program, and all that they import when they start.

    The pages' scripts are left out themselves: importing one draws it.
    """
    arrows = graph()
    pages = {name for name in arrows if name.split(".")[0] == "pages"}
    found = structure.reached({*STARTS, *pages}, arrows)
    return sorted(name for name in found if not name.startswith("pages.views."))


def test_pages_store_and_half_of_the_core_load_nothing_heavy():
    names = torch_free()
    assert {"qcore.allocation", "qcore.costs", "qcore.searches", "store"} < set(names)
    assert {"qcore.models.catalog", "qcore.scoring.executors"} < set(names)
    assert {"qcore.formats.exports", "store.jobs.export"} < set(names)
    code = f"import sys, importlib\nfor n in {names!r}: importlib.import_module(n)\n"
    code += f"print(*(set({HEAVY}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr


def test_only_init_lies_directly_in_pages():
    assert [path.name for path in (ROOT / "pages").glob("*.py")] == ["__init__.py"]


def test_nothing_unpickles_and_nothing_asserts_on_input():
    for path in structure.sources():
        for node in ast.walk(parsed(path)):
            assert not isinstance(node, ast.Assert), f"{path}:{node.lineno}"
            named = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            if named and node.func.attr == "load" and ast.unparse(node.func) == "torch.load":
                keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
                assert keywords.get("weights_only") == "True", f"{path}:{node.lineno}"


def test_what_calls_itself_pure_never_reaches_streamlit():
    """A page's file that says so in its docstring, and all that it imports from pages."""
    paths = {structure.module_of(path): path for path in structure.sources()}
    arrows = graph()
    draws = {
        name
        for name, path in paths.items()
        if any(found.split(".")[0] == "streamlit" for found in structure.imports_of(path))
    }
    pure = [
        name
        for name, path in paths.items()
        if name.startswith("pages.")
        and re.search(r"\bPure\b", ast.get_docstring(parsed(path)) or "")
    ]
    assert len(pure) > 30
    wrong = {name: sorted(structure.reached({name}, arrows) & draws) for name in pure}
    assert {name: found for name, found in wrong.items() if found} == {}


def test_no_page_imports_what_is_another_pages():
    """What lies in FOR_ALL is for all pages; a page's script draws its own folder."""
    wrong = [
        f"{name} imports {other}"
        for name, targets in graph().items()
        for other in sorted(targets)
        if name.startswith("pages.") and other.startswith("pages.")
        for mine, theirs in [(_page_of(name), _page_of(other))]
        if theirs not in {mine, *FOR_ALL}
    ]
    assert wrong == []


def _page_of(name):
    _, folder, *rest = name.split(".")
    return rest[0] if folder == "views" else folder
