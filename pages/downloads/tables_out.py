"""What was measured, as files: for a spreadsheet, for a program, for a paper. Pure."""

import io
import json
import re
from collections.abc import Collection, Iterable, Mapping

import pandas as pd

from pages.shared import frames
from pages.shared.judged import CLASSIFIER, Words, words_of
from qcore.allocation import ModelSpec
from qcore.costs import COSTS, costs_of, mean_weight_bits
from qcore.costs.formulas import CostModel
from qcore.problem import Scores
from store import Run, StoredPoint

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet would run a text that starts so."""

_LATEX = {
    "\\": r"\textbackslash{}",
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}
_MINUS = re.compile(r"(?<![\w.])-(?=\d)")


def latex(text: str) -> str:
    """Escape plain text for LaTeX; line breaks become spaces."""
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))


def latex_table(table: pd.DataFrame, numbers: Collection[str] = ()) -> str:
    """A table in the style of booktabs, every cell escaped.

    Args:
        table: Cells are written as they are; what is missing stays empty.
        numbers: Columns set flush right; a minus before a figure becomes a minus sign.

    Returns:
        A `tabular` with a comment that names the package it needs, ending in a line break.
    """

    def line(cells: Iterable[object]) -> str:
        return " & ".join(cells_of(cells)) + r" \\"

    def cells_of(cells: Iterable[object]) -> Iterable[str]:
        for column, cell in zip(table.columns, cells, strict=True):
            written = "" if cell is None or cell != cell else latex(str(cell))
            yield _MINUS.sub("$-$", written) if column in numbers else written

    columns = "".join("r" if column in numbers else "l" for column in table.columns)
    rows = [line(row) for row in table.itertuples(index=False, name=None)]
    head = " & ".join(latex(str(column)) for column in table.columns) + r" \\"
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            head,
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def front_csv(frame: pd.DataFrame, cost: CostModel, words: Words = CLASSIFIER) -> bytes:
    """Every method's front of the score against one cost, one row a point, in UTF-8.

    Args:
        frame: `points_frame`.
        cost: The cost.
        words: What figures are called, where all of them are of one judge.
    """
    parts = [frames.front_of(rows, cost) for _, rows in frame.groupby("method", sort=False)]
    front = pd.concat(parts) if parts else frame
    out = front.drop(columns=["allocation", "config_point"])
    out["bits"] = [json.dumps(allocation.to_json()) for allocation in front["allocation"]]
    return spreadsheet(words.heads(out))


def spreadsheet(table: pd.DataFrame) -> bytes:
    """A table as CSV; texts that a spreadsheet would run get a leading apostrophe."""
    out = table.copy()
    for column in out.columns[[not pd.api.types.is_numeric_dtype(kind) for kind in out.dtypes]]:
        out[column] = [
            f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value
            for value in out[column]
        ]
    return out.to_csv(index=False, lineterminator="\n").encode("utf-8", "replace")


def all_points(
    points: Iterable[StoredPoint],
    runs: Mapping[int, Run],
    model: ModelSpec,
    costs: Mapping[str, CostModel] = COSTS,
) -> pd.DataFrame:
    """One row for every stored point of some runs, in the order they came.

    Returns:
        Columns: point, run, search, seed, data, stage, allocation (digest), bits (JSON text:
        layer name to [weight bits, activation bits]), mean_weight_bits, one column per cost named
        after it, search_ and test_ n, accuracy, agreement, kl (nats), loss (nats), low and high
        (95 % interval of accuracy, or of agreement without labels), device, seconds. Figures are as
        the run's judge gives them: where that is not "classes", a column "judge" says which and in
        which units. Points of another network have no costs.
    """
    rows = []
    named = any(not words_of(run.spec.judge).usual for run in runs.values())
    for stored in points:
        point, spec = stored.point, runs[stored.run_id].spec
        fits = set(point.allocation) == set(model.names)
        priced = costs_of(model, point.allocation, costs) if fits else dict.fromkeys(costs)
        rows.append(
            {
                "point": stored.id,
                "run": stored.run_id,
                "search": spec.search,
                "seed": spec.seed,
                "data": spec.data,
                "stage": point.stage,
                "allocation": point.allocation.digest,
                "bits": json.dumps(point.allocation.to_json()),
                "mean_weight_bits": mean_weight_bits(model, point.allocation) if fits else None,
                **priced,
                **_scores("search", point.search),
                **_scores("test", point.test),
                **({"judge": _judge(words_of(spec.judge, [stored]))} if named else {}),
                "device": point.device,
                "seconds": point.seconds,
            }
        )
    return pd.DataFrame(rows)


def _judge(words: Words) -> str:
    """How scores and divergences are to be read: "Signal (accuracy: PSNR, dB; kl: nats)"."""
    factor = " / 100" if words.factor == 100 else ""
    score = f"{words.name}, {words.symbol}{factor}"
    return f"{words.said or 'Classes'} (score: {score}; kl: {words.unit})"


def _scores(name: str, scores: Scores | None) -> dict[str, float | int | None]:
    low, high = (None, None) if scores is None else scores.interval
    found = {
        key: getattr(scores, key, None) for key in ("n", "accuracy", "agreement", "kl", "loss")
    }
    return {f"{name}_{key}": value for key, value in (found | {"low": low, "high": high}).items()}


def parquet(table: pd.DataFrame) -> bytes:
    """A table as a Parquet file."""
    out = io.BytesIO()
    table.to_parquet(out, index=False)
    return out.getvalue()
