"""The README's tables of picks, from what `benchmarks.picks` found. Pure but for `write`.

`python -m benchmarks.picks` writes them.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.allocation.picked import METHODS, MODELS
from benchmarks.allocation.picks_seeds import EVERY

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "picks.json"
README = ROOT / "README.md"
START, END = "<!-- picks -->\n", "<!-- /picks -->"


def results() -> dict[str, Any]:
    """What is on file."""
    found: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return found


def markdown(found: Mapping[str, Any]) -> str:
    """Both tables: what the rule saves, and what promises and seeds are worth."""
    return f"{_table(_rules(found))}\n{_table(_claims(found))}"


def with_tables(text: str, found: Mapping[str, Any]) -> str:
    """The README's text with the tables as measured."""
    before, _, rest = text.partition(START)
    _, end, after = rest.partition(END)
    return f"{before}{START}{markdown(found)}{end}{after}"


def write(found: Mapping[str, Any]) -> None:
    """Write the README."""
    text = README.read_text(encoding="utf-8")
    README.write_text(with_tables(text, found), encoding="utf-8")


def _table(rows: list[list[str]]) -> str:
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _rules(found: Mapping[str, Any]) -> list[list[str]]:
    known = {(row["model"], row["method"]): row for row in found["rules"]}
    rows = [["test loss, points", *MODELS]]
    for method in (*METHODS, EVERY):
        cells = [_saved(known.get((model, method))) for model in MODELS]
        rows.append([method, *cells])
    return rows


def _saved(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "-"
    old, new = (_points(loss) for loss in row["test"])
    low, high = (_points(end, sign=True) for end in row["interval"])
    return f"{old} / {new}, {_points(row['saved'], sign=True)} ({low} to {high})"


def _said(row: Mapping[str, Any] | None, rule: int) -> str:
    return "-" if row is None else f"{_points(row['search'][rule])} / {_points(row['test'][rule])}"


def _points(value: float, sign: bool = False) -> str:
    # no minus before what rounds to nothing
    return f"{round(value, 2) + 0.0:{'+' if sign else ''}.2f}"


def _claims(found: Mapping[str, Any]) -> list[list[str]]:
    rows = [["", *MODELS, EVERY]]
    known = {row["model"]: row for row in found["rules"] if row["method"] == EVERY}
    for at, words in enumerate(("accuracy", "KL")):
        cells = [_said(known.get(model), at) for model in (*MODELS, EVERY)]
        rows.append([f"picks by {words}: loss on the search split / on test images", *cells])
    ranks = {row["model"]: row for row in found["ranks"]}
    for rule, words in (("accuracy", "search accuracy"), ("kl", "search KL")):
        cells = [_rank(ranks.get(model), rule) for model in MODELS]
        rows.append([f"rank correlation of test loss with {words}", *cells, "-"])
    for key, words in PROMISED:
        cells = [_share(found["promises"].get(m), key, "made") for m in (*MODELS, EVERY)]
        rows.append([words, *cells])
    for key, words in (
        ("asked", "promises that fail where the truth is known, %: mean (worst front)"),
        ("hardest", "the same at the hardest limits"),
    ):
        cells = [_failing(found["known truth"].get(model), key) for model in MODELS]
        rows.append([words, *cells, "-"])
    for key, words in APART:
        cells = [_share(found["seeds"].get(m), key, "comparisons") for m in (*MODELS, EVERY)]
        rows.append([words, *cells])
    cells = [_share(found["seeds"].get(m), "as KL says", "alone") for m in (*MODELS, EVERY)]
    rows.insert(-3, ["of these, the lower search KL loses less", *cells])
    for key, whole, words in AS_METHODS:
        cells = [_share(found["seeds"].get(m), key, whole) for m in (*MODELS, EVERY)]
        rows.append([words, *cells])
    return rows


PROMISED = (
    ("kept", "promises kept on the other half"),
    ("true", "promises kept on all images"),
    ("broken", "promises shown broken on the other half"),
)
APART = (
    ("alone", "networks of two seeds told apart, each comparison alone"),
    ("by budget", "networks of two seeds told apart, corrected within a budget"),
    ("by network", "networks of two seeds told apart, corrected within a network"),
    ("coins", "the same alone, were both sides equally good"),
)

AS_METHODS = (
    ("as methods", "with a spread", "two seeds taken for two methods, each comparison alone"),
    ("different", "differing", "different methods told apart, three seeds each"),
)


def _rank(row: Mapping[str, Any] | None, rule: str) -> str:
    if row is None:
        return "-"
    low, high = row[f"{rule} interval"]
    return f"{row[rule]:.2f} ({low:.2f} to {high:.2f}), {row['points']} points"


def _share(row: Mapping[str, Any] | None, key: str, whole: str) -> str:
    if row is None or not row[whole]:
        return "-"
    return f"{round(row[key], 1):,g} of {row[whole]:,} ({100 * row[key] / row[whole]:.1f} %)"


def _failing(row: Mapping[str, Any] | None, key: str) -> str:
    if row is None or row[key] is None:
        return "-"
    return f"{100 * row[key]:.1f} ({100 * row[f'{key} worst']:.1f})"
