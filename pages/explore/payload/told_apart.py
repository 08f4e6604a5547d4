"""Which picks can be told apart: what the browser needs to know of every pair. Pure.

Points that were looked at on the same test samples are compared sample by sample. Where these are
right or wrong, how often one is right where another is not is all that takes (`qcore.paired`);
where each has a number, the t value of their mean difference is (`qcore.graded`). Of other points
the search split gives a loss with its standard error, and pairs are compared as if their errors
added up, which never tells apart what cannot be.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pages.explore.payload.looks import packed
from pages.shared.columns import SEARCH_LOSS, SEARCH_LOSS_HIGH, SEARCH_LOSS_LOW
from qcore.problem import Z95

MOST_PAIRED = 240
"""Most points that are compared image by image; the matrix of their pairs is sent."""


def paired_points(rows: pd.DataFrame, answers: Mapping[int, np.ndarray]) -> list[int]:
    """Numbers of the tested points behind the selectable rows, all on the same test images.

    Args:
        rows: What `picks.drawn` returned.
        answers: Point number to its test samples' scores: bool (n,), right or not, or float32 (n,).
    """
    wanted = rows.loc[rows["selectable"], "config_point"]
    known = [number for number in dict.fromkeys(wanted.tolist()) if number in answers]
    if not known:
        return []
    counts = [len(answers[number]) for number in known]
    usual = max(set(counts), key=counts.count)
    return [n for n, count in zip(known, counts, strict=True) if count == usual][:MOST_PAIRED]


def pairs(numbers: list[int], answers: Mapping[int, np.ndarray]) -> dict[str, Any]:
    """How the scores of every two points differ, sample by sample.

    Args:
        numbers: Of `paired_points`.
        answers: As there.

    Returns:
        "n" samples; "count" points; row by row either "only", u4 (count, count): right in the row's
        point and wrong in the column's; or "t", f4 (count, count): of the row's mean score less the
        column's.
    """
    if not numbers:
        return {"n": 0, "count": 0, "only": packed([], "u4")}
    rows = [answers[number] for number in numbers]
    common = {"n": len(rows[0]), "count": len(numbers)}
    if rows[0].dtype != bool:
        return {**common, "t": packed(_t_values(np.array(rows, float)), "f4")}
    right = np.array(rows, np.float32)
    only = right @ (1 - right).T
    return {**common, "only": packed(only.round(), "u4")}


def _t_values(scores: np.ndarray) -> np.ndarray:
    """Student's t of the mean difference of every two rows (n,); infinite without spread."""
    count, n = scores.shape
    found = np.zeros((count, count))
    for at in range(count):
        change = scores[at] - scores[at + 1 :]
        mean = change.mean(axis=1)
        error = change.std(axis=1, ddof=1) / np.sqrt(n) if n > 1 else np.zeros(len(mean))
        with np.errstate(divide="ignore", invalid="ignore"):
            found[at, at + 1 :] = np.where(mean == 0, 0.0, mean / error)
    return found - found.T


def places_of(rows: pd.DataFrame, numbers: list[int]) -> dict[str, Any]:
    """Per row of one method: its place among the paired points, or -1, and its search loss."""
    places = {number: place for place, number in enumerate(numbers)}
    spread = (rows[SEARCH_LOSS_HIGH] - rows[SEARCH_LOSS_LOW]).to_numpy(float) / (2 * Z95)
    return {
        "pair": packed([places.get(number, -1) for number in rows["config_point"]], "i4"),
        "slost": packed(rows[SEARCH_LOSS], "f8"),
        "serror": packed(spread, "f8"),
    }
