"""The table in which a reader says what a network takes where that is no image."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from qcore.errors import InvalidParams
from qcore.inputs import DTYPES, Input, check_inputs

NAME, KIND, SIZES, IDS, PAD, ZEROS = (
    "Name",
    "Numbers",
    "Sizes",
    "Ids below",
    "Padded with",
    "Zeros without data",
)
COLUMNS = (NAME, KIND, SIZES, IDS, PAD, ZEROS)

EXAMPLES = (
    "A row an input. A text: ids, int64, 128, ids below 30522, padded with 0; and mask, int64, "
    "128, padded with 0. Features of sounds: features, float32, 1x49x10. Sensors: x, float32, "
    "6x128. A recurrent network's state: state, float32, 2x128, with the box ticked."
)


def inputs_table() -> tuple[Input, ...]:
    """Draw the table; returns the inputs that it describes.

    Raises:
        InvalidParams: a row cannot be an input; says which and why.
    """
    empty = pd.DataFrame(
        {
            NAME: pd.Series(dtype=str),
            KIND: pd.Series(dtype=str),
            SIZES: pd.Series(dtype=str),
            IDS: pd.Series(dtype="Int64"),
            PAD: pd.Series(dtype=float),
            ZEROS: pd.Series(dtype=bool),
        }
    )
    table = st.data_editor(
        empty,
        num_rows="dynamic",
        hide_index=True,
        key="m-inputs",
        column_config={
            NAME: st.column_config.TextColumn(
                required=True,
                help="As the forward pass, or the file, calls it; the data's column of that name "
                "is what it is fed.",
            ),
            KIND: st.column_config.SelectboxColumn(
                options=list(DTYPES), default="float32", required=True
            ),
            SIZES: st.column_config.TextColumn(
                help="Of one sample, without the batch: 128, or 1x49x10. Empty: one number."
            ),
            IDS: st.column_config.NumberColumn(
                min_value=1,
                step=1,
                help="For ids: how many there are, as words in the vocabulary. Others are refused.",
            ),
            PAD: st.column_config.NumberColumn(
                help="What short samples are filled up with. Empty: samples of other lengths are "
                "refused."
            ),
            ZEROS: st.column_config.CheckboxColumn(
                default=False, help="Fed with zeros where the data have no such column."
            ),
        },
    )
    st.caption(EXAMPLES)
    return inputs_of(table.to_dict("records"))


def inputs_of(rows: Sequence[dict[Any, Any]]) -> tuple[Input, ...]:
    """The inputs that rows of the table describe; rows without anything in them are left out.

    Raises:
        InvalidParams: a row cannot be an input; says which and why.
    """
    found = []
    for number, row in enumerate(rows, start=1):
        told: dict[str, Any] = {key: None if pd.isna(row.get(key)) else row[key] for key in COLUMNS}
        if not any(told[key] for key in (NAME, SIZES, IDS, PAD)):
            continue
        found.append(
            Input(
                str(told[NAME] or "").strip(),
                _sizes(str(told[SIZES] or ""), number),
                str(told[KIND] or "float32"),
                None if told[IDS] is None else int(told[IDS]),
                None if told[PAD] is None else float(told[PAD]),
                bool(told[ZEROS]),
            )
        )
    check_inputs(tuple(found))
    return tuple(found)


def _sizes(words: str, row: int) -> tuple[int, ...]:
    text = words.lower().replace("\u00d7", "x").replace(",", "x")
    try:
        return tuple(int(part) for part in text.split("x") if part.strip())
    except ValueError:
        raise InvalidParams(
            f"Write the sizes of input {row} as whole numbers with an x between them, like 128 or "
            f"1x49x10; got {words[:40]!r}."
        ) from None
