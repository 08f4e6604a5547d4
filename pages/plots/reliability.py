"""Whether a sensitivity's predictions may be trusted: predicted damage beside measured scores.

Predictions add up one layer's damage after another's; a network need not. So they are checked
against what was measured, by rank: Kendall's tau-b (Kendall 1945) between the predicted damage and
the damage that was measured of the same allocation, the divergence of its outputs from the float
network's. Accuracies are shown beside it but do not judge: most allocations worth a look differ by
less than a thousand images can tell, so even a perfect prediction could not rank them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from pages.plots.style import GREY, lay_out, plain, style_of
from pages.shared.columns import DAMAGE, SEARCH_HIGH, SEARCH_LOW, SEARCH_N, SEARCH_SCORE
from pages.shared.judged import CLASSIFIER, Words
from pages.shared.text import counted
from qcore.allocation import FLOAT_BITS, WEIGHT_WIDTHS, BitAllocation, ModelSpec
from qcore.problem import PTQ, SensitivityTable
from qcore.run_spec import method_label
from store import Run, StoredPoint

ENOUGH = 30
"""Measured allocations it takes to judge a sensitivity."""

WANTED_TAU = 0.5
"""Rank correlation from which predictions are shown."""

MOST = 2000
"""Points compared; of more, this many are drawn with a fixed seed."""

MEASURED = "Measured damage, nats"
"""Column of the divergence from the float network, or of the loss for kind "loss"."""

NEAREST = 20
"""Measured allocations with the nearest predictions that stand for an expected score."""


@dataclass(frozen=True)
class Reliability:
    """How well a sensitivity ranks what was measured.

    Attributes:
        tau: Kendall's tau-b of predicted and measured damage, -1..1: 1 where every two allocations
            are ranked alike; None where it is undefined, because fewer than two differ.
        n: Allocations that were predicted and measured.
        frame: One row each: "point", "run", DAMAGE (unit of the table), MEASURED (nats),
            SEARCH_SCORE, SEARCH_LOW, SEARCH_HIGH (as scores are shown), SEARCH_N (samples).
        score_tau: The same of the predicted damage, negated, and the measured score.
        named: What figures are called.
    """

    tau: float | None
    n: int
    frame: pd.DataFrame
    score_tau: float | None = None
    named: Words = CLASSIFIER


def reliability(
    table: SensitivityTable,
    model: ModelSpec,
    points: Iterable[StoredPoint],
    named: Words = CLASSIFIER,
) -> Reliability:
    """Compare a table's predictions with measured points of one setting.

    Args:
        table: The sensitivity.
        model: Whose layers it is of.
        points: Stored points, all measured on the same images. Only those scored on the whole
            search split with the weights as they came (stage PTQ) are compared, each allocation
            once, and those whose bits the table does not know are left out.
        named: What their figures are called.
    """
    factor = named.factor
    kept: dict[str, StoredPoint] = {}
    names = set(model.names)
    for stored in points:
        point = stored.point
        if point.stage == PTQ and point.images is None and set(point.allocation) == names:
            kept.setdefault(point.allocation.digest, stored)
    chosen = list(kept.values())
    if len(chosen) > MOST:
        places = np.random.default_rng(0).choice(len(chosen), MOST, replace=False)
        chosen = [chosen[place] for place in sorted(places)]
    damage = damages(table, model, [stored.point.allocation for stored in chosen])
    rows = []
    for stored, predicted in zip(chosen, damage, strict=True):
        if np.isfinite(predicted):
            scores = stored.point.search
            low, high = scores.interval
            measured = (
                scores.loss if table.kind == "loss" and scores.loss is not None else scores.kl
            )
            shown = (factor * scores.headline, factor * low, factor * high, scores.n)
            rows.append((stored.id, stored.run_id, float(predicted), measured, *shown))
    columns = ["point", "run", DAMAGE, MEASURED, SEARCH_SCORE, SEARCH_LOW, SEARCH_HIGH, SEARCH_N]
    frame = pd.DataFrame(rows, columns=columns)
    found, judge, score = (frame[c].to_numpy(float) for c in (DAMAGE, MEASURED, SEARCH_SCORE))
    taus = kendall_tau(found, judge), kendall_tau(-found, score)
    return Reliability(taus[0], len(frame), frame, taus[1], named)


def damages(
    table: SensitivityTable, model: ModelSpec, allocations: Sequence[BitAllocation]
) -> np.ndarray:
    """Predicted damage of allocations, in the table's unit.

    Returns:
        float64 (len(allocations),); NaN where the table lacks a layer's bits.
    """
    total = np.zeros(len(allocations))
    for name in model.names:
        for part, scores in (("weight", table.weight), ("activation", table.activation)):
            known = np.full(max(WEIGHT_WIDTHS) + 1, np.nan)
            known[FLOAT_BITS] = 0.0
            for width, score in scores.get(name, {}).items():
                known[width] = score
            total += known[[getattr(bits[name], part) for bits in allocations]]
    return total


def kendall_tau(first: np.ndarray, second: np.ndarray) -> float | None:
    """Kendall's tau-b of two equally long rows of numbers; None where one of them is constant."""
    above = np.triu_indices(len(first), 1)
    one = np.sign(first[:, None] - first[None, :])[above]
    two = np.sign(second[:, None] - second[None, :])[above]
    scale = np.count_nonzero(one) * np.count_nonzero(two)
    return None if scale == 0 else float((one * two).sum() / np.sqrt(scale))


