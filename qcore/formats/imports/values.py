"""Evaluates a Python expression of plain values without running it. Torch-free.

Literals, spreads, copies, names that were followed, and the handful of calls that people write
lists of bits with. Everything else becomes `Computed`, which says what it was; nothing is called.
"""

import ast
import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from qcore.formats.exports.widths import shortened
from qcore.formats.imports.presets import Entries, preset

STEPS = 500_000
"""Most values that are looked at in one file."""

LONGEST = 100_000
"""Most entries of a list that arithmetic makes."""

COPIES = ("copy", "deepcopy", "list", "tuple", "dict", "array", "asarray", "tensor", "OrderedDict")
WHOLE = ("int", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
REAL = ("float", "float16", "float32", "float64")
NUMBERS = (*WHOLE, *REAL)

Names = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Computed:
    """What cannot be known without running the file.

    Attributes:
        reason: What was there instead of a plain value, with its line.
    """

    reason: str


@dataclass(slots=True)
class Work:
    """How much more of a file is looked at.

    Attributes:
        left: Steps left.
    """

    left: int = field(default=STEPS)

    def spend(self, steps: int = 1) -> None:
        """Take steps off.

        Raises:
            ValueError: none are left.
        """
        self.left -= steps
        if self.left < 0:
            raise ValueError(f"it needs more than {STEPS:,} steps to be followed")


def computed(node: ast.AST) -> Computed:
    """What stands for an expression that has no plain value."""
    return Computed(f"{shortened(ast.unparse(node))} (line {getattr(node, 'lineno', '?')})")


def evaluate(node: ast.expr, names: Names, work: Work) -> Any:
    """The value of an expression: plain, or Computed, alone or inside lists and dictionaries.

    Args:
        node: The expression.
        names: What names stand for; dotted ones ("self.strategy") too.
        work: Is counted down.

    Raises:
        ValueError: it is too much to follow.
    """
    work.spend()
    reader = _READERS.get(type(node))
    found = reader(node, names, work) if reader else None
    return computed(node) if found is None and not _is_none(node) else found


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def dotted(node: ast.expr) -> str:
    """A name, or attributes of a name, as they are written: "a.b"; "" of anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return before and f"{before}.{node.attr}"
    return ""


def called(node: ast.Call) -> str:
    """The last part of the name of what is called; "" where it has none."""
    return node.func.attr if isinstance(node.func, ast.Attribute) else dotted(node.func)


def is_plain(value: Any) -> bool:
    """True where nothing in a value is Computed."""
    if isinstance(value, Mapping):
        return all(is_plain(key) and is_plain(entry) for key, entry in value.items())
    if isinstance(value, (list, tuple)):
        return all(is_plain(entry) for entry in value)
    return not isinstance(value, Computed)


def _constant(node: ast.Constant, names: Names, work: Work) -> Any:
    return node.value if isinstance(node.value, (int, float, str)) else None


def _name(node: ast.expr, names: Names, work: Work) -> Any:
    name = dotted(node)
    if name in names:
        return names[name]
    return _preset(name.rpartition(".")[2])


def _preset(name: str) -> Any:
    found = preset(name)
    return Computed(found) if isinstance(found, str) else found


def _sequence(node: ast.List | ast.Tuple, names: Names, work: Work) -> Any:
    found: list[Any] = []
    for element in node.elts:
        if not isinstance(element, ast.Starred):
            found.append(evaluate(element, names, work))
            continue
        inside = evaluate(element.value, names, work)
        if isinstance(inside, (list, tuple, Mapping)):
            found += list(inside)
        else:
            found.append(inside if isinstance(inside, Computed) else computed(element))
    return tuple(found) if isinstance(node, ast.Tuple) else found


def _dictionary(node: ast.Dict, names: Names, work: Work) -> Any:
    found: dict[Any, Any] = {}
    for key, value in zip(node.keys, node.values, strict=True):
        inside = evaluate(value, names, work)
        if key is None:
            found |= _spread(inside, value)
            continue
        name = evaluate(key, names, work)
        found[name if _hashable(name) else computed(key)] = inside
    return found


def _spread(value: Any, node: ast.expr) -> dict[Any, Any]:
    if isinstance(value, Entries):
        return value.as_dictionary()
    if isinstance(value, Mapping):
        return dict(value)
    unknown = value if isinstance(value, Computed) else computed(node)
    return {unknown: unknown}


def _hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _unary(node: ast.UnaryOp, names: Names, work: Work) -> Any:
    value = evaluate(node.operand, names, work)
    if isinstance(node.op, ast.Not):
        return None if isinstance(value, Computed) else not value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return {ast.USub: -value, ast.UAdd: value}.get(type(node.op))


def _binary(node: ast.BinOp, names: Names, work: Work) -> Any:
    one, other = evaluate(node.left, names, work), evaluate(node.right, names, work)
    return combined(node.op, one, other, work)


def combined(operator: ast.operator, one: Any, other: Any, work: Work) -> Any:
    """The sum, product, quotient or union of two plain values; None where there is none."""
    if isinstance(operator, ast.BitOr) and isinstance(one, Mapping) and isinstance(other, Mapping):
        return {**one, **other}
    if isinstance(operator, ast.Mult):
        few = next((v for v in (one, other) if isinstance(v, (list, tuple))), None)
        times = other if few is one else one
        if few is not None and isinstance(times, int):
            if len(few) * max(times, 0) > LONGEST:
                raise ValueError(f"it makes a list of more than {LONGEST:,} entries")
            work.spend(size(few) * max(times, 0))
            return few * times
    if isinstance(operator, ast.Add):
        kinds = (list, tuple, str)
        if any(isinstance(one, kind) and isinstance(other, kind) for kind in kinds):
            work.spend(len(one) + len(other))
            return one + other
    numbers = all(isinstance(value, (int, float)) and abs(value) < 10**15 for value in (one, other))
    if not numbers:
        return None
    if isinstance(operator, (ast.FloorDiv, ast.Mod, ast.Div)) and other == 0:
        return None
    results: dict[type, Any] = {
        ast.Add: lambda: one + other,
        ast.Sub: lambda: one - other,
        ast.Mult: lambda: one * other,
        ast.Div: lambda: one / other,
        ast.FloorDiv: lambda: one // other,
        ast.Mod: lambda: one % other,
    }
    result = results.get(type(operator))
    return result() if result else None


def item(container: Any, key: Any) -> Any:
    """What stands under a key or a place; None where nothing does."""
    if isinstance(container, Entries) and isinstance(key, str):
        return container.named(key)
    try:
        return container[key]
    except (LookupError, TypeError):
        return None


def _subscript(node: ast.Subscript, names: Names, work: Work) -> Any:
    container = evaluate(node.value, names, work)
    if isinstance(container, Computed):
        return container
    if isinstance(node.slice, ast.Slice):
        ends = [
            None if end is None else evaluate(end, names, work)
            for end in (node.slice.lower, node.slice.upper, node.slice.step)
        ]
        plain = all(end is None or isinstance(end, int) for end in ends) and ends[2] != 0
        sliced = isinstance(container, (list, tuple)) and plain
        return container[slice(*ends)] if sliced else None
    return item(container, evaluate(node.slice, names, work))


def _call(node: ast.Call, names: Names, work: Work) -> Any:
    name = called(node)
    if isinstance(node.func, ast.Attribute) and not node.args and name != "array":
        owner = evaluate(node.func.value, names, work)
        if isinstance(owner, Computed) and dotted(node.func.value) not in names:
            owner = None
        if name == "copy" and owner is not None:
            work.spend(size(owner))
            return copy.copy(owner)
        if name in ("items", "keys", "values") and isinstance(owner, Mapping):
            return list(getattr(owner, name)())
        if name == "tolist" and owner is not None:
            return owner
    values = [evaluate(argument, names, work) for argument in node.args]
    first = values[0] if values else None
    if name == "getattr" and len(values) == 2 and isinstance(values[1], str):
        return _preset(values[1])
    if name == "loads" and len(values) == 1 and isinstance(first, str):
        try:
            return json.loads(first)
        except (ValueError, RecursionError):
            return None
    if name in COPIES:
        return _copied(name, node, values, names, work)
    if name in NUMBERS and len(values) == 1 and isinstance(first, (int, float)):
        return float(first) if name in REAL else int(first) if abs(first) < 10**15 else None
    if name == "fromkeys" and len(values) == 2 and isinstance(first, (list, tuple, Mapping)):
        return {key: values[1] for key in first if _hashable(key)}
    if name == "range" and values and all(isinstance(value, int) for value in values):
        return _range(values, work)
    if name == "zip" and all(isinstance(value, (list, tuple)) for value in values):
        return list(zip(*values, strict=False))
    if name == "enumerate" and len(values) == 1 and isinstance(first, (list, tuple, Mapping)):
        return list(enumerate(first))
    return None


def _range(values: list[int], work: Work) -> Any:
    if len(values) > 3 or (len(values) == 3 and not values[2]):
        return None
    found = range(*values)
    if max(map(abs, values)) > LONGEST:
        return None
    work.spend(len(found))
    return list(found)


def _copied(name: str, node: ast.Call, values: list[Any], names: Names, work: Work) -> Any:
    """A copy of what is handed to a constructor or a copying function."""
    if name in ("dict", "OrderedDict"):
        found = _spread(values[0], node.args[0]) if values and _pairs(values[0]) is None else {}
        found |= (_pairs(values[0]) or {}) if values else {}
        for keyword in node.keywords:
            inside = evaluate(keyword.value, names, work)
            found |= (
                _spread(inside, keyword.value) if keyword.arg is None else {keyword.arg: inside}
            )
        return found
    if not values:
        return [] if name == "list" else () if name == "tuple" else None
    value = values[0]
    work.spend(size(value))
    if name == "deepcopy":
        return copy.deepcopy(value)
    if name in ("list", "tuple") and isinstance(value, (list, tuple, Mapping)):
        return list(value) if name == "list" else tuple(value)
    return copy.copy(value)


def _pairs(value: Any) -> dict[Any, Any] | None:
    """The dictionary of a list of pairs; None where a value is none."""
    if isinstance(value, Entries) or not isinstance(value, (list, tuple)):
        return None
    if not all(isinstance(entry, (list, tuple)) and len(entry) == 2 for entry in value):
        return None
    return {key: entry for key, entry in value if _hashable(key)}


def size(value: Any) -> int:
    """Number of values in a value; one that is there several times counts each time.

    Raises:
        ValueError: there are more than are looked at.
    """
    count, waiting = 0, [value]
    while waiting:
        each = waiting.pop()
        count += 1
        if count > STEPS:
            raise ValueError(f"it makes more than {STEPS:,} values")
        if isinstance(each, Mapping):
            waiting += each.values()
        elif isinstance(each, (list, tuple)):
            waiting += each
    return count


def _joined(node: ast.JoinedStr, names: Names, work: Work) -> Any:
    parts: list[str] = []
    for part in node.values:
        inner = part.value if isinstance(part, ast.FormattedValue) else part
        if isinstance(part, ast.FormattedValue) and (part.format_spec or part.conversion != -1):
            return None
        value = evaluate(inner, names, work)
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            return None
        parts.append(str(value) if isinstance(value, str) or abs(value) < 10**15 else "")
    return "".join(parts)


def _comparison(node: ast.Compare, names: Names, work: Work) -> Any:
    if len(node.ops) != 1:
        return None
    one = evaluate(node.left, names, work)
    other = evaluate(node.comparators[0], names, work)
    if not (is_plain(one) and is_plain(other)):
        return None
    operator = type(node.ops[0])
    if operator in (ast.In, ast.NotIn):
        text = isinstance(one, str) and isinstance(other, str)
        if not (text or isinstance(other, (list, tuple, Mapping))):
            return None
        inside = one in other if text or _hashable(one) else None
        return inside if inside is None or operator is ast.In else not inside
    if operator in (ast.Eq, ast.NotEq):
        return (one == other) is (operator is ast.Eq)
    if not all(isinstance(value, (int, float)) for value in (one, other)):
        return None
    below: dict[type, bool] = {
        ast.Lt: one < other, ast.LtE: one <= other, ast.Gt: one > other, ast.GtE: one >= other
    }  # fmt: skip
    return below.get(operator)


def _comprehension(node: ast.ListComp | ast.DictComp, names: Names, work: Work) -> Any:
    rows = list(_rows(node.generators, names, work))
    if any(row is None for row in rows):
        return None
    scopes = [{**names, **row} for row in rows if row is not None]
    if isinstance(node, ast.ListComp):
        return [evaluate(node.elt, scope, work) for scope in scopes]
    entries = [
        (evaluate(node.key, scope, work), evaluate(node.value, scope, work)) for scope in scopes
    ]
    return {key if _hashable(key) else computed(node): value for key, value in entries}


def _rows(
    generators: list[ast.comprehension], names: Names, work: Work
) -> Iterator[dict[str, Any] | None]:
    """What the targets of a comprehension stand for, row by row; None where it is not plain."""
    sources = [evaluate(each.iter, names, work) for each in generators]
    if not all(isinstance(source, (list, tuple, Mapping)) for source in sources):
        yield None
        return
    for entries in product(*sources):
        work.spend(1 + len(names))
        row: dict[str, Any] = {}
        for each, entry in zip(generators, entries, strict=True):
            row |= unpacked(each.target, entry)
        tests = [evaluate(test, {**names, **row}, work) for each in generators for test in each.ifs]
        if any(isinstance(test, Computed) for test in tests):
            yield None
            return
        if all(tests):
            yield row


def unpacked(target: ast.expr, value: Any) -> dict[str, Any]:
    """Names that an assignment target gives to a value or to its parts."""
    if isinstance(target, (ast.Tuple, ast.List)):
        known = isinstance(value, (list, tuple)) and len(value) == len(target.elts)
        parts = value if known else [computed(target)] * len(target.elts)
        found: dict[str, Any] = {}
        for each, part in zip(target.elts, parts, strict=True):
            found |= unpacked(each, part)
        return found
    name = dotted(target)
    return {name: value} if name else {}


_READERS: dict[type, Any] = {
    ast.Constant: _constant,
    ast.Name: _name,
    ast.Attribute: _name,
    ast.List: _sequence,
    ast.Tuple: _sequence,
    ast.Dict: _dictionary,
    ast.UnaryOp: _unary,
    ast.BinOp: _binary,
    ast.Subscript: _subscript,
    ast.Call: _call,
    ast.JoinedStr: _joined,
    ast.Compare: _comparison,
    ast.ListComp: _comprehension,
    ast.DictComp: _comprehension,
}
