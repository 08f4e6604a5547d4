"""Widgets the pages share. Values that a link should carry are bound to the URL."""

import dataclasses
import ipaddress
import json
import math
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any

import streamlit as st

from pages.ui import text
from pages.ui.downloads import downloads as downloads
from pages.ui.session import database_explained
from qcore.allocation import BIT_WIDTHS, BitAllocation, LayerBits, ModelSpec
from qcore.catalog import model_names
from qcore.cost_tables import broken_tables, odd_tables, refresh_costs
from qcore.costs import COSTS, UNPRICED, CostModel, applicable, refusals
from qcore.errors import InvalidParams, QcoreError
from qcore.problem import RunSpec
from store import Run, Store, create_run, runs

BUDGETS = {"weight_bytes": ("bw", "lw"), "bit_ops": ("bc", "lc")}
"""Cost name to the URL keys of its slider and of its switch, of the budgets always offered."""

ALSO = "also"
"""URL key of the further costs that have a slider."""

REDRAW_SECONDS = 3.0
"""While points arrive, a page is redrawn at most this often."""


def error_box(error: QcoreError) -> None:
    """Show what went wrong in words; everything else is a bug and keeps its traceback."""
    st.error(text.literal(str(error)), icon=":material/error:")


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
            "It has no login: whoever reaches it can start searches and delete results. "
            "Restart it with `--server.address localhost` unless you mean this.",
            icon=":material/lock_open:",
        )


def model_picker(store: Store) -> str:
    """Let the reader choose a model in the sidebar; bound to the URL key "model".

    Models of stored runs that are no longer listed can still be chosen.
    """
    refresh_costs(store.folder / "costs")
    everywhere = runs(store)
    names = list(dict.fromkeys([*model_names(), *(run.spec.model for run in everywhere)]))

    with st.sidebar:
        name = st.selectbox(
            "Model",
            names,
            key="model",
            bind="query-params",
            on_change=forget_budgets,
        )
        active = [run.state for run in everywhere if run.state in text.ACTIVE]
        st.caption(
            f"{active.count('running')} running, {active.count('queued')} queued"
            if active
            else "No search is running."
        )
        _cost_table_notes()
    return str(name)


def _cost_table_notes() -> None:
    """Say which of the user's cost tables cannot be used, and what is odd about others."""
    broken, odd = broken_tables(), odd_tables()
    if not broken and not odd:
        return
    with st.expander("Cost tables", icon=":material/table:", expanded=bool(broken)):
        for reason in broken.values():
            st.error(text.literal(reason))
        for file, sentences in odd.items():
            more = f" And {len(sentences) - 3} more." if len(sentences) > 3 else ""
            st.warning(text.literal(f"{file}: {' '.join(sentences[:3])}{more}"))


def forget_budgets() -> None:
    """Drop budgets that were set for another model's range."""
    for slider, _ in map(budget_keys, COSTS):
        st.session_state.pop(slider, None)
    st.session_state.pop(ALSO, None)


def budget_keys(cost: str) -> tuple[str, str]:
    """URL keys of a cost's slider and of its switch."""
    return BUDGETS.get(cost, (f"b-{cost}", f"l-{cost}"))


@dataclasses.dataclass(frozen=True, slots=True)
class Range:
    """A slider's range, in `unit`; multiply by `factor` for the cost's own unit."""

    low: float
    high: float
    start: float
    step: float
    factor: float
    unit: str
    decimals: int


