"""Tables of the Compare page: what each method reached for how much work, and what is chance."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from pages.compare.bootstrap import Difference, paired_bootstrap
from pages.compare.figures import method_spread
from pages.compare.methods import EFFORT, Method, middle, pick
from pages.shared.columns import SEARCH_N, SEARCH_SCORE, TEST_SCORE
from pages.shared.hypervolume import Box
from pages.shared.text import cost_text, file_safe, scale_of, significant
from qcore.allocation import BitAllocation, ModelSpec
from qcore.costs import costs_of
from qcore.costs.formulas import CostModel
from qcore.errors import InvalidParams
from qcore.problem import wilson_interval

LADDER_BITS = (2, 3, 4, 8)
MOST_BUDGETS = 8


def default_budgets(
    model: ModelSpec, cost: CostModel, widest: int, drawn: Sequence[float] = ()
) -> list[float]:
    """Budgets a reader has in mind: what 2, 3, 4 and 8 bits everywhere cost, rounded up.

    Args:
        model: Priced.
        cost: The cost.
        widest: Activation bits of the ladder where the cost depends on weights too.
        drawn: Costs of the points that are compared: their quartiles serve where the cost does not
            know the ladder.
    """

    def ladder(activations: Sequence[int]) -> set[float]:
        uniform = zip(LADDER_BITS, activations, strict=True)
        allocations = [BitAllocation.uniform(model.layers, w, a) for w, a in uniform]
        priced = [costs_of(model, one, {cost.name: cost}).get(cost.name, 0) for one in allocations]
        return {float(value) for value in priced if value > 0}

    found = ladder([widest] * len(LADDER_BITS))
    if len(found) <= 1:
        found = ladder(LADDER_BITS) or found
    if not found:
        found = {float(value) for value in np.quantile(drawn or [1.0], [0, 0.25, 0.5, 1])}
    return sorted({_rounded_up(cost, max(1.0, value)) for value in found})


def _rounded_up(cost: CostModel, value: float) -> float:
    """The next figure of three digits in the unit a reader sees, so that the value itself fits."""
    factor, _ = scale_of(cost, value)
    digit = 10.0 ** (math.floor(math.log10(value / factor)) - 2)
    return math.ceil(value / factor / digit - 1e-9) * digit * factor


def write_budgets(cost: CostModel, budgets: Sequence[float]) -> tuple[str, str]:
    """Budgets as the box shows them, and their unit: ("19.3, 28.7", "KiB")."""
    factor, unit = scale_of(cost, max(budgets, default=1.0))
    return ", ".join(significant(value / factor, 3).replace(",", "") for value in budgets), unit


def read_budgets(text: str, cost: CostModel, unit_of: float) -> list[float]:
    """Read the box of budgets.

    Args:
        text: Numbers with commas between them, in the unit the box shows.
        cost: The cost.
        unit_of: A cost that is shown in that unit, in the cost's own unit.

    Returns:
        Budgets in the cost's unit, rising, each once.

    Raises:
        InvalidParams: no number, not above 0, or too many.
    """
    factor, unit = scale_of(cost, unit_of)
    budgets = set()
    for entry in filter(None, (part.strip() for part in text.split(","))):
        try:
            value = float(entry)
        except ValueError:
            raise InvalidParams(
                f"Write budgets in {unit} with commas between them, such as 10, 20.5: "
                f"{entry[:40]!r} is no number."
            ) from None
        if not (math.isfinite(value) and value > 0):
            raise InvalidParams(f"A budget must be above 0 {unit}; got {entry[:40]}.")
        budgets.add(value * factor)
    if not 0 < len(budgets) <= MOST_BUDGETS:
        raise InvalidParams(f"Give 1 to {MOST_BUDGETS} budgets in {unit}; got {len(budgets)}.")
    return sorted(budgets)


def summary(methods: Sequence[Method], box: Box, budgets: Sequence[float]) -> pd.DataFrame:
    """One row per method, numbers only: what the CSV file holds.

    Returns:
        Columns: Method, Seeds, Runs, hypervolume (median, low, high over seeds), Evaluations and
        Minutes (median over runs; minutes from start to end, NaN while one has not ended), search
        images, and per budget the accuracy of the best point within it, percent: median, low and
        high over seeds, the 95 % Wilson interval of the median, and how many seeds have one; an
        accuracy is NaN unless all have.
    """
    rows = []
    for method in methods:
        reached = method_spread(method, box, EFFORT)
        seconds = [trial.seconds for trial in method.trials]
        images = min(float(trial.rows[SEARCH_N].min()) for trial in method.trials)
        row: dict[str, object] = {
            "Method": method.label,
            "Seeds": len(method.trials),
            "Runs": " ".join(str(trial.run.id) for trial in method.trials),
            "Hypervolume": reached.median[-1],
            "Hypervolume, lowest seed": reached.low[-1],
            "Hypervolume, highest seed": reached.high[-1],
            "Evaluations": middle([trial.effort for trial in method.trials])[0],
            "Minutes": (
                np.nan
                if any(value is None for value in seconds)
                else float(np.median([value or 0.0 for value in seconds])) / 60
            ),
            "Search images": int(images),
        }
        for budget in budgets:
            row |= _at_budget(method, box.cost, budget, int(images))
        rows.append(row)
    return pd.DataFrame(rows)


def _at_budget(method: Method, cost: CostModel, budget: float, n: int) -> dict[str, float]:
    found = [pick(trial.rows, cost, budget) for trial in method.trials]
    scores = [float(row[SEARCH_SCORE]) for row in found if row is not None]
    head = budget_head(cost, budget)
    names = (head, *(f"{head}, {what}" for what in BUDGET_PARTS))
    fitting = {f"{head}, {FITTING}": len(scores)}
    # a seed that found nothing within the budget has no accuracy there, and no median hides it
    if len(scores) < len(found) or not scores:
        return dict.fromkeys(names, np.nan) | fitting
    median, low, high = middle(scores)
    ends = wilson_interval(median / 100, n)
    values = (median, low, high, 100 * ends[0], 100 * ends[1])
    return dict(zip(names, values, strict=True)) | fitting


FITTING = "seeds within it"
BUDGET_PARTS = ("lowest seed", "highest seed", "95 % low", "95 % high")


def budget_head(cost: CostModel, budget: float) -> str:
    """Column of the accuracy at a budget."""
    return f"At most {cost_text(cost, budget)}, %"


def shown(table: pd.DataFrame, box: Box, budgets: Sequence[float]) -> pd.DataFrame:
    """The summary as a person reads it: one cell per budget, with interval and range of seeds."""
    rows = []
    for row in table.to_dict("records"):
        seeds = int(row["Seeds"])
        cells: dict[str, object] = {
            "Method": row["Method"],
            "Hypervolume": _ranged(row, "Hypervolume", "lowest seed", "highest seed", seeds, 4),
        }
        for budget in budgets:
            head = budget_head(box.cost, budget)
            if pd.isna(row[head]):
                fit = int(row[f"{head}, {FITTING}"])
                cells[head] = f"{fit} of {seeds} seeds fit" if fit else "nothing fits"
                continue
            interval = f"({row[f'{head}, 95 % low']:.1f} to {row[f'{head}, 95 % high']:.1f})"
            cells[head] = (
                f"{_ranged(row, head, 'lowest seed', 'highest seed', seeds, 1)} {interval}"
            )
        cells |= {
            "Evaluations": f"{row['Evaluations']:,.0f}",
            "Minutes": "not ended" if pd.isna(row["Minutes"]) else significant(row["Minutes"]),
            "Seeds": seeds,
            "Runs": row["Runs"],
        }
        rows.append(cells)
    return pd.DataFrame(rows)


def _ranged(
    row: Mapping[str, object], head: str, low: str, high: str, seeds: int, digits: int
) -> str:
    value = f"{row[head]:.{digits}f}"
    if seeds == 1:
        return value
    return f"{value} [{row[f'{head}, {low}']:.{digits}f}, {row[f'{head}, {high}']:.{digits}f}]"


Right = Callable[[Sequence[int]], Mapping[int, np.ndarray]]
"""Point numbers to which test images each named right."""


def tested_picks(method: Method, cost: CostModel, budget: float) -> list[int]:
    """Per run, the point chosen on the search split among those the test split has seen.

    Empty unless every run has one within the budget.
    """
    found = []
    for trial in method.trials:
        rows = trial.rows[trial.rows[TEST_SCORE].notna()]
        best = pick(rows, cost, budget) if len(rows) else None
        if best is None:
            return []
        found.append(int(best["point"]))
    return found


def paired_table(
    methods: Sequence[Method],
    baseline: str,
    cost: CostModel,
    budgets: Sequence[float],
    right: Right,
) -> pd.DataFrame:
    """Every method against one, at every budget, on the same test images; empty cells are None.

    Args:
        methods: What is compared.
        baseline: Label of the method the others are held against.
        cost: The cost that is limited.
        budgets: Limits, in the cost's unit.
        right: Reads which test images points named right.

    Returns:
        Columns: Method, Budget, "Difference, points", its 95 % interval, "In words", accuracy of
        the method and of the baseline on the test split (percent, mean over seeds, with its 95 %
        interval), "Test images".

    Raises:
        InvalidData: the points were tested on different numbers of images.
    """
    other = next(method for method in methods if method.label == baseline)
    rows = []
    for method in methods:
        if method.label == baseline:
            continue
        for budget in budgets:
            sides = tested_picks(other, cost, budget), tested_picks(method, cost, budget)
            row: dict[str, object] = {
                "Method": method.label,
                "Budget": f"at most {cost_text(cost, budget)}",
            }
            answers = right([*sides[0], *sides[1]])
            a, b = ([answers[p] for p in side if p in answers] for side in sides)
            if not a or not b or len(a) < len(sides[0]) or len(b) < len(sides[1]):
                row |= {"In words": _missing(sides, method.label, baseline)}
            else:
                row |= _difference_cells(paired_bootstrap(a, b), a, b, baseline, method.label)
            rows.append(row)
    columns = ["Method", "Budget", *PAIRED_COLUMNS]
    return pd.DataFrame(rows, columns=columns)


PAIRED_COLUMNS = (
    "Difference, points",
    "95 % interval, points",
    "In words",
    "Test accuracy, %",
    "Baseline, %",
    "Test images",
)


def _missing(sides: tuple[Sequence[int], Sequence[int]], method: str, baseline: str) -> str:
    for side, label in zip(sides, (baseline, method), strict=True):
        if not side:
            return f"{label}: not every run has a tested point here"
    return "an older release kept no answers; measure again"


def _difference_cells(
    found: Difference,
    a: Sequence[np.ndarray],
    b: Sequence[np.ndarray],
    baseline: str,
    method: str,
) -> dict[str, object]:
    return {
        "Test accuracy, %": _accuracy(b),
        "Baseline, %": _accuracy(a),
        "Difference, points": round(found.points, 2),
        "95 % interval, points": f"{found.low:+.2f} to {found.high:+.2f}",
        "Test images": found.n,
        "In words": found.words(baseline, method),
    }


def _accuracy(side: Sequence[np.ndarray]) -> str:
    share = float(np.mean([right.mean() for right in side]))
    low, high = wilson_interval(share, len(side[0]))
    return f"{100 * share:.2f} ({100 * low:.1f} to {100 * high:.1f})"


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
