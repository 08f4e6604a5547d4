"""Compare: fronts of several runs laid over one another, what they cost, and what is chance."""

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from pages.compare import budgets as compare_budgets
from pages.compare import chooser, controls, methods, read, sections
from pages.compare import tables as compare_tables
from pages.compare.across import across
from pages.compare.comparable import aim_of, judge
from pages.compare.difference import difference
from pages.compare.layer_bits import layers
from pages.compare.paper import paper
from pages.compare.sections import Comparison
from pages.compare.training import curves
from pages.shared import hypervolume as hv
from pages.shared import session, text, widgets
from pages.shared.columns import ACTIVATION_BITS, column_of
from pages.shared.notes.left_out import say_left_out
from pages.shared.run_facts import is_ladder
from pages.shared.run_numbers import MOST_RUNS, run_words
from pages.shared.runs import live_progress
from qcore.allocation import FLOAT_BITS, ModelSpec
from qcore.costs import COSTS
from qcore.costs.formulas import CostModel
from qcore.errors import QcoreError
from qcore.setting import Setting
from store import Run, Store, all_runs

AT_FIRST = 36
"""Most runs that are compared where a link names none."""


def main() -> None:
    """Draw the page."""
    store = session.database()
    name = widgets.model_picker(store)
    st.title("Compare")
    known = all_runs(store)
    offered = sorted(known, key=lambda run: (run.spec.model != name, -run.id))
    if not any(run.evaluations for run in known):
        _nothing_yet(store, known)
        return
    chosen = chooser.runs_picker(offered, _proposed(offered, name), name, store.costs)
    others = sorted({run.spec.model for run in chosen} - {name})
    if others and not any(run.evaluations for run in known if run.spec.model == name):
        st.caption(
            f"Nothing was measured of {text.literal(name, 80)} yet: these are runs of "
            f"{text.literal(', '.join(others), 80)}."
        )
    if any(run.state in text.ACTIVE for run in chosen):
        ids = {run.id for run in chosen}
        live_progress(store, chosen, lambda run: run.id in ids)
    empty = [run.id for run in chosen if not run.evaluations]
    if empty:
        st.caption(f"Nothing is measured yet by {run_words(empty)}.")
    measured = [run for run in chosen if run.evaluations][:MOST_RUNS]
    if not measured:
        st.info(
            "Choose runs above: their fronts are drawn over one another, and a table says what "
            "each reached for how many evaluations.",
            icon=":material/stacked_line_chart:",
        )
        return
    say_left_out(store, measured)
    verdict = judge({run.id: read.setting(store, run) for run in measured})
    if not verdict.comparable:
        controls.refusal([(g.runs, g.words) for g in verdict.groups], verdict.reasons)
        return
    _compare(store, measured)


def _nothing_yet(store: Store, known: Sequence[Run]) -> None:
    st.header("Nothing to compare yet")
    if any(run.state in text.ACTIVE for run in known):
        st.write("Fronts appear here as soon as the first allocations are measured.")
        live_progress(store, known, lambda run: True)
        return
    st.write(
        "Once searches have run, this page lays their fronts over one another, says what each "
        "reached for how many evaluations, and which differences are more than chance. Two "
        "searches of the same network and data are enough."
    )
    st.page_link("pages/views/explore.py", label="Start the first search", icon=":material/tune:")
    st.page_link(
        "pages/views/searches.py", label="Set up a search", icon=":material/manage_search:"
    )


def _proposed(offered: Sequence[Run], model: str) -> list[int]:
    """Methods with all their seeds: those of the largest group of comparable runs of late.

    Of the chosen network if it has any, the latest methods first. Digests and metrics are not
    looked up for this: whether all is comparable is judged afterwards.
    """
    measured = [run for run in offered if run.evaluations]
    mine = [run for run in measured if run.spec.model == model] or measured
    latest = session.newest_within(mine[:MOST_RUNS])
    verdict = judge({run.id: Setting.of(run.spec) for run in latest})
    if not verdict.groups:
        return []
    alike = [run for run in latest if run.id in verdict.groups[0].runs]
    found: list[int] = []
    for numbers in sorted(methods.grouped(alike, model).values(), key=max, reverse=True):
        if not found or len(found) + len(numbers) <= AT_FIRST:
            found += numbers
    return sorted(found)