def budget_range(cost: str, model: ModelSpec, widest: int = 8) -> Range:
    """Range of a budget slider: from 1 bit everywhere to 8 bits everywhere.

    It depends on the model alone, so that the slider stays put while points arrive.

    Args:
        cost: Name of the cost.
        model: The model to price.
        widest: Activation bits at the upper end: 32 where activations may stay in float.
    """
    ends = (
        _looked_up_ends(COSTS[cost], model) if COSTS[cost].looked_up else _ends(cost, model, widest)
    )
    factor, unit = text.scale_of(cost, ends[2])
    low, start, high = (end / factor for end in ends)
    exponent = math.floor(math.log10(max((high - low) / 300, 1e-6)))
    step, decimals = 10.0**exponent, max(0, -exponent)
    low, start, high = (
        round(rounding(value / step) * step, decimals)
        for value, rounding in ((low, math.floor), (start, math.ceil), (high, math.ceil))
    )
    return Range(low, high, start, round(step, decimals), factor, unit, decimals)


def _ends(cost: str, model: ModelSpec, widest: int) -> list[int]:
    """Lowest, first and highest value of a slider, in the cost's unit."""
    return [
        COSTS[cost].total(model, BitAllocation.uniform(model.layers, weight, activation))
        for weight, activation in ((1, 1), (4, widest), (8, widest))
    ]