def trusted(found: Reliability) -> bool:
    """False where predictions were checked on enough allocations and rank them badly."""
    return found.n < ENOUGH or (found.tau is not None and found.tau >= WANTED_TAU)


def words(found: Reliability) -> str:
    """What to tell the reader about a sensitivity's predictions."""
    measured = counted(found.n, "measured allocation")
    if found.n < ENOUGH:
        return f"Not checked yet: {measured} of the {ENOUGH} it takes."
    if found.tau is None:
        return f"All {measured} are predicted or measured alike; nothing can be ranked."
    checked = counted(found.n, "allocation")
    verdict = f"Kendall rank correlation {found.tau:.2f} with the measured damage of {checked}"
    if trusted(found):
        return f"{verdict}: the ranking holds."
    return f"{verdict}, below the {WANTED_TAU:g} it takes: predictions are hidden."


def score_words(found: Reliability) -> str:
    """How well predicted damage ranks scores, and why that is less; "" where undefined."""
    if found.score_tau is None or not found.n:
        return ""
    images = int(found.frame[SEARCH_N].median())
    return (
        f"With {found.named.name} the rank correlation is {found.score_tau:.2f}: on {images:,} "
        f"{found.named.samples}, "
        "allocations whose intervals overlap are in no certain order."
    )


def expected_score(found: Reliability, damage: float) -> tuple[float, float, float, int] | None:
    """Scores that allocations predicted alike were measured to have.

    Returns:
        (lowest, median, highest, count) of shown scores over the NEAREST allocations by predicted
        damage; None where predictions are unchecked, not trusted, or the damage is outside of what
        was ever measured.
    """
    known = found.frame[DAMAGE].to_numpy(float)
    if found.n < ENOUGH or not trusted(found) or not known.min() <= damage <= known.max():
        return None
    near = np.argsort(np.abs(known - damage), kind="stable")[:NEAREST]
    scores = found.frame[SEARCH_SCORE].to_numpy(float)[near]
    return float(scores.min()), float(np.median(scores)), float(scores.max()), len(near)


def reliability_figure(
    found: Reliability,
    unit: str,
    runs: Mapping[int, Run],
    *,
    score_title: str | None = None,
    here: float | None = None,
) -> go.Figure:
    """Measured against predicted, one mark per measured allocation.

    Args:
        found: What `reliability` returns.
        unit: Unit of the predicted damage.
        runs: Run id to run; gives each mark its method.
        score_title: Draw the measured score, with its interval, under this title of the y axis;
            None draws the measured damage.
        here: Predicted damage of the allocation in hand, drawn as a line.
    """
    figure, column = go.Figure(), MEASURED if score_title is None else SEARCH_SCORE
    labels = found.frame["run"].map(
        {number: method_label(run.spec.search) for number, run in runs.items()}
    )
    for method, rows in found.frame.groupby(labels, sort=False):
        style = style_of(str(method))
        figure.add_scatter(
            x=rows[DAMAGE].tolist(),
            y=rows[column].tolist(),
            name=plain(str(method)),
            mode="markers",
            opacity=0.75,
            marker={"color": style["colour"], "symbol": style["marker"], "size": 7},
            error_y=None if score_title is None else _intervals(rows),
            hovertemplate=f"predicted %{{x:.3g}} {plain(unit)}, measured %{{y:.4g}}<extra></extra>",
        )
    if here is not None:
        figure.add_vline(x=here, line={"color": GREY, "dash": "dash"}, annotation_text="these bits")
    lay_out(figure, 420)
    figure.update_layout(hovermode="closest")
    figure.update_xaxes(title_text=f"Predicted damage, {plain(unit)}", **_axis(found.frame[DAMAGE]))
    if score_title is None:
        title = f"Measured damage, {found.named.unit}"
        figure.update_yaxes(title_text=title, **_axis(found.frame[MEASURED]))
    else:
        figure.update_yaxes(title_text=score_title)
    return figure


def _axis(values: pd.Series) -> dict[str, object]:
    if not len(values) or float(values.min()) <= 0:
        return {"type": "linear"}
    return {"type": "log", "dtick": 1, "exponentformat": "power"}


def _intervals(rows: pd.DataFrame) -> dict[str, object]:
    return {
        "type": "data",
        "symmetric": False,
        "array": (rows[SEARCH_HIGH] - rows[SEARCH_SCORE]).tolist(),
        "arrayminus": (rows[SEARCH_SCORE] - rows[SEARCH_LOW]).tolist(),
        "thickness": 0.6,
        "width": 0,
    }
