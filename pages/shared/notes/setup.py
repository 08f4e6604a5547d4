"""What the Settings page shows, as tables; and what any page says where the setup is not right."""

import ipaddress
from collections.abc import Iterable, Sequence

import pandas as pd
import streamlit as st

from pages.shared.text import cost_text, literal
from qcore.costs import COSTS
from qcore.costs.user_tables import Costs
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
        "Size": cost_text(COSTS["model_bytes"], found.size),
        "Schema": schema,
        "Journal": found.journal,
        "Folder of locks, logs and checkpoints": str(found.folder),
        "Free on its disk": cost_text(COSTS["model_bytes"], found.free),
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


def is_loopback(address: str | None) -> bool:
    """True when only this machine can reach a server bound to the address."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address or "").is_loopback
    except ValueError:
        return False


def network_warning(address: str | None) -> None:
    """Warn, for as long as it is so, that others can reach this server."""
    if not is_loopback(address):
        st.warning(
            f"**Others can reach this dashboard** (it listens on {address or 'every address'}). "
            "Whoever has its token can start searches and delete results, and what is sent can be "
            "read on the way. "
            "Restart it with `--server.address localhost` unless you mean this.",
            icon=":material/lock_open:",
        )


def cost_table_notes(costs: Costs) -> None:
    """Say which of the user's cost tables cannot be used, and what is odd about others."""
    if not costs.broken and not costs.odd:
        return
    with st.expander("Cost tables", icon=":material/table:", expanded=bool(costs.broken)):
        for reason in costs.broken.values():
            st.error(literal(reason))
        for file, sentences in costs.odd.items():
            more = f" And {len(sentences) - 3} more." if len(sentences) > 3 else ""
            st.warning(literal(f"{file}: {' '.join(sentences[:3])}{more}"))
