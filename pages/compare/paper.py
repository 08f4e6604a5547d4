"""Compare's tables for a paper: LaTeX and CSV with test scores, bits and differences."""

from functools import partial

import streamlit as st

from pages.compare import paper_table, read
from pages.compare.sections import Comparison
from pages.downloads.tables_out import latex_table, spreadsheet
from pages.shared import text
from qcore.errors import QcoreError


def paper(found: Comparison) -> None:
    """The table as a paper prints it, to copy or to take away."""
    with st.expander("Table for a paper", icon=":material/table:"):
        labels = [method.label for method in found.methods]
        reference = next((m.label for m in found.methods if m.reference), labels[0])
        chosen = str(st.session_state.get("compare-baseline", reference))
        baseline = chosen if chosen in labels else reference
        try:
            table = paper_table.paper_table(
                found.methods,
                baseline,
                found.box.cost,
                found.budgets,
                partial(read.right_of, found.store, words=found.words),
            )
        except QcoreError as error:
            st.error(text.literal(str(error), 400), icon=":material/error:")
            return
        if table.empty:
            st.caption("No point within these budgets was looked at on the test split.")
            return
        printed = found.words.heads(paper_table.printed(table))
        words = latex_table(printed, [name for name in printed if name not in paper_table.WORDS])
        st.code(words, language="latex", wrap_lines=True)
        sheet = spreadsheet(found.words.heads(table))
        stem = text.file_safe(f"paper_{found.model.name[:60]}_{found.box.cost.name[:60]}")
        with st.container(horizontal=True):
            for label, content, ending, mime in (
                ("Table as LaTeX", words.encode(), "tex", "application/x-tex"),
                (
                    "Table with test scores as CSV",
                    sheet,
                    "csv",
                    "text/csv",
                ),
            ):
                st.download_button(
                    label,
                    data=content,
                    file_name=f"{stem}.{ending}",
                    mime=mime,
                    key=f"compare-paper-{ending}",
                    on_click="ignore",
                    icon=":material/download:",
                )
        st.caption(
            "Each row is the point chosen on the search split among those whose test split was "
            f"looked at, mean over seeds. Differences are from {text.literal(baseline, 160)}, "
            f"paired on the same test {found.words.samples}. Brackets are 95 % intervals, over "
            f"{found.words.samples} and seeds where a method of the table ran with several seeds, "
            f"else over {found.words.samples} alone: then two networks are compared, and nothing "
            "is said of their methods. Figures have as many digits as two of the interval's half "
            "width."
        )
