"""Every page with runs whose judge gives each sample a number: nothing breaks, no foreign words."""

import re

import pytest

from pages.shared import session
from pages.shared.promised import smallest
from qcore.errors import InvalidParams
from qcore.graded import Graded
from store.jobs import pick
from tests.pages import judged_sample, sample
from tests.pages.conftest import opened
from tests.variants import crossed

FOREIGN = re.compile(r"[Aa]ccurac(y|ies)\b|\b[Ii]mages?\b|McNemar|\bnats\b|\bWilson\b")
PAGES = {
    "explore": {},
    "explore, basic": {"ui": "basic", "ll": "true"},
    "explore, predicted": {"src": "predicted"},
    "compare": {},
    "workbench": {},
    "searches": {"run": "2"},
}


JUDGES = ("signal", "tokens")


@pytest.fixture(params=JUDGES)
def judge(request, store):
    judged_sample.fill(store, request.param)
    return request.param


def told(at):
    """Everything that a page says in words of its own."""
    kinds = (at.markdown, at.caption, at.error, at.warning, at.info, at.success, at.header)
    said = [element.value for kind in kinds for element in kind]
    # the form for another search is about the network, whose card says classes here
    said += [element.label for kind in (at.toggle, at.slider) for element in kind]
    for frame in at.dataframe:
        said += [str(column) for column in frame.value.columns]
    return said


@pytest.mark.parametrize(("page", "judge"), crossed(PAGES, JUDGES), indirect=["judge"])
def test_a_page_speaks_as_the_judge_does(page, judge, store):
    at = opened(page.partition(",")[0], model="resnet8", **PAGES[page])
    strange = [words for words in told(at) if FOREIGN.search(words) and "nats a" not in words]
    assert strange == []
    name = {"signal": "PSNR", "tokens": "tokens right"}[judge]
    if page in ("explore", "explore, basic", "compare", "workbench"):
        assert any(name.lower() in words.lower() for words in told(at))


def test_the_command_line_picks_what_explore_does(judge, store):
    runs = pick.comparable(store, "resnet8")
    assert {run.spec.judge["name"] for run in runs} == {judge}
    frame = session.frame(store, runs, sample.MODEL)
    promised_any = 0
    for unit, losses in (("points", (0.2, 0.5, 2.0)), ("nats", (0.002, 0.01))):
        for within in losses:
            found = pick.smallest(store, runs, within, unit=unit)
            shown = smallest(frame, within, "weight_bytes", unit=unit)
            assert {each.stored.id for each in found} == set(shown["point"])
            assert all(isinstance(each.loss, Graded) for each in found)
            promised_any += len(found)
    assert promised_any > 0


def test_runs_of_another_judge_are_not_picked_from_together(store):
    judged_sample.fill(store, "signal")
    judged_sample.fill(store, "tokens")
    assert len({run.spec.judge["name"] for run in pick.comparable(store, "resnet8")}) == 1
    with pytest.raises(InvalidParams, match="judged otherwise"):
        pick.comparable(store, "resnet8", [1, 3])
