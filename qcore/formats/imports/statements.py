"""Follows the assignments of a Python text without running it. Torch-free.

Lists and dictionaries are built up as the text says: assigned, spread, copied, changed entry by
entry. Where an `if` leaves it open what happens, both ways are followed, so that one name may have
several values; bodies of functions are followed as if they were called.
"""

import ast
import builtins
import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from qcore.formats.imports.changes import CHANGES, change, drop, put, spoil
from qcore.formats.imports.presets import preset
from qcore.formats.imports.values import (
    Computed,
    Work,
    called,
    combined,
    computed,
    dotted,
    evaluate,
    size,
    unpacked,
)

WAYS = 16
"""Most ways through a text that are followed; beyond, an `if` is taken as if it held."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What a name stands for.

    Attributes:
        value: The value; shared with other names where the text shares it.
        line: Where it was assigned.
        changed: Where it was last changed in place; 0 where it was not.
    """

    value: Any
    line: int
    changed: int = 0


@dataclass(frozen=True, slots=True)
class Named:
    """A value that a text gives a name.

    Attributes:
        name: The name, as it is written.
        bound: What it stands for.
    """

    name: str
    bound: Bound


World = dict[str, Bound]
Functions = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(slots=True)
class _Text:
    """What is collected on the way."""

    work: Work = field(default_factory=Work)
    replaced: list[Named] = field(default_factory=list)
    aside: list[Named] = field(default_factory=list)
    functions: list[Functions] = field(default_factory=list)
    ended: list[World] = field(default_factory=list)
    defined: frozenset[str] = frozenset()
    notes: list[str] = field(default_factory=list)


def follow(tree: ast.Module) -> tuple[list[Named], list[str]]:
    """The values a module assigns, and sentences on what was guessed.

    Final values come first, then those inside functions, then those that were assigned anew later.

    Raises:
        ValueError: it is too much to follow.
    """
    text = _Text(defined=frozenset(n.name for n in ast.walk(tree) if isinstance(n, Functions)))
    worlds = _whole(tree.body, {}, text)
    found = [Named(name, bound) for world in worlds for name, bound in world.items()]
    outside = worlds[0]
    while text.functions:
        function = text.functions.pop(0)
        known = {(name, bound.line, bound.changed) for name, bound in outside.items()}
        text.work.spend(_size(outside))
        start = copy.deepcopy(outside) | _arguments(function, outside, text.work)
        for world in _whole(function.body, start, text):
            found += [
                Named(name, bound)
                for name, bound in world.items()
                if (name, bound.line, bound.changed) not in known
            ]
    notes = list(dict.fromkeys(text.notes))
    return _distinct([*found, *text.aside, *text.replaced], text.work), notes


def _whole(body: Sequence[ast.stmt], start: World, text: _Text) -> list[World]:
    """Worlds at the ends of a module or a function, those at its `return`s too."""
    text.ended = []
    return [*_block(body, [start], text, unrolled=False), *text.ended]


def _distinct(found: Sequence[Named], work: Work) -> list[Named]:
    kept: list[Named] = []
    for each in found:
        work.spend(len(kept) + size(each.bound.value))
        same = (k for k in kept if k.name == each.name and k.bound.value == each.bound.value)
        if not any(same):
            kept.append(each)
    return kept


def _arguments(function: Functions, outside: World, work: Work) -> World:
    """Parameters of a function: their default values where they have some."""
    if isinstance(function, ast.ClassDef):
        return {}
    given = function.args
    every = [*given.posonlyargs, *given.args]
    defaults = dict(zip(every[len(every) - len(given.defaults) :], given.defaults, strict=True))
    defaults |= {a: d for a, d in zip(given.kwonlyargs, given.kw_defaults, strict=True) if d}
    return {
        argument.arg: Bound(
            evaluate(defaults[argument], _values(outside), work)
            if argument in defaults
            else Computed(f"the argument {argument.arg} of {getattr(function, 'name', '')}()"),
            argument.lineno,
        )
        for argument in (*every, *given.kwonlyargs)
    }


def _values(world: World) -> dict[str, Any]:
    return {name: bound.value for name, bound in world.items()}


def _size(world: World) -> int:
    return sum(size(bound.value) for bound in world.values())


def _block(body: Sequence[ast.stmt], worlds: list[World], text: _Text, unrolled: bool) -> Any:
    for statement in body:
        text.work.spend()
        if not worlds:
            break
        if isinstance(statement, (ast.If, ast.Match, ast.Try)):
            worlds = _ways(statement, worlds, text, unrolled)
        elif isinstance(statement, (ast.For, ast.AsyncFor, ast.While)):
            worlds = [each for world in worlds for each in _loop(statement, world, text)]
        elif isinstance(statement, (ast.With, ast.AsyncWith)):
            worlds = _block(statement.body, worlds, text, unrolled)
        elif isinstance(statement, Functions):
            text.functions.append(statement)
        else:
            for world in worlds:
                _simple(statement, world, text)
            if isinstance(statement, (ast.Return, ast.Raise)):
                text.ended += worlds
                worlds = []
    return worlds


