"""Where to start, steps back and forth, rules for many layers, and the table to type into."""

from collections.abc import Callable

import pandas as pd
import streamlit as st

from pages.shared import frames, text, widgets
from pages.shared.columns import SEARCH_N, SEARCH_SCORE, column_of
from pages.shared.opening import opened
from pages.workbench.bench import HERE, Bench, change, editor_key, uniform_draft
from pages.workbench.draft import (
    ACTIVATION,
    BYTES,
    CHANGE,
    KIND,
    LAYER,
    LOCKED,
    SHARE,
    WEIGHT,
    Draft,
    Start,
    begin,
    editor_frame,
    width_options,
)
from pages.workbench.history import History
from pages.workbench.rules import LAYER_SETS, NAMED, PARTS, STEPS, Rule, apply_rule, matching
from qcore.allocation import (
    BIT_WIDTHS,
    FLOAT_BITS,
    WIDTHS_IN_WORDS,
    BitAllocation,
    ModelSpec,
)
from qcore.costs import COSTS
from qcore.costs.limits import HOW, read_limit
from qcore.errors import InvalidBits, InvalidParams, QcoreError
from qcore.formats.imports.by_layer import FORMATS, read_bits
from store import Store, configs
from store.jobs.reading import BY_LAYER


def toolbar(
    store: Store, model: ModelSpec, bench: Bench, frame: pd.DataFrame | None, source: str
) -> None:
    """Where the bits come from, steps back and forth, other starts, rules for many layers."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(source, width="content")
        _step(model, "Undo", "undo", bench.history.past, History.undo, "Ctrl+Z")
        _step(model, "Redo", "redo", bench.history.future, History.redo, "Ctrl+Shift+Z")
        st.button(
            "Back to the start",
            icon=":material/restart_alt:",
            key="wb-reset",
            disabled=[(row.weight, row.activation) for row in bench.now.rows]
            == [(b.weight, b.activation) for b in bench.now.start.allocation.values()],
            on_click=change,
            args=(model, lambda history: history.push(_restarted(history.now, model))),
            help="Gives every layer the bits of the starting point again; locks stay.",
        )
        _start_chooser(store, model, frame)
        with st.popover("Many layers", icon=":material/format_paint:"):
            _rules(model, bench)


def _restarted(draft: Draft, model: ModelSpec) -> Draft:
    return begin(draft.start, model, tuple(row.locked for row in draft.rows))


def _step(
    model: ModelSpec,
    label: str,
    icon: str,
    steps: tuple[Draft, ...],
    take: Callable[[History[Draft]], History[Draft]],
    shortcut: str,
) -> None:
    st.button(
        label,
        icon=f":material/{icon}:",
        key=f"wb-{icon}",
        disabled=not steps,
        on_click=change,
        args=(model, take),
        shortcut=shortcut,
    )


def _rules(model: ModelSpec, bench: Bench) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        part = st.selectbox("Set", list(PARTS), key=HERE, width=210)
        layers = st.selectbox("of", list(LAYER_SETS), key="wb-layers", width=260)
        contains = ""
        if layers == NAMED:
            contains = st.text_input("containing", key="wb-contains", width=160, max_chars=200)
        bits: int | str = 8
        wrong = ""
        try:
            bits = widgets.width_box("to, bits", BIT_WIDTHS, 8, "wb-bits", list(STEPS))
        except InvalidBits as error:
            wrong = str(error)
        rule = Rule(layers, part, bits, contains)
        found = matching(rule, model)
        free = [place for place in found if not bench.now.rows[place].locked]
        st.button(
            f"Apply to {text.counted(len(free), 'layer')}",
            key="wb-apply",
            icon=":material/format_paint:",
            disabled=bool(wrong) or not free,
            on_click=change,
            args=(model, lambda history: history.push(apply_rule(rule, history.now, model))),
        )
    if wrong:
        st.error(text.literal(wrong), icon=":material/error:")
    elif len(free) < len(found):
        st.caption(f"{text.counted(len(found) - len(free), 'locked layer')} left alone.")


def bits_editor(model: ModelSpec, bench: Bench) -> None:
    """The table to type bits into; what is typed is taken up by the next view of the page."""
    column = st.column_config
    st.data_editor(
        editor_frame(bench.base, bench.now, model),
        key=editor_key(model, bench),
        num_rows="fixed",
        hide_index=False,
        height=min(38 + 35 * len(model.layers), 640),
        disabled=[LAYER, KIND, BYTES, SHARE, CHANGE],
        column_config={
            "_index": column.NumberColumn("Row", width=48),
            LOCKED: column.CheckboxColumn(
                width=80, help="Rules for many layers leave a locked layer alone."
            ),
            LAYER: column.TextColumn(pinned=True, width=140),
            WEIGHT: column.SelectboxColumn(
                options=width_options(bench.base),
                help=f"{WIDTHS_IN_WORDS}.",
                width=105,
            ),
            ACTIVATION: column.SelectboxColumn(
                options=width_options(bench.base, inputs=True),
                help=f"Bits of the layer's input: {WIDTHS_IN_WORDS}; inputs have no groups.",
                width=125,
            ),
            BYTES: column.NumberColumn(format="localized", width=105),
            SHARE: column.ProgressColumn(min_value=0, max_value=100, format="%.1f"),
            CHANGE: column.TextColumn(
                width=110, help="Weight/activation bits against the starting point."
            ),
        },
        alt="Bits of every layer, to be edited; locked layers are left alone by rules.",
    )


def _start_chooser(store: Store, model: ModelSpec, frame: pd.DataFrame | None) -> None:
    """Offer other bits to start from; taking one is a step that can be undone."""
    ways: dict[str, Callable[[], Draft | None]] = {
        "Same bits everywhere": lambda: _from_uniform(model),
        "A measured point": lambda: _from_point(model, frame),
        "A saved configuration": lambda: _from_saved(store, model),
        "A file": lambda: _from_file(store, model),
        "A pasted list": lambda: _from_paste(store, model),
    }
    with st.popover("Start from", icon=":material/start:"):
        way = st.segmented_control(
            "Start from", list(ways), default=next(iter(ways)), required=True, key="wb-way"
        )
        try:
            draft = ways[str(way)]()
        except QcoreError as error:
            st.error(text.literal(str(error)), icon=":material/error:")
            return
        if draft is not None:
            change(model, lambda history: history.push(draft))
            st.rerun()


def _go(key: str, disabled: bool = False) -> bool:
    return st.button("Start from this", key=key, icon=":material/start:", disabled=disabled)


def _from_uniform(model: ModelSpec) -> Draft | None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        weight = widgets.width_box("Weight bits", BIT_WIDTHS, 4, "wb-uw")
        inputs = widgets.width_box("Activation bits", BIT_WIDTHS, FLOAT_BITS, "wb-ua", inputs=True)
        return uniform_draft(model, int(weight), int(inputs)) if _go("wb-uniform") else None


def _from_point(model: ModelSpec, frame: pd.DataFrame | None) -> Draft | None:
    if frame is None or frame.empty:
        st.write("No allocation of this model was measured yet.")
        return None
    with st.container(horizontal=True, vertical_alignment="bottom"):
        methods = list(dict.fromkeys(frame["method"]))
        method = st.selectbox("Method", methods, key="wb-method", width=240)
        rows = frames.front_of(frame[frame["method"] == method], COSTS["weight_bytes"])
        words = {
            int(row["point"]): f"{text.cost_text(COSTS['weight_bytes'], size)}: "
            f"{row[SEARCH_SCORE]:.1f} % on {row[SEARCH_N]:,.0f} search images"
            for row in rows.to_dict("records")
            for size in [float(row[column_of(COSTS["weight_bytes"])])]
        }
        chosen = st.selectbox(
            "Point on its front of weights",
            list(words),
            format_func=lambda point: words.get(point, ""),
            key="wb-point",
            width=360,
        )
        pressed = _go("wb-from-point")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        typed = st.text_input(
            "Or its best with weights of at most",
            key="wb-within",
            placeholder="24 KiB, 3.5 bits, 40 %, 8x smaller",
            max_chars=60,
            width=360,
            help=HOW,
        )
        asked = _go("wb-from-within", disabled=not typed.strip())
    if asked:
        row = best_of(frame[frame["method"] == method], model, typed)
    elif pressed:
        row = rows[rows["point"] == chosen].iloc[0]
    else:
        return None
    where = int(row["run"]), int(row["point"])
    return begin(point_start(model, str(method), *where, row["allocation"]), model)


def best_of(rows: pd.DataFrame, model: ModelSpec, typed: str) -> pd.Series:
    """The best point of one method, by what its search minimised, within a budget on its weights.

    Args:
        rows: The method's, of `points_frame`.
        model: The network.
        typed: As `qcore.costs.limits.read_limit` takes it.

    Raises:
        InvalidParams: it is no budget, or nothing that was measured is within it.
    """
    cost = COSTS["weight_bytes"]
    limit = read_limit(cost, typed, model)
    found = frames.picks(rows, {cost.name: limit})
    if found.empty:
        least = text.exact_cost_text(cost, float(rows[column_of(cost)].min()))
        raise InvalidParams(
            f"Nothing was measured of at most {text.exact_cost_text(cost, limit)}; the smallest is "
            f"{least}. Give more, or start a search near that budget."
        )
    best: pd.Series = found.iloc[0]
    return best


def point_start(
    model: ModelSpec, method: str, run: int, point: int, allocation: BitAllocation
) -> Start:
    """The starting point that a measured point of a run is."""
    cost = COSTS["weight_bytes"]
    size = text.cost_text(cost, cost.total(model, allocation))
    label = f"{method}, {size}, point {point} of run {run}"
    return Start(label, allocation, f"{run}:{point}")


def _from_saved(store: Store, model: ModelSpec) -> Draft | None:
    kept = {entry.id: entry for entry in configs(store)}
    if not kept:
        st.write("No configuration was saved yet.")
        return None
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.selectbox(
            "Configuration",
            list(kept),
            format_func=lambda at: kept[at].name if at in kept else "",
            key="wb-saved",
            width=420,
        )
        if not _go("wb-from-saved"):
            return None
    entry = kept[int(chosen)]
    bits = read_bits(entry.text.encode(), model)
    return begin(Start(f"saved configuration {entry.name}", next(iter(bits.values()))), model)


def _from_file(store: Store, model: ModelSpec) -> Draft | None:
    given = st.file_uploader("A file with bits per layer", key="wb-file", help=f"Read: {FORMATS}.")
    if given is None:
        return None
    return _read(store, given.getvalue(), f"file {given.name}", model)


def _from_paste(store: Store, model: ModelSpec) -> Draft | None:
    pasted = st.text_area(
        "Bits of every layer",
        key="wb-paste",
        placeholder="[[8, -1], [4, 8], [4, 8], ...]",
        help=f"Read: {FORMATS}.",
    )
    st.caption(
        f"{len(model.layers):,} layers in the order in which the network defines them; pairs are "
        "[weight bits, activation bits], -1 or 32 is float."
    )
    if not pasted.strip():
        return None
    return _read(store, pasted.encode(), "a pasted list", model)


def _read(store: Store, data: bytes, label: str, model: ModelSpec) -> Draft | None:
    """Show what was read, or raise what is wrong with it; give it once it is taken."""
    read = opened(store, "wb-read", data, model, BY_LAYER)
    if read is None:
        return None
    found = read.choices
    name = next(iter(found))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if len(found) > 1:
            name = st.selectbox("Which of them", list(found), key="wb-which", width=320)
        pressed = _go("wb-from-text")
    widgets.notes(read.notes.get(name, ()))
    return begin(Start(f"{label} {name}".rstrip(), found[name]), model) if pressed else None
