"""The caption of a comparison for a paper: what is drawn, on what, and how it was counted. Pure."""

from collections.abc import Sequence

import pandas as pd

from pages.compare.comparable import OBJECTIVES
from pages.shared.hypervolume import Box
from pages.shared.judged import CLASSIFIER, Words, first_large
from pages.shared.text import counted, widths_text
from qcore import __version__
from qcore.problem import Scores
from qcore.ptq.rounding_names import NEAREST
from qcore.quantizer_names import USUAL
from qcore.setting import Setting


def caption(
    setting: Setting,
    table: pd.DataFrame,
    box: Box,
    *,
    float_scores: Scores | None = None,
    equal_at: float | None = None,
    origins: Sequence[str] = (),
    said: Words = CLASSIFIER,
) -> str:
    """Write the caption.

    Args:
        setting: What all runs share.
        table: `compare_tables.summary` of the methods.
        box: What the hypervolume counts.
        float_scores: The float network's scores on the search split.
        equal_at: Evaluations at which hypervolumes were taken; None took them at each run's end.
        origins: Where runs come from that were not made in this database.
        said: What figures are called.

    Returns:
        Sentences of plain text, no line breaks.
    """
    what = said.title if not said.usual else first_large(setting.metric)
    sentences = [
        f"{what} of {setting.model} on {setting.data} against {box.cost.title.lower()} "
        f"({box.cost.unit})",
        f"Allocations were chosen and scored on a search split of {setting.search_images:,} "
        f"training {said.samples}; quantizers were set on "
        f"{counted(setting.calibration_images, said.sample)}",
        "Step lines: points of a run that no other of its points dominates. Bars and brackets of "
        f"single figures: 95 % {'Wilson score ' if said.judge.hits else ''}intervals",
    ]
    if float_scores is not None:
        sentences.append(f"Dashed: the float network, {said.scores(float_scores)}")
    sentences.append("Grey squares: the same bits in every layer")
    if setting.objective in OBJECTIVES:
        sentences.append(f"Searches minimised the {said.aim(setting.objective)}")
    if box.aim != (setting.objective or "kl"):
        sentences.append(
            f"Searches that train minimised the {said.aim(box.aim)}, by which fronts are told"
        )
    sentences.append(f"Bits of activations: {widths_text(setting.activations)}")
    if setting.quantizer != USUAL:
        sentences.append(f"Steps of weights were chosen by the quantizer {setting.quantizer}")
    if setting.rounding != NEAREST:
        sentences.append(f"Codes of weights were chosen by the rounding {setting.rounding}")
    if setting.tuning:
        sentences.append("Methods named tuned had scales and biases tuned without labels")
    rows = "; ".join(_method_words(row) for row in table.to_dict("records"))
    sentences.append(f"Hypervolume ({box.words()}): {rows}")
    if equal_at is not None:
        sentences.append(
            f"It was taken at {counted(round(equal_at), 'evaluation')} of the whole search split"
        )
    if origins:
        sentences.append(f"Some runs were {', '.join(origins)}")
    sentences.append(f"Made with bitdial {__version__}")
    return " ".join(f"{' '.join(sentence.split())}." for sentence in sentences)


def _method_words(row: dict[str, object]) -> str:
    seeds = int(str(row["Seeds"]))
    evaluations = f"{row['Evaluations']:,.0f} evaluations"
    if row["No hypervolume"]:
        return f"{row['Method']} none, {row['No hypervolume']} ({counted(seeds, 'seed')})"
    value = f"{row['Hypervolume']:.4f}"
    if seeds == 1:
        return f"{row['Method']} {value} (1 seed, {evaluations})"
    low, high = (f"{row[f'Hypervolume, {which} seed']:.4f}" for which in ("lowest", "highest"))
    return f"{row['Method']} {value} (median of {seeds} seeds, {low} to {high}, {evaluations} each)"
