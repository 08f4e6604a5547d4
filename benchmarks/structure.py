"""How the source is laid out: files per folder, sizes, import circles, imports that run back.

    python -m benchmarks.structure                       # this checkout
    python -m benchmarks.structure --root OTHER          # another one, to compare with
    python -m benchmarks.structure --tests results.xml   # and seconds of tests, by folder

The last takes what `pytest --junitxml results.xml` writes. Nothing is imported; the files are read.
"""

import argparse
import ast
import functools
import statistics
import xml.etree.ElementTree as ElementTree
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

PLACES = ("app.py", "qcore", "store", "pages")
ROOT = Path(__file__).parents[1]


def sources(root: Path = ROOT, places: tuple[str, ...] = PLACES) -> list[Path]:
    """Python files of these places, sorted."""
    return [path for place in places for path in _files(root / place)]


def _files(place: Path) -> list[Path]:
    return [place] if place.suffix == ".py" else sorted(place.rglob("*.py"))


def module_of(path: Path, root: Path = ROOT) -> str:
    """Dotted name of the module that a file is."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file, which is read once."""
    return ast.parse(path.read_text(encoding="utf-8"))


def _statements(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Imports that run when the module is imported, and those for type checkers only."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child
        elif not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from _statements(child)


def imports_of(path: Path) -> set[str]:
    """Dotted names that a file imports when it is imported: modules, or names within them."""
    found: set[str] = set()
    for node in _statements(parsed(path)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        else:
            module = f"{'.' * node.level}{node.module or ''}"
            found.update(f"{module}.{alias.name}" for alias in node.names)
    return found


def graph(root: Path = ROOT) -> dict[str, set[str]]:
    """Module to those of our own modules that it imports; a package's face counts as a module."""
    modules = {module_of(path, root): path for path in sources(root)}
    arrows: dict[str, set[str]] = {}
    for name, path in modules.items():
        arrows[name] = set()
        for imported in imports_of(path):
            parent = imported.rpartition(".")[0]
            known = imported if imported in modules else parent if parent in modules else None
            if known is not None and known != name:
                arrows[name].add(known)
    return arrows


def reached(starts: set[str], arrows: Mapping[str, set[str]]) -> set[str]:
    """The starts and all that importing them imports, the packages they lie in included."""
    found: set[str] = set()
    left = set(starts)
    while left:
        name = left.pop()
        if name in found:
            continue
        found.add(name)
        parents = {name.rsplit(".", cut)[0] for cut in range(1, name.count(".") + 1)}
        left |= (arrows.get(name, set()) | parents) & set(arrows)
    return found


def circles(arrows: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of names that import one another, directly or not (Tarjan, 1972)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(name: str) -> None:
        number[name] = low[name] = len(number)
        stack.append(name)
        for other in sorted(arrows.get(name, ())):
            if other not in number:
                visit(other)
            if other in stack:
                low[name] = min(low[name], low[other])
        if low[name] == number[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1:
                groups.append(sorted(group))

    for name in sorted(arrows):
        if name not in number:
            visit(name)
    return groups


def entries(arrows: Mapping[str, set[str]], folder: str) -> dict[str, set[str]]:
    """The arrows inside one folder, a subfolder drawn as one entry; its own face left out."""

    def entry(name: str) -> str | None:
        inside = name.removeprefix(folder + ".")
        return None if inside == name else inside.split(".")[0]

    found: dict[str, set[str]] = defaultdict(set)
    for name, targets in arrows.items():
        here = entry(name)
        if here is not None:
            found[here].update(at for at in map(entry, targets) if at is not None and at != here)
    return dict(found)


def folders(arrows: Mapping[str, set[str]]) -> list[str]:
    """Packages, outermost first."""
    names = {name.rpartition(".")[0] for name in arrows} - {""}
    return sorted(names)


def running_back(arrows: Mapping[str, set[str]]) -> list[str]:
    """Entries of one folder that import one another, so that no order has all arrows one way."""
    return [
        f"{folder}: {' <-> '.join(group)}"
        for folder in folders(arrows)
        for group in circles(entries(arrows, folder))
    ]


def crowded(root: Path = ROOT, most: int = 25, places: tuple[str, ...] = PLACES) -> list[str]:
    """Folders with more files than they may have."""
    counts = Counter(path.parent for path in sources(root, places))
    return [
        f"{folder.relative_to(root)}: {count} files"
        for folder, count in sorted(counts.items())
        if count > most
    ]


def test_seconds(report: Path) -> dict[str, tuple[int, float]]:
    """Folder of tests to (tests, seconds they took), from a JUnit report."""
    found: dict[str, tuple[int, float]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        parts = case.get("classname", "").split(".")
        folder = "/".join(parts[:-1][:3]) or "tests"
        count, seconds = found.get(folder, (0, 0.0))
        found[folder] = count + 1, seconds + float(case.get("time", 0))
    return dict(sorted(found.items()))


def report(root: Path) -> Iterator[str]:
    """The figures of one checkout, a line each."""
    paths = sources(root)
    lengths = sorted(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)
    arrows = graph(root)
    yield f"files: {len(paths)}, lines: {sum(lengths):,}"
    yield f"lines of a file: median {statistics.median(lengths):g}, largest {lengths[-1]}"
    counts = Counter(path.parent.relative_to(root) for path in paths)
    largest = ", ".join(f"{folder} {count}" for folder, count in counts.most_common(4))
    yield f"folders: {len(counts)}; most files: {largest}"
    yield f"import circles: {len(circles(arrows))}"
    yield from (f"  {' <-> '.join(group)}" for group in circles(arrows))
    back = running_back(arrows)
    yield f"folders whose entries import one another: {len(back)}"
    yield from (f"  {line}" for line in back)
    for top in PLACES[1:]:
        inside = entries(arrows, top)
        yield f"{top}: {len(inside)} entries, {sum(map(len, inside.values()))} arrows between them"


def main() -> None:
    """Print what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--root", type=Path, default=ROOT)
    parser.add_argument("--tests", type=Path, help="a JUnit report of pytest")
    words = parser.parse_args()
    print(*report(words.root.resolve()), sep="\n")
    if words.tests:
        for folder, (count, seconds) in test_seconds(words.tests).items():
            print(f"{folder}: {count} tests, {seconds:.0f} s")


if __name__ == "__main__":
    main()
