"""What the Settings page shows, as tables; and a word on every page where a setting is nonsense."""

from collections.abc import Iterable, Sequence

import pandas as pd
import streamlit as st

from pages.shared.text import cost_text, literal
from store.health.checks import Finding
from store.health.status import Health
from store.settings import SettingRow, describe_settings


def settings_frame(rows: Sequence[SettingRow]) -> pd.DataFrame:
    """One row a setting: what holds, where that comes from, how to change it."""
    return pd.DataFrame(
        {
            "Setting": [row.name for row in rows],
            "Value": [row.value or "cannot be used" for row in rows],
            "Comes from": [row.source for row in rows],
            "Set it with": [row.variable for row in rows],
            "What it means": [row.help for row in rows],
        }
    )


def health_frame(found: Health, cards: Sequence[str]) -> pd.DataFrame:
    """One row a fact about the database, the disk, the server and the graphics cards."""
    schema = f"{found.revision}, the newest this bitdial knows"
    if found.revision != found.newest:
        schema = f"{found.revision}; this bitdial works with {found.newest}"
    facts = {
        "Database": f"{found.product}, {found.address}",
        "Size": cost_text("model_bytes", found.size),
        "Schema": schema,
        "Journal": found.journal,
        "Folder of locks, logs and checkpoints": str(found.folder),
        "Free on its disk": cost_text("model_bytes", found.free),
        "Starts the searches": found.leader or "nobody: start the dashboard again",
        "GPUs": "; ".join(cards) or "none found: searches use the processor",
    }
    return pd.DataFrame({"What": list(facts), "Now": list(facts.values())})


def findings_frame(findings: Iterable[Finding]) -> pd.DataFrame:
    """One row a finding, what needs attention first."""
    order = {"problem": 0, "warning": 1, "ok": 2}
    rows = sorted(findings, key=lambda finding: order[finding.verdict])
    return pd.DataFrame(
        {
            "Verdict": [row.verdict for row in rows],
            "Checked": [row.subject for row in rows],
            "Found": [row.words for row in rows],
        }
    )


def setup_warning() -> None:
    """Say, for as long as it is so, that searches cannot work because a setting is nonsense."""
    for row in describe_settings():
        if row.problem:
            words = f"Searches cannot work: {literal(row.problem)}"
            st.error(words, icon=":material/settings_alert:")
