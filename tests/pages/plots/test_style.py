"""Every method keeps the look it has had, whatever is added; its hue is its family's."""

import colorsys

import plotly.graph_objects as go
import pytest

from pages.explore.payload.looks import look_of
from pages.plots.style import BUTTONS_PX, CHART, FAMILY_COLOURS, GREY, lay_out, put, style_of
from qcore.search import FAMILIES
from qcore.searches import SEARCHES

LOOKS = {
    "Uniform bits": (GREY, "square", "dot"),
    "Random": ("#0072B2", "circle", "solid"),
    "Greedy descent": ("#5C8A14", "square", "dash"),
    "Exact front": ("#2E8B57", "diamond", "dot"),
    "Portfolio": ("#2B7BE0", "triangle-up", "dashdot"),
    "CMA-ES": ("#8661D1", "x", "longdash"),
    "GradFreeBits": ("#D55E00", "cross", "longdashdot"),
    "SP-Nets": ("#C2407C", "triangle-down", "5px"),
    "Bit-Mixer": ("#B37A00", "star", "solid"),
    "Trained Bit-Mixer": ("#E0483E", "hexagon", "dash"),
    "DQ (learned bits)": ("#B5562B", "pentagon", "dot"),
    "Mirror descent": ("#C24AA8", "triangle-left", "dashdot"),
    "Given allocations": ("#3A93DB", "triangle-right", "longdash"),
    "NSGA-II": ("#5468D4", "hexagram", "longdashdot"),
    "NSGA-II, tuned": ("#5468D4", "circle", "5px"),
    "Gone long ago": ("#8A7A5C", "x", "dashdot"),
}

HUES = {"one-shot": (60, 175), "search": (195, 270), "trained": (310, 405)}
"""Degrees of the colour circle that a family has for itself."""

GROUNDS = ("#ffffff", "#171614")
"""Behind every figure, in light and in dark."""


def luminance(colour):
    shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [x / 12.92 if x <= 0.03928 else ((x + 0.055) / 1.055) ** 2.4 for x in shares]
    return sum(part * x for part, x in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("method", LOOKS)
def test_a_method_keeps_its_look(method):
    assert tuple(style_of(method).values()) == LOOKS[method]


def test_no_two_methods_share_a_shape_and_those_of_a_family_share_its_hue():
    shapes = [style_of(search.title)["marker"] for search in SEARCHES.values() if not search.ladder]
    assert len(set(shapes)) == len(shapes)
    pairs = {(s["colour"], s["marker"]) for s in (style_of(x.title) for x in SEARCHES.values())}
    assert len(pairs) == len(SEARCHES)
    # lines bear no shapes
    assert len({colour for colour, _ in pairs}) == len(SEARCHES)
    for search in SEARCHES.values():
        if not search.ladder:
            assert style_of(search.title)["colour"] in FAMILY_COLOURS[search.family]


def test_a_familys_colours_have_hues_of_their_own():
    assert tuple(FAMILY_COLOURS) == FAMILIES
    for family, colours in FAMILY_COLOURS.items():
        low, high = HUES[family]
        for colour in colours:
            red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
            hue = 360 * colorsys.rgb_to_hsv(red, green, blue)[0]
            assert any(low <= hue + turn <= high for turn in (0, 360)), (family, colour, hue)


@pytest.mark.parametrize("ground", GROUNDS)
def test_marks_stand_out_in_light_and_in_dark(ground):
    for colour in (GREY, *(c for colours in FAMILY_COLOURS.values() for c in colours)):
        pair = sorted((luminance(colour), luminance(ground)))
        assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 3, colour


def test_the_explorer_draws_every_shape_in_its_own_way():
    paths = {look_of(search.title)["path"] for search in SEARCHES.values() if not search.ladder}
    assert len(paths) == len(SEARCHES) - 1


def test_a_charts_buttons_show_on_hovering_beside_the_axes():
    figure = go.Figure()
    lay_out(figure, 300)
    assert CHART["displayModeBar"] == "hover"
    assert figure.layout.modebar.orientation == "v"
    assert figure.layout.margin.r >= BUTTONS_PX


def test_what_is_put_into_a_figure_is_what_plotly_updates():
    whole = {
        "hovermode": "closest",
        "legend": {"orientation": "h", "y": 1.03},
        "coloraxis": {"cmin": 0.5, "colorbar": {"title": {"text": "bits"}, "tickvals": [1, 2]}},
    }
    axis = {"title_text": "Layer", "tickvals": [1, 2], "showgrid": False}
    one, other = go.Figure(layout={"legend": {"x": 3}}), go.Figure(layout={"legend": {"x": 3}})
    put(one, **whole, xaxis=axis, yaxis={"autorange": "reversed"})
    other.update_layout(**whole)
    other.update_xaxes(**axis)
    other.update_yaxes(autorange="reversed")
    assert one == other
    assert one.layout.legend.x == 3
