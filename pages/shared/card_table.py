"""The quantization card on a page: whole, or the rows in which two of them differ."""

import pandas as pd
import streamlit as st

from pages.shared.judged import CLASSIFIER, Words
from pages.shared.text import literal
from qcore.errors import RunNotFound
from qcore.quantization_card import (
    QuantizationCard,
    adopted_run,
    card_of,
    differing_rows,
    rows,
    unsaid_rows,
)
from qcore.run_spec import RunSpec
from store import Store, run

WORDS = "Choices beside the bits; they can move accuracy more than who chooses the bits does."


def card_of_run(store: Store, spec: RunSpec, stage: str = "") -> QuantizationCard:
    """The card of a run, with what the run says whose trained network it searches.

    Args:
        store: The database.
        spec: What was asked for.
        stage: Weights stage of its points; "" is what the run is about.
    """
    number = adopted_run(spec)
    try:
        adopted = run(store, number).spec if number else None
    except RunNotFound:
        adopted = None
    return card_of(spec, stage, adopted)


def draw_card(card: QuantizationCard, said: Words = CLASSIFIER) -> None:
    """Draw a whole card; its words may come from a file, and are shown unchanged."""
    st.caption(said.text(WORDS))
    table = pd.DataFrame(rows(card), columns=["What", "How"])
    _draw(table, "How it is quantized, choice by choice.")


def draw_difference(a: QuantizationCard, b: QuantizationCard) -> None:
    """Draw in what two things that are held against each other are quantized differently."""
    differing, open_rows = differing_rows(a, b), unsaid_rows(a, b)
    if differing:
        st.warning(
            "The two are quantized differently, so the bits are not all that lies between them.",
            icon=":material/rule:",
        )
        table = pd.DataFrame(differing, columns=["Quantization card", "From", "To"])
        _draw(table, "Choices beside the bits in which the two differ.")
    elif not open_rows:
        st.caption("Beside the bits, both are quantized alike in every row of their cards.")
    if open_rows:
        st.caption(f"Only one of the two says: {', '.join(open_rows).lower()}.")


def _draw(table: pd.DataFrame, alt: str) -> None:
    # a table wraps its sentences where a grid would cut them
    shown = table.map(literal)
    st.table(shown, border="horizontal", hide_index=True, alt=alt)