def _ways(
    node: ast.If | ast.Match | ast.Try, worlds: list[World], text: _Text, unrolled: bool
) -> list[World]:
    """Worlds after each way through a statement that branches."""
    if isinstance(node, ast.Match):
        bodies = [case.body for case in node.cases]
    elif isinstance(node, ast.Try):
        main = [*node.body, *node.orelse, *node.finalbody]
        bodies = [main, *([*h.body, *node.finalbody] for h in node.handlers if _acts(h.body))]
    else:
        if ast.unparse(node.test).startswith("__name__ =="):
            return _list(_block(node.body, worlds, text, unrolled))
        bodies = [node.body, node.orelse]
        test = evaluate(node.test, _values(worlds[0]), text.work) if unrolled else None
        if isinstance(test, bool):
            bodies = [node.body if test else node.orelse]
    if not any(_acts(body) for body in bodies):
        return worlds
    found: list[World] = []
    for body in bodies:
        text.work.spend(sum(map(_size, worlds)))
        found += _block(body, copy.deepcopy(worlds), text, unrolled)
    distinct: list[World] = []
    for world in found:
        text.work.spend(_size(world))
        if world not in distinct:
            distinct.append(world)
    if len(distinct) > WAYS:
        text.notes.append(
            f"There are more than {WAYS} ways through the file by line {node.lineno}; "
            f"the first {WAYS} were followed."
        )
    return distinct[:WAYS]


def _list(worlds: Any) -> list[World]:
    return list(worlds)


def _acts(body: Sequence[ast.stmt]) -> bool:
    """True where a body assigns or changes something."""
    kinds = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Delete, ast.Call, ast.Return)
    return any(isinstance(node, kinds) for statement in body for node in ast.walk(statement))


def _loop(node: ast.For | ast.AsyncFor | ast.While, world: World, text: _Text) -> list[World]:
    """A loop over plain values is followed turn by turn, any other once."""
    turns: Any = None
    leaves = any(isinstance(each, (ast.Break, ast.Continue)) for each in ast.walk(node))
    if not isinstance(node, ast.While) and not leaves:
        turns = evaluate(node.iter, _values(world), text.work)
    if isinstance(node, ast.While) or not isinstance(turns, (list, tuple, dict)):
        return _once(node, world, text)
    worlds = [world]
    for turn in list(turns):
        for each in worlds:
            for name, value in unpacked(node.target, turn).items():
                each[name] = Bound(value, node.lineno)
        worlds = _block(node.body, worlds, text, unrolled=True)
    return worlds


def _once(node: ast.For | ast.AsyncFor | ast.While, world: World, text: _Text) -> list[World]:
    """One turn of a loop of which it is not known how often it runs.

    What was there before and is changed by it is not known afterwards.
    """
    counted = [each.target for each in ast.walk(node) if isinstance(each, ast.AugAssign)]
    names = {dotted(target) for target in counted if not isinstance(target, ast.Subscript)}
    if not isinstance(node, ast.While):
        names |= set(unpacked(node.target, None))
    for name in names:
        if name not in world or not isinstance(world[name].value, (list, dict)):
            world[name] = Bound(computed(node if isinstance(node, ast.While) else node.iter),
                                node.lineno)  # fmt: skip
    before = dict(world)
    worlds: list[World] = list(_block(node.body, [world], text, unrolled=False))
    for each in worlds:
        for name, bound in each.items():
            known = before.get(name)
            if known and known.line == bound.line and known.changed != bound.changed:
                spoil(bound.value, node.body[0])
    return worlds


def _simple(node: ast.stmt, world: World, text: _Text) -> None:
    """Apply a statement that does not branch to what names stand for."""
    if isinstance(node, ast.Assign):
        value = evaluate(node.value, _values(world), text.work)
        for target in node.targets:
            _assign(target, value, world, text)
        if isinstance(node.value, ast.Call) and isinstance(value, Computed):
            _arguments_of(node.value, world, text)
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        _assign(node.target, evaluate(node.value, _values(world), text.work), world, text)
    elif isinstance(node, ast.AugAssign):
        _augment(node, world, text)
    elif isinstance(node, ast.Delete):
        for target in node.targets:
            _delete(target, world, text)
    elif isinstance(node, ast.ImportFrom):
        for alias in node.names:
            found = preset(alias.name) if alias.asname else None
            if found is not None:
                value = Computed(found) if isinstance(found, str) else found
                world[alias.asname or ""] = Bound(value, node.lineno)
    elif isinstance(node, ast.Return) and node.value is not None:
        value = evaluate(node.value, _values(world), text.work)
        if isinstance(value, (list, tuple, dict)) and not dotted(node.value):
            text.aside.append(Named("returned", Bound(value, node.lineno)))
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        _call(node.value, world, text)


