"""Import: a file of bits from this dashboard or another tool, checked, compared, kept, measured."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import streamlit as st

from pages.configs.equal_bytes import OPTIMUM, equal_bytes
from pages.configs.frames import Kept
from pages.plots import difference
from pages.plots.style import CHART
from pages.shared import text, widgets
from pages.shared.judged import words_for
from pages.shared.opening import opened
from pages.shared.runs import given_spec, launch
from qcore.allocation import BitAllocation, ModelSpec
from qcore.costs import COSTS
from qcore.errors import QcoreError
from qcore.formats.config import MAX_BYTES, BitConfig, dump_bits
from qcore.formats.gguf.header import Head
from qcore.formats.imports import IMPORTS, Imported
from qcore.formats.imports.own import read_config
from qcore.models.catalog import judge_of, read_models
from qcore.run_spec import RunSpec
from store import Run, Store, save_config

ANY = "find out by itself"


def import_form(store: Store, model: ModelSpec, kept: Sequence[Kept], mine: Sequence[Run]) -> None:
    """Draw the form; what is uploaded is read as data, and no line of it is run.

    Args:
        store: The database.
        model: The network the bits are for.
        kept: Saved configurations, to compare with.
        mine: Runs of this network, newest first; measuring follows the newest.
    """
    st.write(
        f"For **{text.literal(model.name)}**; choose another network in the sidebar. Bits of other "
        f"tools have no {words_for(judge_of(model.name)).name} here until they are measured."
    )
    left, right = st.columns([3, 2])
    with left:
        upload = st.file_uploader(
            "File", key="import-file", help=_formats(), max_upload_size=MAX_BYTES >> 20
        )
        pasted = st.text_area("Or paste it", key="import-text", height=90)
        path = st.text_input(
            "Or the path of a GGUF file",
            key="import-path",
            placeholder="/models/name-Q4_K_M.gguf",
            help="On the machine that runs bitdial, of any size: only its head is read.",
        ).strip()
    with right:
        wanted = st.selectbox(
            "Format",
            [ANY, *IMPORTS],
            format_func=lambda name: IMPORTS[name].title if name in IMPORTS else ANY,
            key="import-format",
        )
        if wanted in IMPORTS and IMPORTS[wanted].note:
            st.caption(IMPORTS[wanted].note)
    if upload is None and not pasted.strip() and not path:
        return
    data = pasted.encode("utf-8", "replace") if upload is None else upload.getvalue()
    name = "pasted text" if upload is None else upload.name
    given: bytes | Path = data
    if upload is None and not pasted.strip():
        given = Path(path)
        name = given.name
    try:
        found = opened(store, "import", given, model, wanted if wanted in IMPORTS else "")
    except QcoreError as error:
        widgets.error_box(error)
        return
    if found is None:
        return
    _found(store, model, kept, mine, found, name)


def _formats() -> str:
    return "One of: " + "; ".join(entry.title for entry in IMPORTS.values()) + "."


def _found(
    store: Store,
    model: ModelSpec,
    kept: Sequence[Kept],
    mine: Sequence[Run],
    found: Imported,
    name: str,
) -> None:
    st.success(f"Read as {IMPORTS[found.format].title}.", icon=":material/check:")
    choice = next(iter(found.choices))
    if len(found.choices) > 1:
        choice = st.selectbox("Which of its configurations", list(found.choices), key="import-pick")
    allocation = found.choices[choice]
    widgets.notes(found.notes.get(choice, ()))
    references = others(model, kept)
    if isinstance(found.document.value, Head):
        best = equal_bytes(store, model, found.document.value, allocation)
        if best is not None:
            references = {OPTIMUM: best, **references}
            if st.button("Measure the optimum", icon=":material/speed:", key="import-optimum"):
                measure(store, model, best, mine)
    compare(model, allocation, references, "import-against")
    called = st.text_input(
        "Keep it as", value=f"{name} {choice}".strip()[:200], key=f"import-name-{name}-{choice}"
    )
    with st.container(horizontal=True):
        keep = st.button("Keep", type="primary", icon=":material/keep:", key="import-keep")
        both = st.button("Keep and measure", icon=":material/speed:", key="import-measure")
    if not (keep or both):
        return
    try:
        content = dump_bits(as_config(model, allocation, found, name))
        source = {"file": name, "format": found.format}
        number = save_config(store, called, content, source=source)
    except QcoreError as error:
        widgets.error_box(error)
        return
    st.toast(f"Kept as configuration {number}.", icon=":material/keep:")
    if both and not measure(store, model, allocation, mine):
        return
    st.rerun()


def as_config(model: ModelSpec, allocation: BitAllocation, found: Imported, name: str) -> BitConfig:
    """What is kept: our own file whole, of others the bits and where they come from."""
    if found.format == "json":
        config = read_config(found.document, model)
        if config.model.digest == model.digest:
            return config
        # scores and scales belong to other weights of this architecture
        note = {"imported": name, "measured_with_other_weights": config.model.digest}
        return BitConfig(model, allocation, provenance=note)
    return BitConfig(model, allocation, provenance={"imported": name, "format": found.format})


def others(model: ModelSpec, kept: Sequence[Kept]) -> dict[str, BitAllocation]:
    """What an allocation can be compared with: saved ones of this network, and even bits."""
    found = {
        f"{entry.saved.id}: {entry.saved.name}": entry.config.allocation
        for entry in kept
        if entry.config is not None and set(entry.config.allocation) == set(model.names)
    }
    for bits in (8, 4, 2):
        found[f"{bits} bits everywhere"] = BitAllocation.uniform(model.layers, bits)
    return found


def compare(
    model: ModelSpec, allocation: BitAllocation, references: Mapping[str, BitAllocation], key: str
) -> None:
    """Draw what an allocation changes of another that the reader chooses."""
    label = st.selectbox("Compare with", list(references), key=key, width=420)
    reference = references[label]
    if reference == allocation:
        st.caption("Every layer has the same bits.")
        return
    frame = difference.diff_frame(model, reference, allocation)
    st.plotly_chart(
        difference.diff_figure(frame),
        key=f"{key}-figure",
        config=CHART,
        alt="Change of weight and activation bits of every layer that differs.",
    )
    parts = []
    for name, (old, new) in difference.diff_totals(model, reference, allocation).items():
        if name in ("weight_bytes", "bit_ops"):
            cost = COSTS[name]
            parts.append(
                f"{cost.title}: {text.cost_text(cost, old)} to {text.cost_text(cost, new)}"
            )
    st.caption("; ".join(parts) + ".")


def measure(store: Store, model: ModelSpec, allocation: BitAllocation, mine: Sequence[Run]) -> bool:
    """Queue the measurement of an allocation as the newest run of its network was measured.

    Returns:
        True when it was queued.
    """
    like = mine[0].spec if mine else None
    if like is None:
        models = read_models()
        data = models[model.name].datasets if model.name in models else ()
        if not data:
            st.info(
                "Nothing was measured for this network yet, so it is not known on which "
                f"{words_for(judge_of(model.name), model=model).samples}: "
                "start a search on the Searches page first.",
                icon=":material/info:",
            )
            return False
        like = RunSpec(model.name, data[0], "given")
    spec = replace(given_spec(like, allocation), reported=1)
    return launch(store, [(spec, f"Measure {allocation.digest[:6]} on {model.name}"[:200])])
