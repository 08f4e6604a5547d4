"""The words of a judge: classifiers keep theirs, others have their own names, units and samples."""

import re
from dataclasses import replace

import numpy as np
import pytest

from pages.explore.payload.told_apart import _t_values, pairs
from pages.shared import promised
from pages.shared.columns import (
    LOSSES,
    SEARCH_SCORE,
    TEST_LOSS,
    TEST_LOSS_ERROR,
    TEST_LOST,
    TEST_SCORE,
)
from pages.shared.judged import CLASSIFIER, judged, words_for, words_of
from pages.shared.points_table import points_frame
from pages.shared.text import percent
from pages.shared.words import WORDS, explained, meanings_by
from qcore.graded import Graded, graded, t_test
from qcore.judges import JUDGES, judge_words, parse_judge
from qcore.judges.classes import Classes
from qcore.paired import shared_level
from qcore.problem import Scores
from qcore.setting import Setting
from tests.pages import judged_sample, sample

OTHERS = {
    "tokens": parse_judge("tokens:ids=ids"),
    "embedding": parse_judge("embedding"),
    "map": parse_judge("map"),
    "signal": parse_judge("signal"),
    "auc": parse_judge("signal:measure=auc"),
}
SENTENCE = "Accuracy on the same images; images leave accuracy unknown, by the exact McNemar test."
HEADS = ("Test accuracy, %", "Accuracy, %", "Loss, points", "Objective, nats", "Test images")


def test_classifiers_keep_their_words():
    assert (CLASSIFIER.title, CLASSIFIER.name, CLASSIFIER.symbol) == ("Accuracy", "accuracy", "%")
    assert (CLASSIFIER.lost, CLASSIFIER.unit, CLASSIFIER.behind) == ("points", "nats", "nats")
    assert CLASSIFIER.text(SENTENCE) == SENTENCE
    assert [CLASSIFIER.head(head) for head in HEADS] == list(HEADS)
    assert CLASSIFIER.on("search") == "Accuracy on the search split, %"
    assert words_of(None) == CLASSIFIER
    bare = replace(CLASSIFIER, labelled=False)
    assert bare.on("test") == "Agreement with the float network on the test split, %"
    scores = Scores(1024, 0.1, 0.9, 0.906)
    assert CLASSIFIER.scores(scores) == percent(0.906, 1024)
    assert explained("nats", "points") == explained("nats", "points", by=CLASSIFIER)
    assert meanings_by(CLASSIFIER) is WORDS


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("labelled", [True, False])
def test_no_other_judge_speaks_of_accuracy_or_images(name, labelled):
    words = words_for(OTHERS[name], labelled)
    told = [words.text(SENTENCE), *map(words.head, HEADS), words.on("test"), words.aim("kl")]
    told += list(meanings_by(words).values())
    for sentence in told:
        assert not re.search(r"[Aa]ccurac|[Ii]mages?\b|McNemar", sentence), sentence
    assert words.symbol in words.on("test")
    assert words.has_loss == (labelled or name not in ("signal", "auc"))


def test_units_that_read_badly_behind_a_number_stand_in_brackets():
    assert words_for(OTHERS["embedding"]).behind == "(1 - cosine)"
    assert words_for(OTHERS["tokens"]).behind == "nats a token"
    assert words_for(OTHERS["signal"]).behind == "of the signal's power"


def test_a_judge_that_cannot_be_read_is_taken_for_classes():
    assert judged({"name": "of a later release"}) == JUDGES["classes"]()
    assert judged("nonsense") == JUDGES["classes"]()
    assert words_of({"name": "signal", "peak": "high"}) == CLASSIFIER


def test_classes_of_other_inputs_are_samples():
    text = replace(sample.MODEL, inputs=("ids",))
    words = words_for(Classes(), model=text)
    assert (words.samples, words.title) == ("samples", "Accuracy")
    assert words.head("Test images") == "Test samples"


def test_runs_of_different_judges_are_different_settings():
    plain, signal, auc = (
        Setting.of(sample.spec_of("random", judge=judge))
        for judge in (None, {"name": "signal"}, {"name": "signal", "measure": "auc"})
    )
    assert len({plain.measuring, signal.measuring, auc.measuring}) == 3
    assert "judged" not in plain.words
    assert auc.words.endswith("judged by Signal (measure auc)")
    assert judge_words(parse_judge("map:binary=true")) == "Map (binary)"


@pytest.fixture(params=judged_sample.JUDGES)
def name(request):
    return request.param


def table(name, count=7):
    judge, _ = judged_sample.JUDGES[name]
    run = sample.run_of(1, "random", judge=judge)
    stored = [
        sample.stored(at, 1, judged_sample.point(name, allocation, at))
        for at, allocation in enumerate(sample.allocations(count))
    ]
    return points_frame(stored, {1: run}, sample.MODEL)


def test_points_of_a_graded_judge_have_its_losses_and_units(name):
    _, factor = judged_sample.JUDGES[name]
    for at, row in enumerate(table(name).to_dict("records")):
        rows, floats = judged_sample.rows_of(name, at), judged_sample.float_rows(name)
        pair = graded(floats, rows, factor)
        assert row[TEST_SCORE] == pytest.approx(factor * rows.astype(float).mean())
        assert row[SEARCH_SCORE] == pytest.approx(
            factor * rows[: judged_sample.N].astype(float).mean()
        )
        told = [row[column] for column in LOSSES["test split"]]
        assert told == pytest.approx([pair.points, *pair.interval], rel=1e-5)
        assert np.isnan(row[TEST_LOST])
        assert row[TEST_LOSS_ERROR] == pytest.approx(factor * pair.error, rel=1e-5)


def test_promises_of_a_graded_judge_are_bounds_of_student(name):
    rows = table(name)
    bounds = promised.bounds_of(rows, "points", 3)
    for bound, row in zip(bounds, rows.to_dict("records"), strict=True):
        pair = Graded(judged_sample.TESTED, row[TEST_LOSS], row[TEST_LOSS_ERROR], 1.0)
        assert bound == pytest.approx(pair.bound(shared_level(3)))
        assert bound > row[TEST_LOSS]


def test_the_browser_gets_the_t_value_of_every_pair(name):
    answers = {at: judged_sample.rows_of(name, at) for at in range(5)}
    answers[5] = answers[2].copy()
    sent = pairs(list(answers), answers)
    assert (sent["n"], sent["count"], "only" in sent) == (judged_sample.TESTED, 6, False)
    found = _t_values(np.array(list(answers.values()), float))
    for i, a in answers.items():
        for j, b in answers.items():
            assert t_test(found[i, j], len(a) - 1) == pytest.approx(graded(a, b).p_value, rel=1e-9)
    assert found[2, 5] == found[5, 2] == 0