def _looked_up_ends(cost: CostModel, model: ModelSpec) -> list[int]:
    """The same of a table, which need not know every width, nor rise with it."""
    pairs = [LayerBits(weight, activation) for weight in BIT_WIDTHS for activation in BIT_WIDTHS]
    rows = [[cost.layer_cost(layer, bits) for bits in pairs] for layer in model.layers]
    known = [[price for price in row if price < UNPRICED] for row in rows]
    low, high = (sum(end(row, default=0) for row in known) for end in (min, max))
    return [low, (low + high) // 2, max(high, low + 1)]


def budget_sliders(model: ModelSpec, widest: int) -> dict[str, float]:
    """Two budgets and those of further costs on demand, each with a switch; bound to the URL.

    Args:
        model: Prices the ends of the sliders.
        widest: As in `budget_range`.

    Returns:
        Cost name to limit in the cost's unit; costs that are switched off are absent.
    """
    limits = {}
    known = applicable(model)
    further = st.multiselect(
        "More budgets",
        [name for name in known if name not in BUDGETS],
        format_func=lambda name: COSTS[name].title,
        key=ALSO,
        bind="query-params",
        placeholder="limit another cost",
        help=_left_out(model),
    )
    costs = [*BUDGETS, *further]
    columns = [c for at in range(0, len(costs), 2) for c in st.columns(2, gap="large")]
    for column, cost in zip(columns, costs, strict=False):
        slider, switch = budget_keys(cost)
        with column:
            title = COSTS[cost].title
            on = st.toggle(
                f"Limit {title.lower()}",
                value=cost != "bit_ops",
                key=switch,
                bind="query-params",
                help=COSTS[cost].formula,
            )
            span = budget_range(cost, model, widest)
            kept = st.session_state.get(slider)
            if kept is not None and not span.low <= kept <= span.high:
                st.session_state[slider] = min(max(kept, span.low), span.high)
            value = st.slider(
                f"{title} at most, {span.unit}",
                min_value=span.low,
                max_value=span.high,
                value=span.start,
                step=span.step,
                format=f"%.{span.decimals}f",
                key=slider,
                bind="query-params",
                disabled=not on,
            )
            if on:
                limits[cost] = value * span.factor
    return limits


def _left_out(model: ModelSpec) -> str | None:
    reasons = [f"{COSTS[name].title}: {reason}." for name, reason in refusals(model).items()]
    if not reasons:
        return None
    return f"Left out for this network. {text.literal(' '.join(reasons))}"


def params_form(params: type, prefix: str) -> dict[str, Any]:
    """Draw one input per field of a search's params, from the field's metadata.

    Args:
        params: Frozen dataclass whose fields all have defaults.
        prefix: Makes the widgets' keys unique.

    Returns:
        The fields that differ from their defaults.

    Raises:
        InvalidParams: a list of allocations is not JSON.
    """
    values = {}
    for field in dataclasses.fields(params):
        value = _field_input(field, f"{prefix}-{field.name}")
        if value != field.default:
            values[field.name] = value
    return values


def _field_input(field: "dataclasses.Field[Any]", key: str) -> Any:
    meta, default = field.metadata, field.default
    label = str(meta.get("label", field.name.replace("_", " ").capitalize()))
    common: dict[str, Any] = {"key": key, "help": meta.get("help")}
    if isinstance(default, tuple):
        if "choices" in meta:
            return tuple(st.multiselect(label, meta["choices"], default=default, **common))
        return _read_lines(st.text_area(f"{label}, one per line", **common))
    if "choices" in meta:
        choices = list(meta["choices"])
        return st.selectbox(label, choices, index=choices.index(default), **common)
    if isinstance(default, bool):
        return st.toggle(label, value=default, **common)
    if isinstance(default, (int, float)):
        # the search checks the range itself and says so in words
        # and rates such as 0.0002 must not be shown as 0.00
        form = "%g" if isinstance(default, float) else "%d"
        return st.number_input(label, value=default, format=form, **common)
    return st.text_input(label, value=str(default), **common)


def _read_lines(lines: str) -> tuple[Any, ...]:
    try:
        return tuple(json.loads(line) for line in lines.splitlines() if line.strip())
    except json.JSONDecodeError as error:
        raise InvalidParams(
            f'Write one JSON object per line, such as {{"conv1": [4, 8]}}: {error}.'
        ) from error


def launch(store: Store, specs: Sequence[tuple[RunSpec, str]]) -> bool:
    """Queue runs; on an error say it in words.

    Returns:
        True when all were queued.
    """
    try:
        ids = [create_run(store, spec, name) for spec, name in specs]
    except QcoreError as error:
        error_box(error)
        return False
    st.toast(f"Queued {', '.join(f'run {at}' for at in ids)}.", icon=":material/schedule:")
    return True


def given_spec(like: RunSpec, allocation: BitAllocation, stage: str = "ptq") -> RunSpec:
    """Ask for one allocation to be measured just as another run measured its own."""
    return dataclasses.replace(
        like,
        search="given",
        params={"allocations": [allocation.to_json()]},
        limits={},
        weight_bits=tuple(sorted({bits.weight for bits in allocation.values()})),
        activation_bits=tuple(sorted({bits.activation for bits in allocation.values()})),
        pin_first_last=None,
        tuning=stage == "ptq+tuned",
    )


def measures(run: Run, allocation: BitAllocation) -> bool:
    """True when a run is queued or running that measures exactly this allocation."""
    asked = run.spec.params.get("allocations", [])
    wanted = allocation.to_json()
    return run.state in text.ACTIVE and any(
        {name: list(pair) for name, pair in dict(entry).items()} == wanted
        for entry in asked
        if isinstance(entry, Mapping)
    )


def progress_line(run: Run) -> None:
    """Show how far one run is."""
    share = min(1.0, run.step / run.total) if run.total else 0.0
    words = text.state_words(run)
    if run.state == "running" and not text.is_stopping(run):
        words = f"{run.message or 'starting'}; {text.counted(run.evaluations, 'evaluation')}"
    st.progress(share, text=text.literal(f"{run.name}: {words}"))


def live_progress(store: Store, drawn: Sequence[Run], belongs: Callable[[Run], bool]) -> None:
    """Follow runs once a second, and redraw the page when there is something new to draw.

    Args:
        store: The database.
        drawn: The runs as the page has just drawn them.
        belongs: Which runs the page is about.
    """
    seen = {run.id: run.state for run in drawn}
    count = sum(run.evaluations for run in drawn)
    since = monotonic()

    @st.fragment(run_every=1.0)
    @database_explained()
    def follow() -> None:
        now = [run for run in runs(store) if belongs(run)]
        for run in now:
            if run.state in text.ACTIVE:
                progress_line(run)
        fresh = sum(run.evaluations for run in now) != count
        due = monotonic() - since >= REDRAW_SECONDS
        if {run.id: run.state for run in now} != seen or (fresh and due):
            st.rerun()

    follow()
