"""What hand-edited bits cost beside where they began, and the runs the workbench asks for. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from pages.shared.columns import (
    ACTIVATION_BITS,
    SEARCH_HIGH,
    SEARCH_LOW,
    SEARCH_N,
    SEARCH_SCORE,
    TEST_HIGH,
    TEST_LOW,
    TEST_N,
    TEST_SCORE,
    WEIGHT_BITS,
)
from pages.shared.judged import CLASSIFIER, Words
from pages.shared.points_table import allocation_facts
from pages.shared.text import cost_text, mean_text, scale_of, significant
from qcore.allocation import FLOAT_BITS, BitAllocation, ModelSpec
from qcore.costs import COSTS, costs_of
from qcore.costs.formulas import CostModel
from qcore.costs.smaller import smaller_text
from qcore.models.catalog import DATASETS, read_models
from qcore.problem import Scores
from qcore.run_spec import RunSpec
from qcore.setting import Setting
from store import Run

QUICK: dict[str, Any] = {"calibration_images": 512, "search_images": 512}
"""Images for the first measurement of a model: there is none yet to be compared with."""

SENSITIVITY_WIDTHS = (2, 3, 4, 5, 6, 7, 8)
"""Bit-widths that a sensitivity asked for here knows, and those in use."""


def costs_table(
    model: ModelSpec,
    now: BitAllocation,
    start: BitAllocation,
    costs: Mapping[str, CostModel] = COSTS,
) -> pd.DataFrame:
    """One row per cost that all have: these bits, the starting point, 8 bits, and the change."""
    eight = BitAllocation.uniform(model.layers, 8, 8)
    mine, before, full = (costs_of(model, bits, costs) for bits in (now, start, eight))
    rows = [
        {
            "Cost": costs[name].title,
            "These bits": cost_text(costs[name], mine[name]),
            "Starting point": cost_text(costs[name], before[name]),
            "Change, %": _change(mine[name], before[name]),
            "Against float and 8 bits": smaller_text(costs[name], model, mine[name]),
            "8/8 bits": cost_text(costs[name], full[name]) if name in full else "",
        }
        for name in mine
        if name in before
    ]
    return pd.DataFrame(rows)


def _change(now: float, before: float) -> float | None:
    return None if before == 0 else round(100 * (now - before) / before, 1)


def change_text(cost: CostModel, now: float, before: float) -> str | None:
    """The change of a cost with sign and unit, "-1.25 KiB"; None where nothing changed."""
    if now == before:
        return None
    factor, unit = scale_of(cost, abs(now - before))
    return f"{'-' if now < before else '+'}{significant(abs(now - before) / factor)} {unit}"


def mean_bits_text(model: ModelSpec, allocation: BitAllocation) -> str:
    """Mean bits of weights and of activations: "3.21 / float"."""
    facts = allocation_facts(allocation, model)
    means = (facts[WEIGHT_BITS], facts[ACTIVATION_BITS])
    return " / ".join(mean_text(bits).removesuffix(".00") for bits in means)


def groups(mine: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs by what must be equal for accuracies to be compared, most evaluations first."""
    found: dict[str, list[Run]] = {}
    for run in mine:
        found.setdefault(Setting.of(run.spec).measuring.words, []).append(run)
    order = sorted(found, key=lambda name: -sum(run.evaluations for run in found[name]))
    return {name: found[name] for name in order}


def measure_like(model: ModelSpec, compared: Sequence[Run]) -> RunSpec | None:
    """How to measure bits of a model: as its newest run did, else on its own small data set.

    Returns:
        None where nobody has said yet which images to measure on.
    """
    if compared:
        return max(compared, key=lambda run: run.id).spec
    models = read_models()
    fitting = models[model.name].datasets if model.name in models else ()
    for name in fitting:
        if name in DATASETS and not DATASETS[name].needs_path:
            return RunSpec(model.name, name, "given", **QUICK)
    return None


def sensitivity_spec(like: RunSpec, allocation: BitAllocation) -> RunSpec:
    """The cheapest run that leaves a measured sensitivity behind: one layer at a time, one point.

    Args:
        like: Gives model, data and images.
        allocation: Bits in use; the sensitivity will know them too.
    """
    weights = {bits.weight for bits in allocation.values()} - {FLOAT_BITS}
    inputs = {bits.activation for bits in allocation.values()} - {FLOAT_BITS}
    return replace(
        like,
        search="greedy",
        params={"sensitivity": "kl", "points": 1},
        limits={},
        weight_bits=tuple(sorted({*SENSITIVITY_WIDTHS, *weights})),
        activation_bits=tuple(sorted({*SENSITIVITY_WIDTHS, *inputs})) if inputs else (FLOAT_BITS,),
        pin_first_last=None,
        reported=1,
        tuning=False,
    )


def is_sensitivity(spec: RunSpec) -> bool:
    """True for a run as `sensitivity_spec` asks for."""
    return spec.search == "greedy" and spec.params.get("points") == 1


def measured_rows(frame: pd.DataFrame, allocation: BitAllocation) -> pd.DataFrame:
    """Rows of `points_frame` that measured exactly these bits, those with files first."""
    rows = frame[frame["digest"] == allocation.digest]
    return rows.sort_values("config_point", ascending=False, kind="stable")


def score_words(row: Mapping[str, object]) -> tuple[float, float, float, int, str]:
    """(score, low, high, samples, split) of a row, the test split where it was looked at."""
    names = (TEST_SCORE, TEST_LOW, TEST_HIGH, TEST_N)
    split = "test"
    if pd.isna(row[TEST_SCORE]):
        names = (SEARCH_SCORE, SEARCH_LOW, SEARCH_HIGH, SEARCH_N)
        split = "search"
    score, low, high, n = (float(str(row[name])) for name in names)
    return score, low, high, int(n), split


def float_words(
    row: Mapping[str, object],
    floats: tuple[Scores | None, Scores | None],
    words: Words = CLASSIFIER,
) -> str:
    """What the float network scores on the samples of `score_words`: ", float 93.04 %".

    Args:
        row: A row of `points_frame`.
        floats: The float network's scores on the search and on the test split, where known.
        words: What scores are called.

    Returns:
        "" where it was not scored on as many samples, and so not on the same.
    """
    _, _, _, n, split = score_words(row)
    scores = floats[split == "test"]
    if scores is None or scores.n != n:
        return ""
    return f", float {words.value(words.factor * scores.headline, 2)}"
