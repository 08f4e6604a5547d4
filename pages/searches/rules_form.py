"""The launch form's part about what the device allows, and a run's rules in its details."""

import streamlit as st

from pages.searches.launch_batch import RULES_FILE
from pages.searches.prefill import Prefill
from pages.shared.rules.editor import rules_editor
from pages.shared.rules.findings import Findings
from pages.shared.rules.shown import draw_rules
from pages.shared.text import counted
from qcore.allocation import ModelSpec
from qcore.errors import QcoreError
from qcore.rules.file import dump_rules
from qcore.run_spec import RunSpec

ABOUT = (
    "What your device takes, if not every width in every layer: allowed widths, floors, locks, and "
    "layers that share one width. Later rules win; every search below keeps them."
)


def device_rules(
    begin: Prefill,
    model: ModelSpec | None,
    weight_bits: tuple[int, ...],
    activation_bits: tuple[int, ...],
    pin_first_last: int | None,
) -> Findings:
    """Draw the editor of rules under its own heading; what they come to on this model."""
    with st.expander(
        "Device rules",
        expanded=bool(begin.rules_text),
        icon=":material/rule:",
        key=f"f-device-rules{begin.rules_key}",
    ):
        st.caption(ABOUT)
        return rules_editor(
            f"f-rules{begin.rules_key}",
            model,
            weight_bits,
            activation_bits,
            pin_first_last,
            begin.rules_text,
        )


def run_rules(spec: RunSpec, model: ModelSpec | None) -> None:
    """What rules a run had, in words, what they leave each layer, and their file; or nothing."""
    if not spec.rules:
        return
    resolved = None
    if model is not None:
        try:
            resolved = spec.resolved(model.layers)
        except QcoreError:
            # the network was replaced since: its layers are others now
            resolved = None
    with st.expander(f"Device rules ({counted(len(spec.rules), 'rule')})", icon=":material/rule:"):
        draw_rules(spec.rules, resolved)
        st.download_button(
            "Save rules",
            dump_rules(spec.rules),
            file_name=RULES_FILE,
            mime="application/yaml",
            key="run-rules",
            icon=":material/download:",
            on_click="ignore",
        )
