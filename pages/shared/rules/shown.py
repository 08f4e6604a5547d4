"""Rules of something that is done, on a page: a run, or a configuration."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from pages.shared.rules.words import LEFT, left_rows, rules_rows
from pages.shared.text import literal
from qcore.rules.resolve import Resolved
from qcore.rules.rule import Rule


def draw_rules(rules: Sequence[Rule], resolved: Resolved | None) -> None:
    """Draw rules in words, and what they left where that is known.

    Args:
        rules: In order; later ones win.
        resolved: What they come to on the model; None where that is not known.
    """
    columns = ["For the layers", "Rule", "Which are"]
    table = pd.DataFrame(rules_rows(rules, resolved), columns=columns)
    if resolved is None:
        table = table.drop(columns=columns[-1])
    # a table wraps its sentences where a grid would cut them
    shown = table.map(literal)
    st.table(shown, border="horizontal", hide_index=True, alt="Rules, later ones win.")
    if resolved is None:
        return
    st.caption("What was left for each layer:")
    st.dataframe(
        pd.DataFrame(left_rows(resolved), columns=LEFT),
        hide_index=True,
        height=min(38 + 35 * len(resolved.options), 290),
        alt="Widths that weights and activations of each layer may have, and ties.",
    )
