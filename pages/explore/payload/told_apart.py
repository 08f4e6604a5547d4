"""Which picks can be told apart: what the browser needs to know of every pair. Pure.

Points that were looked at on the same test images are compared image by image; how often one names
an image right that another does not is all that takes (`qcore.paired`). Of other points the search
split gives a loss with its standard error, and pairs are compared as if their errors added up,
which never tells apart what cannot be.
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
        answers: Point number to which test images it named right, bool (n,).
    """
    wanted = rows.loc[rows["selectable"], "config_point"]
    known = [number for number in dict.fromkeys(wanted.tolist()) if number in answers]
    if not known:
        return []
    counts = [len(answers[number]) for number in known]
    usual = max(set(counts), key=counts.count)
    return [n for n, count in zip(known, counts, strict=True) if count == usual][:MOST_PAIRED]


def pairs(numbers: list[int], answers: Mapping[int, np.ndarray]) -> dict[str, Any]:
    """How many images each point names right that each other does not.

    Args:
        numbers: Of `paired_points`.
        answers: As there.

    Returns:
        "n" images; "count" points; "only", u4 (count, count) row by row: right in the row's point
        and wrong in the column's.
    """
    if not numbers:
        return {"n": 0, "count": 0, "only": packed([], "u4")}
    right = np.array([answers[number] for number in numbers], np.float32)
    only = right @ (1 - right).T
    return {"n": right.shape[1], "count": len(numbers), "only": packed(only.round(), "u4")}


def places_of(rows: pd.DataFrame, numbers: list[int]) -> dict[str, Any]:
    """Per row of one method: its place among the paired points, or -1, and its search loss."""
    places = {number: place for place, number in enumerate(numbers)}
    spread = (rows[SEARCH_LOSS_HIGH] - rows[SEARCH_LOSS_LOW]).to_numpy(float) / (2 * Z95)
    return {
        "pair": packed([places.get(number, -1) for number in rows["config_point"]], "i4"),
        "slost": packed(rows[SEARCH_LOSS], "f8"),
        "serror": packed(spread, "f8"),
    }
