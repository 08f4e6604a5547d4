"""The page of claims from the verdicts of the benchmarks that measured them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.claims.papers import CLAIMS, PAPERS, Claim
from benchmarks.training import differentiable_verdicts, gradfreebits, switchable_verdicts

Cell = dict[str, Any]

STUDENT = {1: 12.71, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
"""Two-sided 95 % quantile of Student's t, by degrees of freedom."""

PASSES, FAILS, OPEN, SHOWN = "holds", "does not hold", "undecided", "no verdict"

_NEEDS = re.compile(r"needs ([-+0-9.]+)")
_SEEDS = re.compile(r"seeds: ([-+0-9., ]+)\)")


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that was measured of a claim.

    Attributes:
        claim: Which.
        model: On which network.
        verdict: PASSES, FAILS, OPEN where the seeds' interval has what was needed inside, or SHOWN.
        words: What was run and what came of it.
        interval: Half the 95 % interval over seeds, points; None where one seed says nothing of it.
    """

    claim: str
    model: str
    verdict: str
    words: str
    interval: float | None = None


def over_seeds(gains: Sequence[float]) -> float | None:
    """Half the 95 % interval of the mean over seeds, by Student's t; None for a single one."""
    freedom = len(gains) - 1
    if freedom < 1:
        return None
    return STUDENT.get(freedom, 1.96) * float(np.std(gains, ddof=1)) / len(gains) ** 0.5


def row_of(line: str, model: str) -> Row:
    """A verdict's line, "passes: D6 at 2.5 bits, ...: +0.62 points (...; seeds: ...)"."""
    verdict, words = SHOWN, line
    for said, meant in (("passes: ", PASSES), ("FAILS: ", FAILS)):
        if line.startswith(said):
            verdict, words = meant, line.removeprefix(said)
    name, _, rest = words.partition(" ")
    found = _SEEDS.search(rest)
    gains = [float(part) for part in found[1].split(",")] if found else []
    half, needed = over_seeds(gains), _NEEDS.search(rest)
    if half is not None and needed and abs(float(np.mean(gains)) - float(needed[1])) < half:
        verdict = OPEN
    return Row(name.rstrip(","), model, verdict, rest, half)


def rows_of(cells: Mapping[str, Sequence[Cell]], models: Sequence[str]) -> list[Row]:
    """Every verdict of the cells on file.

    Args:
        cells: File name in benchmarks/results to its cells.
        models: Networks to look for; what was measured of none, such as D3, is told once.
    """
    flat = [row["name"] | row["result"] for row in cells["differentiable.jsonl"]]
    found: dict[str, Row] = {}
    for model in models:
        lines = [
            *differentiable_verdicts.verdicts(flat, model),
            *gradfreebits.verdicts(cells["gradfreebits.jsonl"], model),
            *switchable_verdicts.verdicts(cells["switchable.jsonl"], model),
        ]
        for line in lines:
            found.setdefault(line, row_of(line, model))
    known = {claim.name for claim in CLAIMS}
    return [row for row in found.values() if row.claim in known]


def fresh(cells: Sequence[Cell], claim: Claim, digest: str) -> str:
    """Whether the cells of a claim were measured by the code as it is now, in words."""
    mine = [row for row in cells if belongs(row, claim)]
    if not mine:
        return "not measured"
    same = sum(row.get("code") == digest for row in mine)
    if same == len(mine):
        return "by this code"
    known = sum("code" in row for row in mine)
    older = f"{len(mine) - same} of {len(mine)} cells by older code"
    return older if known else f"{older}, from before digests were kept"


def belongs(row: Cell, claim: Claim) -> bool:
    """Whether a cell belongs to a claim: by its name, or as any of its system's."""
    name = row["name"]
    if "claim" in name:
        return str(name["claim"]) == claim.name or (claim.name, name["claim"]) in SHARED
    return (name["system"] == "spnets") == (claim.paper == "spnets")


SHARED = {("D5", "D6"), ("G3", "G1"), ("G1R", "G1"), ("M3", "M4")}
"""Claims that are read off another's cells."""


def markdown(rows: Sequence[Row], freshness: Mapping[str, str]) -> str:
    """The page's tables, a section for each paper.

    Args:
        rows: Of `rows_of`.
        freshness: Name of a claim to words on the code that measured it.
    """
    parts = []
    for key, paper in PAPERS.items():
        lines = [f"\n## {paper.title} (`{key}`)\n\n", f"Measured by `{paper.command}`.\n\n"]
        lines += ["| claim | what was run, and what came of it | 95 % over seeds | verdict |\n"]
        lines += ["|---|---|---|---|\n"]
        for claim in (each for each in CLAIMS if each.paper == key):
            mine = [row for row in rows if row.claim == claim.name]
            head = f"**{claim.name}** {claim.sentence} ({freshness[claim.name]})"
            if not mine:
                lines.append(f"| {head} | - | - | - |\n")
            for place, row in enumerate(mine):
                half = "" if row.interval is None else f"±{row.interval:.2f}"
                words = f"{row.model}: {row.words}".replace("|", "/")
                lines.append(
                    f"| {head if not place else ''} | {words} | {half} | {row.verdict} |\n"
                )
        parts.append("".join(lines))
    return "".join(parts)


def summary(rows: Sequence[Row]) -> str:
    """How many verdicts there are of each kind."""
    kinds = (PASSES, FAILS, OPEN, SHOWN)
    counts = {kind: sum(row.verdict == kind for row in rows) for kind in kinds}
    return (
        f"Of {sum(counts.values()) - counts[SHOWN]} comparisons {counts[PASSES]} hold, "
        f"{counts[FAILS]} do not, and of {counts[OPEN]} the seeds do not tell; "
        f"{counts[SHOWN]} lines only say what was seen."
    )
