"""Every method keeps the look it has had, whatever is added."""

import pytest

from pages.plots.style import GREY, style_of

LOOKS = {
    "Uniform bits": (GREY, "square", "dot"),
    "Random": ("#0072B2", "circle", "solid"),
    "Greedy descent": ("#D55E00", "square", "dash"),
    "Exact front": ("#009E73", "diamond", "dot"),
    "Portfolio": ("#CC79A7", "triangle-up", "dashdot"),
    "CMA-ES": ("#E69F00", "x", "longdash"),
    "GradFreeBits": ("#56B4E9", "cross", "longdashdot"),
    "SP-Nets": ("#AA4499", "triangle-down", "5px"),
    "Bit-Mixer": ("#999933", "star", "solid"),
    "Trained Bit-Mixer": ("#0072B2", "hexagon", "dash"),
    "DQ (learned bits)": ("#D55E00", "circle", "dot"),
    "Mirror descent": ("#009E73", "square", "dashdot"),
    "Given allocations": ("#CC79A7", "diamond", "longdash"),
    "NSGA-II": ("#E69F00", "triangle-up", "longdashdot"),
    "NSGA-II, tuned": ("#E69F00", "x", "5px"),
    "Gone long ago": ("#0072B2", "triangle-up", "dashdot"),
}


@pytest.mark.parametrize("method", LOOKS)
def test_a_method_keeps_its_look(method):
    assert tuple(style_of(method).values()) == LOOKS[method]
