"""The page of claims says what the cells say, and which of them older code measured."""

import json

import numpy as np
import pytest

from benchmarks.cells import compute_missing, current, finished
from benchmarks.claims import __main__ as program
from benchmarks.claims import page
from benchmarks.claims.digest import code_digest, sources, without_words
from benchmarks.claims.papers import CLAIMS, PAPERS, code_of
from benchmarks.training.switchable_verdicts import SWITCHES, verdicts
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


def _cell(quantizer, seed, accuracy, total, **more):
    name = {
        "model": "resnet8", "epoch_images": 8000, "seed": seed, "system": "spnets", "epochs": 2,
        "quantizer": quantizer, "private_norms": True, "outputs": 0.0, **more,
    }  # fmt: skip
    result = {"accuracy": dict.fromkeys(SWITCHES, accuracy), "payload": {
        "all": {"total": total, "norms": 1}, "float": {"total": 1}}}  # fmt: skip
    return {"name": name, "result": result, "cpu_seconds": 1.0}


def test_nested_codes_are_held_against_clips_of_the_same_images_alone():
    rows = [
        *(_cell("clip", seed, 0.91, 1000) for seed in (0, 1)),
        _cell("nested", 0, 0.904, 520),
        _cell("nested", 1, 0.902, 520),
        # other images say nothing of these
        _cell("nested", 0, 0.5, 520, training_images=7696),
    ]
    lines = [line for line in verdicts(rows, "resnet8") if " S5 " in line]
    assert [line.partition(":")[0] for line in lines] == [
        "passes",
        "FAILS",
        "FAILS",
        "FAILS",
        "passes",
    ]
    assert "at 2/2, 2 epochs of 8,000: -0.70 points (needs -1.0; seeds: -0.60, -0.80)" in lines[0]
    assert "all switches in 0.520 of the bytes (at most 0.55): 520 B for 1,000 B" in lines[-1]
    larger = [row if row["name"]["quantizer"] == "clip" else _cell("nested", 0, 0.904, 551)
              for row in rows]  # fmt: skip
    assert any("FAILS: S5 all switches" in line for line in verdicts(larger, "resnet8"))


def test_each_quantizer_is_asked_for_its_own_cells():
    rows = [
        _cell(quantizer, 0, 0.9 if private else 0.8, 1, private_norms=private)
        for quantizer in ("clip", "lsq", "dorefa")
        for private in (True, False)
    ]
    rows[3]["result"]["accuracy"] = dict.fromkeys(SWITCHES, 0.9)
    lines = [line for line in verdicts(rows, "resnet8") if "S1 " in line and "2/2" in line]
    assert [line.partition(":")[0] for line in lines] == ["passes", "FAILS", "passes"]
    assert ["lsq" in line for line in lines] == [False, True, False]
