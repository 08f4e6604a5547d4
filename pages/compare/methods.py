"""Runs as trials of methods: what each found, after how much work. Pure functions.

A method is a search with its settings; its runs differ in the seed alone. A trial is one run. Work
is counted in evaluations of the whole search split: looking at a tenth of its images is a tenth.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from pages.plots.style import METHOD_DASHES, METHOD_MARKERS, style_of
from pages.shared import frames
from pages.shared.columns import OBJECTIVE, TRAINED, column_of
from pages.shared.hypervolume import Box
from pages.shared.points_table import points_frame
from pages.shared.run_facts import has_aim, is_ladder, no_front
from pages.shared.text import bits_set_text, params_text, short_limits_text
from qcore.allocation import ModelSpec
from qcore.costs import COSTS
from qcore.costs.formulas import CostModel
from qcore.front import best_within
from qcore.problem import TUNED, Scores
from qcore.run_spec import method_label
from qcore.searches import SEARCHES
from store import Run, StoredPoint

EFFORT = "Evaluations"
"""Evaluations of the whole search split until a point was known."""

ELAPSED = "Elapsed, s"
"""Seconds until a point was known: training, then scoring."""


@dataclass(frozen=True)
class Trial:
    """One run's points under one method label.

    Attributes:
        run: The run.
        rows: `points_frame` of its points in the order they came, and EFFORT and ELAPSED.
        effort: Evaluations of the run, up to the cut where there is one.
        seconds: From its start to its end, pauses included; None while it has not ended.
    """

    run: Run
    rows: pd.DataFrame
    effort: float
    seconds: float | None


@dataclass(frozen=True)
class Method:
    """Trials that differ in the seed alone, and how they are drawn.

    Attributes:
        label: What to call it; no two methods of a comparison share it.
        trials: At least one, by run number.
        look: "colour", "marker" and "dash".
        reference: True for the uniform ladder, which is there to be beaten and is never cut.
    """

    label: str
    trials: tuple[Trial, ...]
    look: Mapping[str, str]
    reference: bool = False

    @property
    def trained(self) -> bool:
        """Whether its points have trained weights, other than tuned without labels."""
        return any(bool(trial.rows[TRAINED].any()) for trial in self.trials)

    def no_hypervolume(self, box: Box) -> str:
        """Why it has no hypervolume, in a few words; "" where each of its runs made a front."""
        if box.zero is None:
            return "the float network's loss is not known"
        reasons = (no_front(each.run, each.rows["digest"].nunique()) for each in self.trials)
        return next(filter(None, reasons), "")


def run_rows(
    points: Sequence[StoredPoint],
    run: Run,
    model: ModelSpec,
    costs: Mapping[str, CostModel] = COSTS,
    floats: tuple[Scores | None, Scores | None] = (None, None),
    aim: str = "",
) -> pd.DataFrame:
    """Points of one run in the order they came, with the work behind each.

    A tuned point counts as known when the point it was tuned from was. Of a search that trains, all
    time that was not scoring is counted before its first point: late rather than flattering.

    Args:
        points: All of the run's, those scored on a window of the images too.
        run: Whose.
        model: Whose layers they are of.
        costs: What they are priced by.
        floats: The float network's scores on the search and on the test split, where known.
        aim: Objective that they are judged by; "" is the run's own.

    Returns:
        `points_frame` by rising point, with EFFORT and ELAPSED.
    """
    ordered = sorted(points, key=lambda stored: stored.id)
    rows = points_frame(ordered, {run.id: run}, model, costs, floats, aim).sort_values("point")
    images = max((s.point.search.n for s in ordered if s.point.images is None), default=1)
    trains = run.spec.search in SEARCHES and SEARCHES[run.spec.search].trains
    scoring = sum(s.point.seconds for s in ordered if s.point.stage != TUNED)
    elapsed = max(0.0, (run_seconds(run) or 0.0) - scoring) if trains else 0.0
    effort = 0.0
    known: dict[int, tuple[float, float]] = {}
    origin: dict[str, tuple[float, float]] = {}
    for stored in ordered:
        point = stored.point
        if point.stage == TUNED:
            known[stored.id] = origin.get(point.allocation.digest, (effort, elapsed))
            continue
        effort += point.search.n / max(1, images)
        elapsed += point.seconds
        known[stored.id] = origin[point.allocation.digest] = (effort, elapsed)
    work = [known[number] for number in rows["point"]]
    return rows.assign(
        **{EFFORT: [pair[0] for pair in work], ELAPSED: [pair[1] for pair in work]}
    ).reset_index(drop=True)


def run_seconds(run: Run) -> float | None:
    """Seconds from a run's start to its end, pauses included; None while it has not ended.

    None, too, where a clock was set back in between: what it took is not known then.
    """
    if not run.started or not run.finished:
        return None
    start, end = (pd.Timestamp(moment) for moment in (run.started, run.finished))
    took = (end - start).total_seconds()
    return took if took >= 0 else None  # a clock was set back


def methods_of(
    runs: Sequence[Run],
    rows: Mapping[int, pd.DataFrame],
    costs: Mapping[str, CostModel] = COSTS,
) -> list[Method]:
    """Sort runs into methods.

    Args:
        runs: Comparable runs.
        rows: Run number to its `run_rows`; runs without points are left out.
        costs: The costs that limits may name.

    Returns:
        In the order searches are listed; a run whose points were also tuned belongs to two.
    """
    found: dict[tuple[str, str], list[Trial]] = {}
    for run in sorted(runs, key=lambda run: run.id):
        table = rows[run.id]
        effort = float(table[EFFORT].max()) if len(table) else 0.0
        for label, part in table.groupby("method", sort=False):
            trial = Trial(run, part.reset_index(drop=True), effort, run_seconds(run))
            found.setdefault((str(label), _settings(run)), []).append(trial)
    places = {search.title: place for place, search in enumerate(SEARCHES.values())}
    keys = sorted(found, key=lambda key: (places.get(key[0].split(",")[0], 99), key[0]))
    labels = _labels({key: found[key][0].run for key in keys}, costs)
    seen: dict[str, int] = {}
    methods = []
    for key in keys:
        shift = seen.get(key[0], 0)
        seen[key[0]] = shift + 1
        ladder = is_ladder(found[key][0].run)
        look = _look(key[0], shift)
        methods.append(Method(labels[key], tuple(found[key]), look, ladder))
    # where there is nothing but ladders, they are what is compared
    if all(method.reference for method in methods):
        methods = [replace(method, reference=False) for method in methods]
    return methods


def grouped(
    runs: Sequence[Run], model: str, costs: Mapping[str, CostModel] = COSTS
) -> dict[str, tuple[int, ...]]:
    """Runs by the method they are trials of, as a box offers them.

    Args:
        runs: In the order they are listed.
        model: The network that needs no mention.
        costs: The costs that limits may name.

    Returns:
        Label to run numbers, rising; methods in the order searches are listed, those of `model`
        first.
    """
    found: dict[tuple[str, str], list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.id):
        aim = run.spec.objective if has_aim(run) else ""
        title = method_label(run.spec.search, aim=aim, ruled=bool(run.spec.rules))
        title += f" on {run.spec.model}" if run.spec.model != model else ""
        found.setdefault((title, _settings(run)), []).append(run)
    places = {name: place for place, name in enumerate(SEARCHES)}
    keys = sorted(
        found,
        key=lambda key: (
            found[key][0].spec.model != model,
            places.get(found[key][0].spec.search, 99),
            found[key][0].id,
        ),
    )
    labels = _labels({key: found[key][0] for key in keys}, costs)
    return {labels[key]: tuple(run.id for run in found[key]) for key in keys}


def _settings(run: Run) -> str:
    """What makes runs of one search the same method: everything but the seed and the look-ups."""
    spec = run.spec.to_json()
    for name in ("seed", "device", "reported"):
        del spec[name]
    return json.dumps(spec, sort_keys=True, default=str)


def _labels(
    firsts: Mapping[tuple[str, str], Run], costs: Mapping[str, CostModel]
) -> dict[tuple[str, str], str]:
    """A label per method: its title, and where titles repeat what tells them apart."""
    labels: dict[tuple[str, str], str] = {}
    for title in dict.fromkeys(key[0] for key in firsts):
        keys = [key for key in firsts if key[0] == title]
        words = {key: _facts(firsts[key], costs) for key in keys}
        differing = [
            place
            for place in range(3)
            if len({words[key][place] for key in keys}) > 1
        ]  # fmt: skip
        for key in keys:
            told = "; ".join(words[key][place] for place in differing)
            label = f"{title} ({_cut(told)})" if told else title
            taken = label in labels.values()
            labels[key] = f"{label}, run {firsts[key].id}" if taken else label
    return labels


def _facts(run: Run, costs: Mapping[str, CostModel]) -> tuple[str, str, str]:
    return (
        params_text(run.spec.params),
        bits_set_text(run.spec),
        short_limits_text(run.spec.limits, costs),
    )


def _cut(words: str, most: int = 70) -> str:
    return words if len(words) <= most else f"{words[: most - 1]}…"


def _look(title: str, shift: int) -> dict[str, str]:
    """The search's own look; further methods of the same search take other marks and dashes."""
    look = style_of(title)
    if not shift:
        return look
    marker = METHOD_MARKERS.index(look["marker"]) + shift
    dash = METHOD_DASHES.index(look["dash"]) + shift
    return {
        "colour": look["colour"],
        "marker": METHOD_MARKERS[marker % len(METHOD_MARKERS)],
        "dash": METHOD_DASHES[dash % len(METHOD_DASHES)],
    }


