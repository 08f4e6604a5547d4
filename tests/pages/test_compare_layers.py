"""Compare's sections on layers and on training."""

import json
from dataclasses import replace

import numpy as np
import pytest

from qcore.problem import Scores
from store.runs.lease import progress
from store.runs.queue import finish
from tests.pages import compare_sample, sample


def chart(at, key):
    (found,) = (chart for chart in at.get("plotly_chart") if chart.key == key)
    return json.loads(found.proto.spec)


def charts(at):
    return {chart.key for chart in at.get("plotly_chart")}


def everything(at):
    return " ".join(element.value for element in [*at.caption, *at.header])


@pytest.fixture
def weighed(store):
    """Run 1: forty allocations whose divergence hangs on the bits of one layer alone."""
    compare_sample.fill(store)
    rng = np.random.default_rng(0)
    points = [
        replace(
            sample.point(one, 800 + at),
            search=Scores(1000, 0.5 ** one["conv1"].weight * rng.uniform(0.9, 1.1), 0.8, 0.8, 0.3),
        )
        for at, one in enumerate(sample.allocations(60, seed=4))
    ]
    number, attempt = sample.add_run(store, "random", points, seed=7)
    finish(store, number, attempt, "done")
    return store, number


def test_the_layer_whose_bits_matter_has_the_tallest_bar(app, weighed):
    at = app("compare", runs=str(weighed[1]))
    assert not at.exception
    bars = chart(at, "compare-importance")["data"]
    heights = next(trace for trace in bars if trace["name"] == "weights")
    assert heights["y"].index(max(heights["y"])) == 0
    lines = chart(at, "compare-layers")["data"][0]
    assert [axis["label"] for axis in lines["dimensions"]][1] == "conv1"
    assert "ridge regression" in everything(at)


def test_too_few_allocations_are_counted_in_words(app, store):
    compare_sample.add(store, "portfolio", 800, 6)
    at = app("compare", runs="1")
    assert "compare-layers" not in charts(at)
    assert "6 different allocations were measured" in everything(at)


def test_training_curves_are_drawn_of_runs_that_train_only(app, weighed):
    store, number = weighed
    at = app("compare", runs=str(number))
    assert "Training" not in everything(at)
    for seed in (0, 1):
        points = [sample.point(one, 900, stage="w") for one in sample.allocations(2, seed=seed)]
        trained, attempt = sample.add_run(store, "dq", points, seed=seed)
        for epoch in range(3):
            figures = {"epoch": epoch, "stage": "<b>w</b>", "loss": 1.0 / (1 + epoch)}
            progress(store, trained, attempt, epoch, 3, "training", figures)
        finish(store, trained, attempt, "done")
    at = app("compare", runs=f"{number},{trained - 1},{trained}")
    assert not at.exception
    drawn = chart(at, "compare-training-loss")["data"]
    assert [len(trace["y"]) for trace in drawn] == [3, 3]
    assert len({trace["line"]["color"] for trace in drawn}) == 1
    assert "compare-training-accuracy, %" not in charts(at), "no labels, no accuracy"
