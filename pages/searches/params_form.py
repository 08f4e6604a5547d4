"""The form of a search's parameters, drawn from the fields of its dataclass."""

import dataclasses
import json
from collections.abc import Callable, Collection, Mapping
from typing import Any

import streamlit as st

from qcore.costs.formulas import CostModel
from qcore.errors import InvalidParams
from qcore.search import choices_of


def params_form(
    params: type,
    prefix: str,
    costs: Mapping[str, CostModel],
    worded: Callable[[str], str] = str,
    counted: Collection[str] = (),
) -> dict[str, Any]:
    """Draw one input per field of a search's params, from the field's metadata.

    Args:
        params: Frozen dataclass whose fields all have defaults.
        prefix: Makes the widgets' keys unique.
        costs: The costs a parameter may name.
        worded: Makes a sentence about images one about the network's samples.
        counted: Fields that a time budget works out; shown, and not to be edited.

    Returns:
        The fields that differ from their defaults.

    Raises:
        InvalidParams: a list of allocations is not JSON.
    """
    values = {}
    for field in dataclasses.fields(params):
        key, choices = f"{prefix}-{field.name}", choices_of(field, costs)
        value = _field_input(field, key, choices, worded, field.name in counted)
        if value != field.default:
            values[field.name] = value
    return values


def _field_input(
    field: "dataclasses.Field[Any]",
    key: str,
    choices: tuple[Any, ...] | None,
    worded: Callable[[str], str],
    counted: bool = False,
) -> Any:
    meta, default = field.metadata, field.default
    label = worded(str(meta.get("label", field.name.replace("_", " ").capitalize())))
    about = meta.get("help")
    common: dict[str, Any] = {"key": key, "help": None if about is None else worded(about)}
    if isinstance(default, tuple):
        if choices is not None:
            return tuple(st.multiselect(label, choices, default=default, **common))
        return _read_lines(st.text_area(f"{label}, one per line", **common))
    if choices is not None:
        return st.selectbox(label, choices, index=choices.index(default), **common)
    if isinstance(default, bool):
        return st.toggle(label, value=default, **common)
    if isinstance(default, (int, float)):
        # the search checks the range itself and says so in words
        # and rates such as 0.0002 must not be shown as 0.00
        form = "%g" if isinstance(default, float) else "%d"
        if counted:
            common["help"] = "The time chosen above decides how many there are; these are in what "
            common["help"] += "proportion. Choose As set below to set them yourself."
        return st.number_input(label, value=default, format=form, disabled=counted, **common)
    return st.text_input(label, value=str(default), **common)


def _read_lines(lines: str) -> tuple[Any, ...]:
    try:
        return tuple(json.loads(line) for line in lines.splitlines() if line.strip())
    except json.JSONDecodeError as error:
        raise InvalidParams(
            f'Write one JSON object per line, such as {{"conv1": [4, 8]}}: {error}.'
        ) from error
