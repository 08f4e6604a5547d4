"""The page of claims says what the cells say, and which of them older code measured."""

import json

import numpy as np
import pytest

from benchmarks.cells import compute_missing, current, finished
from benchmarks.claims import __main__ as program
from benchmarks.claims import page
from benchmarks.claims.digest import code_digest, sources, without_words
from benchmarks.claims.papers import CLAIMS, PAPERS, code_of
from qcore.errors import Diverged
from qcore.searches import SEARCHES

LINE = "passes: D6 at 2.5 bits, dq over LSQ: +0.62 points (needs +0.0; seeds: +0.58, +0.60, +0.68)"


def test_the_document_is_what_the_cells_say():
    assert program.DOCUMENT.read_text(encoding="utf-8") == program.text()


def test_every_system_has_a_paper_whose_code_is_there():
    trained = {s.name for s in SEARCHES.values() if s.work is not None}
    assert set(PAPERS) == trained
    assert {claim.paper for claim in CLAIMS} == trained
    for paper in PAPERS.values():
        assert all(path.suffix == ".py" for path in sources(paper.code))
        assert len(code_digest(paper.code)) == 16
    with pytest.raises(FileNotFoundError, match="gone"):
        sources(("qcore/gone.py",))


def test_a_digest_does_not_see_words_and_sees_code():
    code = 'def f(x):\n    """Double."""\n    return 2 * x  # twice\n'
    same = 'def f(x):\n    """Two times."""\n\n    return 2 * x\n'
    assert without_words(code) == without_words(same)
    assert without_words(code) != without_words(code.replace("2 * x", "3 * x"))


def test_a_verdict_is_undecided_where_the_seeds_allow_both():
    row = page.row_of(LINE, "resnet8")
    assert (row.claim, row.verdict) == ("D6", page.PASSES)
    gains = [0.58, 0.60, 0.68]
    # Student's interval of a mean of three
    assert row.interval == pytest.approx(4.303 * np.std(gains, ddof=1) / 3**0.5)
    near = LINE.replace("+0.58, +0.60, +0.68", "-0.30, +0.60, +1.50")
    assert page.row_of(near, "m").verdict == page.OPEN
    failed = near.replace("passes", "FAILS")
    assert page.row_of(failed, "m").verdict == page.OPEN
    alone = "FAILS: G2 seed 0, worst: +1.42 points (needs +5.0; seeds: +1.42)"
    assert (page.row_of(alone, "m").verdict, page.row_of(alone, "m").interval) == (page.FAILS, None)
    assert page.row_of("D7, 3 epochs: 90.7 %", "m").verdict == page.SHOWN


def test_what_older_code_measured_is_said_and_measured_again_when_asked(tmp_path):
    path, name = tmp_path / "cells.jsonl", {"claim": "D6", "seed": 0}
    claim = next(each for each in CLAIMS if each.name == "D6")
    compute_missing(path, [(name, lambda: {"accuracy": 0.1})])
    digest = code_of(name)
    assert "before digests" in page.fresh(finished(path), claim, digest)
    cell = [(name, lambda: {"accuracy": 0.2})]
    compute_missing(path, cell, code_of)
    assert len(finished(path)) == 1
    compute_missing(path, cell, lambda name: "older", again=True)
    compute_missing(path, cell, code_of, again=True)
    compute_missing(path, cell, code_of, again=True)
    assert len(finished(path)) == 3
    (now,) = current(finished(path))
    assert now["result"] == {"accuracy": 0.2}
    assert page.fresh([now], claim, digest) == "by this code"
    assert page.fresh([now], claim, "other") == "1 of 1 cells by older code"
    assert page.fresh([], claim, digest) == "not measured"


def test_a_training_that_diverged_is_a_result(tmp_path):
    def fails():
        raise Diverged("too fast")

    path = tmp_path / "cells.jsonl"
    compute_missing(path, [({"claim": "D7"}, fails)])
    assert json.loads(path.read_text())["result"]["diverged"] == "too fast"
