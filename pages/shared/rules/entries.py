"""Rules while they are written: entries as a file has them, the cells of a table, text. Pure.

An entry is one rule of a file and may hold anything, so that what is half typed, or wrong, stays
where it was typed. Table and text show the same entries.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from qcore.rules.file import dump_entries
from qcore.rules.rule import TIES, Rule

ORDER, LAYERS, TIE = "No.", "Layers", "Tie"
CELLS = {
    LAYERS: "layers",
    "Weights": "weights",
    "Activations": "activations",
    "Pairs": "pairs",
    "Min": "min",
    "Max": "max",
    "Lock": "lock",
    TIE: "tie",
}
"""Column of the table to the key of a file."""

Entries = tuple[Any, ...]


def entries_of(rules: Sequence[Rule]) -> Entries:
    """Entries that say what rules do, as people write them: a lock of both parts is one number."""
    found = []
    for rule in rules:
        entry = rule.to_json()
        if "lock" in entry and rule.lock[0] == rule.lock[1]:
            entry["lock"] = rule.lock[0]
        for key, pair in (("min", rule.least), ("max", rule.most)):
            if key in entry and pair[1] is None:
                entry[key] = pair[0]
        found.append(entry)
    return tuple(found)


def text_of(entries: Sequence[Any]) -> str:
    """Entries as the text of a file; "" for none."""
    return dump_entries(entries) if entries else ""


def frame_of(entries: Sequence[Any]) -> pd.DataFrame:
    """The table to edit: ORDER from 1 on, then text in the columns CELLS."""
    rows = [{ORDER: at, **cells_of(entry)} for at, entry in enumerate(entries, start=1)]
    frame = pd.DataFrame(rows, columns=[ORDER, *CELLS])
    return frame.astype({ORDER: "Int64", **dict.fromkeys(CELLS, "str")})


def cells_of(entry: Any) -> dict[str, str]:
    """The cells of one entry; what is no mapping stands where the layers do."""
    if not isinstance(entry, Mapping):
        return dict.fromkeys(CELLS, "") | {LAYERS: _written(entry)}
    return {column: _written(entry.get(key)) for column, key in CELLS.items()}


def edited(entries: Sequence[Any], edits: Mapping[str, Any]) -> tuple[Entries, bool]:
    """Entries after what was typed into a table that showed `entries`.

    Args:
        entries: What the table was given.
        edits: What `st.data_editor` keeps: "edited_rows", "added_rows" and "deleted_rows".

    Returns:
        The entries, empty rows left out; and whether the table must be drawn anew, as rows were
        moved or deleted.
    """
    changed = {int(at): cells for at, cells in dict(edits.get("edited_rows", {})).items()}
    deleted = {int(at) for at in edits.get("deleted_rows", ())}
    rows: list[tuple[tuple[float, int], Any]] = []
    for at, entry in enumerate(entries):
        if at not in deleted:
            cells = changed.get(at, {})
            wanted = cells.get(ORDER)
            place = (at + 1.0, 0)
            if isinstance(wanted, (int, float)) and wanted != at + 1:
                # where it is moved to it pushes what was there towards where it came from
                place = (float(wanted), -1 if wanted < at + 1 else 1)
            rows.append((place, _changed(entry, cells) if cells.keys() - {ORDER} else entry))
    moved = any(at + 1 != place[0] for at, (place, _) in enumerate(rows))
    for cells in edits.get("added_rows", ()):
        entry = _changed({}, cells)
        wanted = cells.get(ORDER)
        given = isinstance(wanted, (int, float)) and bool(entry)
        if entry:
            rows.append(((float(wanted), -1) if given else (float("inf"), 0), entry))
        moved |= given
    ordered = sorted(rows, key=lambda row: row[0])
    return tuple(entry for _, entry in ordered), moved or bool(deleted)


def _changed(entry: Any, cells: Mapping[str, Any]) -> dict[str, Any]:
    """An entry after cells were typed; keys that no column has stay."""
    base = dict(entry) if isinstance(entry, Mapping) else {"layers": _written(entry)}
    for column, key in CELLS.items():
        if column in cells:
            value = _read("" if cells[column] is None else str(cells[column]).strip(), key)
            base.pop(key, None)
            base |= {} if value == "" else {key: value}
    return {key: base[key] for key in (*CELLS.values(), *base) if key in base}


def _read(words: str, key: str) -> Any:
    """A cell as a file has it: numbers where they are some."""
    if key in ("layers", "tie"):
        return words
    parts = [part.strip() for part in words.split(",") if part.strip()]
    if key in ("weights", "activations") and len(parts) > 1 and all(map(_number, parts)):
        return [int(part) for part in parts]
    return int(words) if _number(words) else words


def _number(words: str) -> bool:
    return words.isascii() and words.isdecimal() and len(words) < 6


def _written(value: Any) -> str:
    """A value of a file as a cell shows it."""
    if value is None:
        return ""
    if value is True:
        return TIES[-1]
    if isinstance(value, (list, tuple)) and all(isinstance(one, (str, int)) for one in value):
        return ", ".join(map(str, value))
    if isinstance(value, Mapping) and value.keys() <= {"weights", "activations"}:
        both = (value.get("weights"), value.get("activations"))
        return "/".join("-" if one is None else str(one) for one in both)
    return value if isinstance(value, str) else json.dumps(value, default=str)
