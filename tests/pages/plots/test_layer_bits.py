"""Parallel coordinates and bars of layers; training curves."""

import numpy as np
import pandas as pd
import pytest

from pages.plots import layer_bits, training

HOSTILE = "<img src=x onerror=alert(1)>"
LAYERS = ("first", HOSTILE)


def lines(count=50, seed=0):
    rng = np.random.default_rng(seed)
    bits = rng.choice((2, 4, 8, 32), (count, 2))
    divergence = 10.0 ** rng.uniform(-4, 0, count)
    figure = layer_bits.lines_figure(bits, LAYERS, rng.uniform(1, 9, count), divergence, "KiB")
    return bits, divergence, figure.data[0]


def test_a_line_passes_the_band_of_its_width_on_every_axis_and_bands_never_meet():
    bits, divergence, drawn = lines()
    order = layer_bits.thinned(divergence, 1000)
    for place in range(2):
        axis = drawn.dimensions[place + 1]
        assert list(axis.ticktext) == ["2", "4", "8", "float"]
        nearest = np.round(axis.values).astype(int)
        assert [(2, 4, 8, 32)[at] for at in nearest] == bits[order, place].tolist()
        for width in range(4):
            band = np.array(axis.values)[nearest == width]
            assert (np.diff(band) > 0).all(), "what diverges less lies higher"
    assert list(drawn.line.color) == sorted(drawn.line.color)


def test_names_of_layers_are_text():
    _, _, drawn = lines()
    assert "<" not in drawn.dimensions[2].label
    rows = pd.DataFrame(
        {"layer": [HOSTILE, "not drawn"], "part": "weights", "share": 2.0, "low": 1.0, "high": 3.0}
    )
    figure = layer_bits.importance_figure(rows, LAYERS)
    assert "<" not in figure.layout.xaxis.ticktext[1]
    assert "<img" not in figure.data[0].customdata[0][0]
    assert list(figure.data[0].x) == [1]
    assert list(figure.data[0].error_y.array) == [1.0]


@pytest.mark.parametrize("count", [1, 7, 100])
def test_thinning_keeps_both_ends(count):
    divergence = np.random.default_rng(1).random(count) + 0.1
    kept = layer_bits.thinned(divergence, 10)
    assert len(kept) == min(10, count)
    assert divergence[kept[0]] == divergence.max()
    assert divergence[kept[-1]] == divergence.min()


def curve(label, run, losses, accuracy=None):
    epochs = pd.DataFrame(
        {
            "Epoch": range(1, len(losses) + 1),
            "stage": HOSTILE,
            "loss": losses,
            "accuracy, %": pd.Series([accuracy] * len(losses), dtype=float),
        }
    )
    return training.Curve(label, run, run, {"colour": "#D55E00", "dash": "dot"}, epochs)


def test_runs_of_a_method_share_a_colour_and_a_line_of_the_legend():
    curves = [curve("A", 1, [3, 2]), curve("A", 2, [3, 1]), curve(HOSTILE, 3, [1])]
    figure = training.curves_figure(curves, training.LOSS)
    assert [trace.showlegend for trace in figure.data] == [True, False, True]
    assert [list(trace.y) for trace in figure.data] == [[3, 2], [3, 1], [1]]
    assert {trace.line.width < 2 for trace in figure.data} == {True}
    assert figure.data[2].mode == "lines+markers", "one epoch is a dot"
    for trace in figure.data:
        assert "<img" not in trace.name + trace.hovertemplate + trace.customdata[0][0]


def test_without_labels_there_is_no_accuracy_to_draw():
    assert not training.has([curve("A", 1, [1.0])], training.ACCURACY)
    assert training.has([curve("A", 1, [1.0], 50.0)], training.ACCURACY)