def smallest_effort(methods: Sequence[Method]) -> float:
    """Evaluations of the run with the fewest, ladders left aside; 0 where there is none."""
    counts = [trial.effort for m in methods if not m.reference for trial in m.trials]
    return min(counts, default=0.0)


def equal_effort(methods: Sequence[Method], box: Box) -> float:
    """Evaluations at which hypervolumes are held against one another: those of the shortest run.

    Of runs that train only where there are no others: most of their work is no evaluation.
    """
    made = [method for method in methods if not method.no_hypervolume(box)]
    return smallest_effort([m for m in made if not m.trained]) or smallest_effort(made)


def cut(methods: Sequence[Method], most: float) -> list[Method]:
    """The same methods as if every run had ended after `most` evaluations; ladders stay whole.

    Methods of which nothing is left are dropped.
    """
    kept = []
    for method in methods:
        if method.reference:
            kept.append(method)
            continue
        trials = tuple(
            replace(trial, rows=rows, effort=min(trial.effort, most))
            for trial in method.trials
            if len(rows := trial.rows[trial.rows[EFFORT] <= most * (1 + 1e-9)])
        )
        if trials:
            kept.append(replace(method, trials=trials))
    return kept


def pick(rows: pd.DataFrame, cost: CostModel, limit: float) -> "pd.Series | None":
    """The best row within a limit on one cost, by the one picking rule; None if none fits."""
    costs = {cost.name: rows[column_of(cost)].tolist()}
    best = best_within(costs, rows[OBJECTIVE].tolist(), {cost.name: limit})
    return None if best is None else rows.iloc[best]


def front_rows(trial: Trial, cost: CostModel) -> pd.DataFrame:
    """A trial's front of its objective against a cost, by rising cost."""
    return frames.front_of(trial.rows, cost)


def ladder_rows(methods: Sequence[Method]) -> pd.DataFrame | None:
    """Every point of the uniform ladders among the methods; None where there is none."""
    found = [trial.rows for m in methods for trial in m.trials if is_ladder(trial.run)]
    return pd.concat(found, ignore_index=True) if found else None


def middle(values: Sequence[float]) -> tuple[float, float, float]:
    """(median, smallest, largest) of at least one value."""
    return float(np.median(values)), float(np.min(values)), float(np.max(values))