def _compare(store: Store, measured: Sequence[Run]) -> None:
    name = measured[0].spec.model
    model = session.model_facts(store, name)
    if model is None:
        st.info(
            f"The layers of {text.literal(name, 80)} are not known yet; prepare it with a search."
        )
        return
    first = next((run for run in measured if not is_ladder(run)), measured[0])
    setting = read.setting(store, first)
    aim = aim_of([run.spec for run in measured])
    rows = {run.id: read.rows_of(store, run, model, aim) for run in measured}
    foreign = [number for number, table in rows.items() if table.empty]
    if foreign:
        st.warning(
            f"Points of other layers than {text.literal(name, 80)} has: "
            f"{run_words(foreign)} left out."
        )
    drawn = [run for run in measured if run.id not in foreign]
    if not drawn:
        return
    if not any(map(is_ladder, drawn)):
        ladder = read.ladders_like(store, setting)[:1]
        rows |= {run.id: read.rows_of(store, run, model, aim) for run in ladder}
        drawn += [run for run in ladder if len(rows[run.id])]
    compared = methods.methods_of(drawn, rows, store.costs)
    float_inputs = any((table[ACTIVATION_BITS] > 8).any() for table in rows.values())
    float_search, _ = session.floats_of(store, drawn[0])
    words = session.words(store, drawn, model)
    found = _choices(
        Comparison(
            store=store,
            setting=setting,
            model=model,
            methods=compared,
            ladder=methods.ladder_rows(compared),
            box=hv.Box(COSTS["weight_bytes"], 1.0, aim, hv.zero_of(aim, float_search), words),
            budgets=(),
            float_search=float_search,
            equal_at=None,
            logarithmic=False,
            words=words,
        ),
        FLOAT_BITS if float_inputs else 8,
    )
    for note in sections.notes(found.methods):
        st.caption(text.literal(note, 400))
    summary = compare_tables.summary(found.methods, found.box, found.budgets, found.equal_at)
    sections.fronts(found)
    sections.hypervolume(found)
    sections.table(found, summary)
    sections.paired(found)
    sections.allocations_along_fronts(found)
    layers(found)
    curves(found)
    difference(found)
    paper(found)
    across(found)
    sections.caption(found, summary)


def _priced(found: Comparison) -> list[CostModel]:
    """Costs that every point has; not each applies to every network."""
    tables = [trial.rows for method in found.methods for trial in method.trials]
    return [
        cost
        for cost in found.costs.values()
        if all(
            column_of(cost) in table and table[column_of(cost)].notna().all() for table in tables
        )
    ]


def _choices(found: Comparison, widest: int) -> Comparison:
    """Axis, equal evaluations and budgets, and the comparison as they want it."""
    model: ModelSpec = found.model
    left, right = st.columns(2)
    with left:
        cost = controls.axis_picker(_priced(found))
        logarithmic = st.toggle("Logarithmic", key="log", bind="query-params")
    column = column_of(cost)
    costs = [float(value) for m in found.methods for t in m.trials for value in t.rows[column]]
    pins = (run.spec.pin_first_last for m in found.methods for run in [m.trials[0].run])
    proposed = compare_budgets.default_budgets(
        model, cost, widest, found.ladder, pin=max(filter(None, pins), default=None), drawn=costs
    )
    words, unit = compare_budgets.write_budgets(cost, proposed)
    with right:
        typed = st.text_input(
            f"Budgets of the tables, {unit}",
            value=words,
            key="grid",
            bind="query-params",
            help="Budgets with commas between them: numbers, or with a unit such as 24 KiB, 3.5 "
            "bits (for each weight), 40 % of 8 bits, 12 % of float, 8x smaller. At first: exactly "
            "what points of uniform bits cost, pinned layers included.",
        )
        equal = st.toggle(
            "Hypervolume at equal evaluations",
            value=True,
            key="eq",
            bind="query-params",
            help="Takes it where the shortest search ended; off takes it at each run's end.",
        )
    try:
        budgets = compare_budgets.read_budgets(typed, cost, proposed, model, widest)
    except QcoreError as error:
        st.error(text.literal(str(error), 500), icon=":material/error:")
        budgets = proposed
    box = replace(
        hv.box_of(model, cost, widest, max(costs), found.box.aim, found.box.zero),
        said=found.words,
    )
    return replace(
        found,
        box=box,
        budgets=budgets,
        equal_at=(methods.equal_effort(found.methods, box) or None) if equal else None,
        logarithmic=logarithmic,
    )


main()
