"""Correlations between layers are drawn with the run, beside the gradients' interactions."""

import numpy as np

from pages.plots.dependencies import layers_figure
from pages.searches.run_dependencies import said
from qcore.problem import SensitivityTable
from store import save_table
from store.runs import lease
from store.runs.queue import finish
from tests.pages import sample

NAMES = sample.MODEL.names


def matrix(seed):
    made = np.random.default_rng(seed).normal(size=(len(NAMES), len(NAMES)))
    return np.corrcoef(made)


def searched(store, found, seed=0):
    held = sample.add_run(store, "cmaes", [sample.point(sample.uniform(4), 900)], seed=seed)
    figures = {"dependencies": found}
    lease.progress(store, *held, 1, 2, "descent 1 ended", figures=figures)
    finish(store, *held, "done")


def kept(found):
    return {
        "title": "descent 1", "descent": 0, "generations": 20, "part": "weight",
        "layers": list(NAMES), "matrix": found.tolist(),
    }  # fmt: skip


def test_the_page_says_whether_seeds_and_gradients_agree(app, store):
    found = matrix(0)
    searched(store, kept(found))
    searched(store, kept(found), seed=1)
    index = tuple((name, "weight", 2) for name in NAMES)
    rows = {name: {2: 1.0} for name in NAMES}
    table = SensitivityTable("gradient", "nats", rows, pairs=-found, pair_index=index)
    save_table(store, "gradient/test", sample.MODEL.digest, table)
    at = app("searches")
    assert not at.exception
    assert "Dependencies between layers" in [block.label for block in at.expander]
    words = " ".join(block.value for block in at.markdown).replace("\\", "")
    assert "rank correlation +1.00" in words
    assert "they agree" in words


def test_what_was_left_out_is_said(app, store):
    searched(store, {"title": "descent 1", "left_out": "70 layers <b>have</b> bits"})
    at = app("searches")
    assert any("70 layers" in block.value for block in at.caption)
    assert not any("<b>" in block.value for block in at.caption)


def test_without_another_seed_nothing_is_claimed():
    shown = {"layers": list(NAMES), "matrix": matrix(0)}
    words = said(shown, None, [])
    assert "agreement is not known" in words
    assert "No gradient sensitivity" in words
    unrelated = said(shown, None, [(7, matrix(1))])
    assert "Run 7, another seed" in unrelated


def test_names_in_the_figure_are_text_and_the_diagonal_is_empty():
    figure = layers_figure(["<b>a</b>", "b"], np.array([[1, -0.5], [-0.5, 1]]), "correlation")
    trace = figure.data[0]
    assert "<b>" not in "".join(str(each) for row in trace.text for each in row)
    assert trace.z[0][0] is None
    assert trace.z[0][1] == -0.5
