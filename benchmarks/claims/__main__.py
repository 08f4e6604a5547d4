"""Every claim of the five systems' papers, with what was run, its effect and its verdict.

    python -m benchmarks.claims

Measures nothing: reads the cells of the benchmarks in benchmarks/results, prints the page and
writes docs/claims.md. Each benchmark computes only cells that are missing, and with --again those
that older code measured; about 9 CPU hours for all of them on resnet8.
"""

import argparse

from benchmarks.cells import current, finished
from benchmarks.claims import page
from benchmarks.claims.digest import ROOT, code_digest
from benchmarks.claims.papers import CLAIMS, PAPERS

RESULTS = ROOT / "benchmarks" / "results"
DOCUMENT = ROOT / "docs" / "claims.md"
MODELS = ("resnet8", "resnet20", "mobilenet")

HEAD = """# What the papers claim, and what came of it here

Written by `python -m benchmarks.claims`. A line is one comparison that was made; on which network
and for how long it says itself. "needs" is what was asked of it beforehand, points are of test
accuracy. The interval is Student's over seeds; where it has what was needed inside, nothing is
decided. Trainings are far shorter than the papers', so that a line that does not hold says what
these methods do in so short a time. A digest of the code (without comments and docstrings) is
kept with each cell: "by this code" is said where nothing that computes it has changed since.

"""


def text() -> str:
    """The whole page."""
    cells = {paper.file: current(finished(RESULTS / paper.file)) for paper in PAPERS.values()}
    rows = page.rows_of(cells, MODELS)
    freshness = {
        claim.name: page.fresh(
            cells[PAPERS[claim.paper].file], claim, code_digest(PAPERS[claim.paper].code)
        )
        for claim in CLAIMS
    }
    return f"{HEAD}{page.summary(rows)}\n{page.markdown(rows, freshness)}"


def main() -> None:
    """Print the page and write it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.parse_args()
    found = text()
    DOCUMENT.write_text(found, encoding="utf-8")
    print(found)


if __name__ == "__main__":
    main()
