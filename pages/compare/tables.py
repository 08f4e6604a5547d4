"""Tables of the Compare page: what each method reached for how much work. Pure functions."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from pages.compare.figures import method_spread
from pages.compare.methods import EFFORT, Method, cut, front_rows, middle, pick
from pages.shared.columns import (
    ACTIVATION_BITS,
    LOSSES,
    SEARCH_N,
    SEARCH_SCORE,
    TEST_SCORE,
    column_of,
)
from pages.shared.hypervolume import Box
from pages.shared.text import activations_text, cost_text, file_safe, significant
from qcore.allocation import ModelSpec
from qcore.costs.formulas import CostModel
from qcore.costs.smaller import smaller_text

SCORES = {"test split": TEST_SCORE, "search split": SEARCH_SCORE}

FITTING = "seeds within it"
BUDGET_PARTS = (
    "95 % low",
    "95 % high",
    "lowest seed",
    "highest seed",
    "accuracy, %",
    "cheapest",
    "dearest",
    "activations, mean bits",
)


def budget_head(cost: CostModel, budget: float) -> str:
    """Column of the loss at a budget."""
    return f"At most {cost_text(cost, budget)}: loss, points"


def summary(
    methods: Sequence[Method],
    box: Box,
    budgets: Sequence[float],
    equal_at: float | None = None,
) -> pd.DataFrame:
    """One row per method, numbers only: what the CSV file holds.

    Args:
        methods: What is compared.
        box: What hypervolume counts; names the cost.
        budgets: Limits on that cost, in its unit.
        equal_at: Evaluations at which hypervolumes are taken; None takes them at each run's end.

    Returns:
        Columns: Method, Seeds, Runs, hypervolume (median, low, high over seeds; NaN with the reason
        where it says nothing), Evaluations and Minutes (median over runs; minutes from start to
        end, NaN while one has not ended), search images, whether weights were trained, mean
        activation bits along the fronts (least, most), and per budget what its best point by the
        objective loses against the float network, percent points: mean over seeds, its 95 %
        interval over images, lowest and highest seed, accuracy, costs really used in the cost's
        unit, mean activation bits, the split, and how many seeds have a point. A loss is NaN unless
        all seeds have one.
    """
    rows = []
    for method in methods:
        seconds = [trial.seconds for trial in method.trials]
        images = min(float(trial.rows[SEARCH_N].min()) for trial in method.trials)
        fronts = [front_rows(trial, box.cost)[ACTIVATION_BITS] for trial in method.trials]
        row: dict[str, object] = {
            "Method": method.label,
            "Seeds": len(method.trials),
            "Runs": " ".join(str(trial.run.id) for trial in method.trials),
            **_hypervolume(method, box, equal_at),
            "Evaluations": middle([trial.effort for trial in method.trials])[0],
            "Minutes": (
                np.nan
                if any(value is None for value in seconds)
                else float(np.median([value or 0.0 for value in seconds])) / 60
            ),
            "Search images": int(images),
            "Trained": method.trained,
            "Activations, least mean bits": min(float(bits.min()) for bits in fronts),
            "Activations, most mean bits": max(float(bits.max()) for bits in fronts),
        }
        for budget in budgets:
            row |= _at_budget(method, box.cost, budget)
        rows.append(row)
    return pd.DataFrame(rows)


def _hypervolume(method: Method, box: Box, equal_at: float | None) -> dict[str, object]:
    names = ("Hypervolume", "Hypervolume, lowest seed", "Hypervolume, highest seed")
    why = method.no_hypervolume(box)
    if why:
        return dict.fromkeys(names, np.nan) | {"No hypervolume": why}
    kept = [method] if equal_at is None else cut([method], equal_at)
    # a seed that had measured nothing by then had covered nothing
    short = bool(kept) and len(kept[0].trials) < len(method.trials)
    reached = method_spread(kept[0], box, EFFORT) if kept else None
    ends = (reached.median[-1], reached.low[-1], reached.high[-1]) if reached else (0.0, 0.0, 0.0)
    if short and reached:
        last = [method_spread(Method("", (t,), {}), box, EFFORT).median[-1] for t in kept[0].trials]
        ends = middle([*last, *[0.0] * (len(method.trials) - len(last))])
    return dict(zip(names, ends, strict=True)) | {"No hypervolume": ""}


def _at_budget(method: Method, cost: CostModel, budget: float) -> dict[str, object]:
    found = [pick(trial.rows, cost, budget) for trial in method.trials]
    rows = pd.DataFrame([row for row in found if row is not None])
    head = budget_head(cost, budget)
    names = (head, *(f"{head}, {part}" for part in BUDGET_PARTS))
    empty: dict[str, object] = dict.fromkeys(names, np.nan)
    empty |= {f"{head}, {FITTING}": len(rows), f"{head}, split": ""}
    # a seed that found nothing within the budget has no loss there, and no mean hides it
    if len(rows) < len(found) or rows.empty:
        return empty
    known = (split for split, (loss, _, _) in LOSSES.items() if rows[loss].notna().all())
    split = next(known, "")
    used = rows[column_of(cost)]
    told = {
        "cheapest": float(used.min()),
        "dearest": float(used.max()),
        "activations, mean bits": float(rows[ACTIVATION_BITS].mean()),
        "accuracy, %": float(rows[SCORES[split or "search split"]].mean()),
    }
    if split:
        loss, low, high = (rows[column].astype(float) for column in LOSSES[split])
        # seeds err on the same images: their ends are averaged as if they erred alike
        told |= {"95 % low": float(low.mean()), "95 % high": float(high.mean())}
        told |= {"lowest seed": float(loss.min()), "highest seed": float(loss.max())}
        empty[head] = float(loss.mean())
    return (
        empty
        | {f"{head}, {part}": value for part, value in told.items()}
        | {f"{head}, split": split}
    )


def shown(table: pd.DataFrame, equal_at: float | None = None) -> pd.DataFrame:
    """The summary as a person reads it, without the budgets.

    Args:
        table: `summary`.
        equal_at: As it was made with.
    """
    head = "Hypervolume" if equal_at is None else f"Hypervolume at {equal_at:,.0f} evaluations"
    rows = []
    for row in table.to_dict("records"):
        why = str(row["No hypervolume"])
        rows.append(
            {
                "Method": row["Method"],
                head: f"none: {why}" if why else _over_seeds(row),
                "Activations, mean bits": activations_text(
                    row["Activations, least mean bits"], row["Activations, most mean bits"]
                ),
                "Weights": _trained(row),
                "Evaluations": f"{row['Evaluations']:,.0f}",
                "Minutes": "not ended" if pd.isna(row["Minutes"]) else significant(row["Minutes"]),
                "Seeds": int(row["Seeds"]),
                "Runs": row["Runs"],
            }
        )
    return pd.DataFrame(rows)


def _trained(row: Mapping[str, object]) -> str:
    return "trained" if row["Trained"] else "as they were"


def _over_seeds(row: Mapping[str, object]) -> str:
    value = f"{row['Hypervolume']:.4f}"
    if row["Seeds"] == 1:
        return value
    ends = (f"{row[f'Hypervolume, {which} seed']:.4f}" for which in ("lowest", "highest"))
    return f"{value} (seeds: {' to '.join(ends)})"


def within(
    table: pd.DataFrame,
    cost: CostModel,
    budgets: Sequence[float],
    model: ModelSpec | None = None,
) -> pd.DataFrame:
    """The budgets of the summary as a person reads them: one row per budget and method.

    Args:
        table: `summary`.
        cost: The cost.
        budgets: Those it was made with.
        model: The network, for how many times smaller sizes of weights are; None leaves that out.

    Returns:
        Columns: Budget, Method, "Loss against float, points" (mean over seeds, with its 95 %
        interval), Split, "Seeds, lowest to highest", what of the cost is really used (and of a size
        of weights how many times smaller the largest of them is), "Activations,
        mean bits", Weights, "Accuracy, %"; a cell says why where there is no figure.
    """
    rows = []
    for budget in budgets:
        head = budget_head(cost, budget)
        for row in table.to_dict("records"):
            cells = {"Budget": f"at most {cost_text(cost, budget)}", "Method": row["Method"]}
            dearest = float(str(row[f"{head}, dearest"]))
            if model is not None and cost.of_weights and not np.isnan(dearest):
                cells[BELOW] = smaller_text(cost, model, dearest)
            rows.append(cells | _cells(row, head, cost))
    below = [BELOW] if model is not None and cost.of_weights else []
    used = [f"{cost.title} used", *below]
    columns = ["Budget", "Method", LOSS, "Split", SEEDS, *used, "Activations, mean bits"]
    return pd.DataFrame(rows, columns=[*columns, "Weights", "Accuracy, %"])


LOSS = "Loss against float, points"
SEEDS = "Seeds, lowest to highest"
BELOW = "Against float and 8 bits"


def _cells(row: Mapping[str, object], head: str, cost: CostModel) -> dict[str, object]:
    seeds, fit = int(str(row["Seeds"])), int(str(row[f"{head}, {FITTING}"]))
    if fit < seeds:
        return {LOSS: f"{fit} of {seeds} seeds fit" if fit else "nothing fits"}
    part = {name: float(str(row[f"{head}, {name}"])) for name in BUDGET_PARTS}
    ends = dict.fromkeys(cost_text(cost, part[end]) for end in ("cheapest", "dearest"))
    split = str(row[f"{head}, split"])
    loss = "not known: the float network was not measured there"
    if split:
        interval = f"{part['95 % low']:.2f} to {part['95 % high']:.2f}"
        loss = f"{float(str(row[head])):.2f} ({interval})"
    return {
        LOSS: loss,
        "Split": (split or "search split").partition(" ")[0],
        SEEDS: f"{part['lowest seed']:.2f} to {part['highest seed']:.2f}" if seeds > 1 else "",
        f"{cost.title} used": " to ".join(ends),
        "Activations, mean bits": activations_text(part["activations, mean bits"]),
        "Weights": _trained(row),
        "Accuracy, %": f"{part['accuracy, %']:.2f}",
    }


def file_name(model: str, cost: str) -> str:
    """Name of the table's file: letters, digits and "._-" only, whatever the network is called."""
    return file_safe(f"compare_{model[:60]}_{cost[:60]}.csv")


def csv_of(table: pd.DataFrame) -> bytes:
    """The table as a CSV file, UTF-8; text that a spreadsheet would run as a formula is quoted."""
    out = table.copy()
    for column in out.columns:
        out[column] = [
            f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" and value else value
            for value in out[column]
        ]
    return out.to_csv(index=False).encode()
