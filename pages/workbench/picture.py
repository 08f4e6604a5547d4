"""The picture of the bits on the page: what it is given of predictions, and what comes back."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from pages.plots import reliability
from pages.shared import session
from pages.shared.columns import DAMAGE, SEARCH_N, SEARCH_SCORE
from pages.shared.judged import first_large
from pages.workbench import payload
from pages.workbench.bench import Bench, hear
from pages.workbench.calibration import ENOUGH, Calibration, calibrate
from pages.workbench.component import bit_bars
from qcore.allocation import BitAllocation, ModelSpec
from qcore.problem import Scores, SensitivityTable
from store import Run, Store


def bit_picture(
    store: Store,
    model: ModelSpec,
    bench: Bench,
    shown: BitAllocation,
    compared: Sequence[Run],
    table: SensitivityTable | None,
    found: reliability.Reliability | None,
) -> None:
    """Draw the bars; an edit in them is a step of the bench.

    Args:
        store: The database.
        model: Whose bits are edited.
        bench: What is edited.
        shown: The bits to draw.
        compared: Runs of one setting, whose points tell what damage loses.
        table: The sensitivity that predicts; None where there is none.
        found: How well it ranks what was measured.
    """
    floats = None
    if compared:
        floats, _ = session.floats_of(store, compared[0])
    prediction = prediction_of(model, table, found, floats)
    body = payload.bars_payload(model, bench.now, shown, prediction, bench.heard)
    bit_bars(body, partial(hear, model))


def prediction_of(
    model: ModelSpec,
    table: SensitivityTable | None,
    found: reliability.Reliability | None,
    floats: Scores | None,
) -> Mapping[str, Any]:
    """What is predicted of these layers, in lost score where measured points tell it.

    Args:
        model: Whose layers they are.
        table: The sensitivity that predicts.
        found: How well it ranks what was measured.
        floats: The float network's scores on the search split, where they are known.
    """
    if table is None or found is None:
        return payload.not_predicted(
            "Nothing is predicted: no sensitivity of this model is stored."
        )
    words = reliability.words(found)
    if not reliability.trusted(found):
        return payload.not_predicted(words)
    named = found.named
    calibration = _calibration(found, floats)
    if calibration is None:
        told = f"Damage is in {table.unit}: {_untold(found, floats)}"
    else:
        told = (
            f"{first_large(named.lost)}: loss against the float network on the same search "
            f"{named.samples}, fitted to "
            f"{calibration.n:,} measured allocations, with the 95 % interval of a single one."
        )
    kind = (
        f"Predicted from {table.kind} sensitivity, not measured; between the widths it knows, "
        "damage is interpolated."
    )
    return payload.predicted(table, model, calibration, f"{kind} {told} {words}", named.lost)


def _untold(found: reliability.Reliability, floats: Scores | None) -> str:
    """Why damage cannot be told in lost score, as a sentence's end."""
    lost = found.named.lost
    if not found.named.has_loss:
        return f"nothing of this network is scored in {lost}."
    if floats is None:
        return (
            f"the float network was not scored on the same {found.named.samples}, so that there is "
            "no loss to fit."
        )
    count = int((found.frame[SEARCH_N] == floats.n).sum())
    return (
        f"to tell it in {lost} takes {ENOUGH} allocations of different damage, measured on the "
        f"{floats.n:,} search {found.named.samples} that the float network was; there are "
        f"{count:,}."
    )


def _calibration(found: reliability.Reliability, floats: Scores | None) -> Calibration | None:
    if floats is None or not found.named.has_loss:
        return None
    # a loss is between scores on the same samples
    rows = found.frame[found.frame[SEARCH_N] == floats.n]
    whole = found.named.factor * floats.headline
    return calibrate(rows[DAMAGE].tolist(), (whole - rows[SEARCH_SCORE]).tolist())