def _assign(target: ast.expr, value: Any, world: World, text: _Text) -> None:
    if isinstance(target, ast.Subscript):
        owner = evaluate(target.value, _values(world), text.work)
        key = evaluate(target.slice, _values(world), text.work)
        put(owner, key, value, target)
        _mark(target, world)
        if not isinstance(owner, (list, dict)):
            _spoil_root(target, world)
        return
    for name, part in unpacked(target, value).items():
        before = world.get(name)
        if before is not None and isinstance(before.value, (list, tuple, dict)):
            text.replaced.append(Named(name, before))
        world[name] = Bound(part, target.lineno)


def _root(node: ast.expr, world: World) -> str:
    """The name whose value an expression is a part of; "" where it has none."""
    root: Any = node
    while isinstance(root, (ast.Subscript, ast.Call, ast.Attribute)) and dotted(root) not in world:
        root = root.func if isinstance(root, ast.Call) else root.value
    return dotted(root) if dotted(root) in world else ""


def _spoil_root(node: ast.expr, world: World) -> None:
    """Say at the name that a part of its value was changed in a way that was not followed."""
    name = _root(node, world)
    if name:
        spoil(world[name].value, node)


def _mark(node: ast.expr, world: World) -> None:
    """Note at the name that a part of its value was changed."""
    name = _root(node, world)
    if name:
        world[name] = replace(world[name], changed=node.lineno)


def _augment(node: ast.AugAssign, world: World, text: _Text) -> None:
    names = _values(world)
    value = evaluate(node.value, names, text.work)
    before = evaluate(node.target, names, text.work)
    if isinstance(before, list) and isinstance(node.op, ast.Add):
        text.work.spend(size(value))
        before.extend(value if isinstance(value, (list, tuple)) else [computed(node.value)])
        _mark(node.target, world)
    elif isinstance(before, dict) and isinstance(node.op, ast.BitOr):
        before.update(value if isinstance(value, dict) else {computed(node.value): None})
        _mark(node.target, world)
    else:
        after = combined(node.op, before, value, text.work)
        _assign(node.target, computed(node) if after is None else after, world, text)


def _delete(target: ast.expr, world: World, text: _Text) -> None:
    if isinstance(target, ast.Subscript):
        owner = evaluate(target.value, _values(world), text.work)
        key = evaluate(target.slice, _values(world), text.work)
        if not isinstance(owner, (list, dict)):
            _spoil_root(target, world)
        drop(owner, key, target)
        _mark(target, world)
    elif dotted(target) in world:
        del world[dotted(target)]


def _call(node: ast.Call, world: World, text: _Text) -> None:
    """A call for its effect: methods that change a list or a dictionary are followed."""
    method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    owner = None
    if isinstance(node.func, ast.Attribute):
        owner = evaluate(node.func.value, _values(world), text.work)
    if not isinstance(owner, (list, dict)) or method not in CHANGES:
        if method in CHANGES:
            _spoil_root(node, world)
        _arguments_of(node, world, text)
        return
    values = [evaluate(argument, _values(world), text.work) for argument in node.args]
    text.work.spend(size(values))
    named = {k.arg: evaluate(k.value, _values(world), text.work) for k in node.keywords if k.arg}
    if any(keyword.arg is None or method != "update" for keyword in node.keywords):
        spoil(owner, node)
    else:
        change(owner, method, values, named, node)
    _mark(node.func, world)


def _arguments_of(node: ast.Call, world: World, text: _Text) -> None:
    """Lists and dictionaries that are written where a function is called."""
    given = [*node.args, *(keyword.value for keyword in node.keywords)]
    handed = [_root(argument, world) for argument in given if called(node) in text.defined]
    for name in handed:
        if name and isinstance(world[name].value, (list, dict)):
            text.notes.append(
                f"Line {node.lineno} hands {name} to {called(node)}(), which may change it: that "
                "was not followed."
            )
    for name, argument in _written(node):
        value = evaluate(argument, _values(world), text.work)
        if isinstance(value, (list, tuple, dict)) and value:
            text.aside.append(Named(name, Bound(value, argument.lineno)))


def _written(node: ast.Call) -> Iterator[tuple[str, ast.expr]]:
    displays = (ast.List, ast.Dict, ast.Tuple)
    if hasattr(builtins, called(node)):
        return  # sorted, map and such make something else of it
    for argument in node.args:
        if isinstance(argument, displays):
            yield called(node), argument
    for keyword in node.keywords:
        if isinstance(keyword.value, displays):
            yield keyword.arg or called(node), keyword.value
