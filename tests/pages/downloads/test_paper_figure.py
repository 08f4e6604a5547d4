"""Figures for papers: what is drawn on a page is in the file, as text and as shapes, safely."""

import io
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import plotly.graph_objects as go
import pytest
from PIL import Image

from pages.downloads.paper_figure import MEDIA, drawable, paper_figure
from pages.plots.style import METHOD_DASHES, METHOD_MARKERS, lay_out, plain
from qcore.errors import InvalidData

# an older matplotlib warns of names that a newer pyparsing has renamed
pytestmark = pytest.mark.filterwarnings("ignore")

NAMES = ("<script>alert(1)</script>", "$\\frac{1}{0}$", "_hidden", "a&b", "100 %")


def drawn(form="svg", figure=None):
    return paper_figure(figure or steps(), "Title & <b>", form)


def steps():
    figure = go.Figure()
    for place, name in enumerate(NAMES):
        figure.add_scatter(
            x=[1, 2, None, 4],
            y=[place, place + 1, None, 5],
            name=plain(name),
            mode="lines+markers",
            line={"shape": "hv", "color": "#D55E00", "dash": METHOD_DASHES[place]},
            marker={"symbol": METHOD_MARKERS[place]},
            error_y={"array": [1, 1, 1, 1], "color": "rgba(1,2,3,0.4)"},
        )
    figure.add_hline(y=3, annotation_text="float 92.6 %", line={"color": "#888888"})
    figure.add_vline(x=2, line={"dash": "dot"})
    lay_out(figure, 300)
    figure.update_xaxes(title_text="Weights, KiB")
    figure.update_yaxes(title_text=plain("Accuracy <i>, %"))
    return figure


def texts(svg):
    root = ElementTree.fromstring(svg)
    return {"".join(node.itertext()).strip() for node in root.iter() if node.tag.endswith("text")}


def test_every_word_of_the_page_is_text_of_the_file_and_nothing_is_obeyed():
    svg = drawn()
    assert {"Weights, KiB", "Accuracy <i>, %", "float 92.6 %", *NAMES} <= texts(svg)
    assert b"<script" not in svg
    tags = {node.tag.partition("}")[2] for node in ElementTree.fromstring(svg).iter()}
    assert not tags & {"script", "image", "foreignObject", "a"}


def test_all_formats_are_what_they_say_and_the_same_every_time():
    for form in MEDIA:
        assert drawn(form) == drawn(form)
    assert drawn("pdf").startswith(b"%PDF")
    assert b"/Subtype /Type3" not in drawn("pdf"), "publishers refuse bitmap-like fonts"
    assert b"/FontFile2" in drawn("pdf")
    picture = Image.open(io.BytesIO(drawn("png")))
    assert picture.getpixel((0, 0))[:3] == (255, 255, 255)


def test_every_shape_and_dash_of_a_method_is_known():
    outlines = set()
    for marker in METHOD_MARKERS:
        figure = go.Figure()
        figure.add_scatter(x=[1], y=[1], mode="markers", marker={"symbol": marker}, name="one")
        outlines.add(re.search(rb'<path id="m[^"]+" d="([^"]+)"', _marks(drawn("svg", figure)))[1])
    assert len(outlines) == len(METHOD_MARKERS)


def _marks(svg):
    """The part of the file after the axes' ticks."""
    return svg[svg.rindex(b'<g id="line2d_') :]


def test_bars_keep_their_heights():
    figure = go.Figure()
    figure.add_bar(x=[0, 1], y=[1.0, 3.0], name="weights", marker={"color": "#0072B2"})
    figure.add_bar(x=[0, 1], y=[2.0, 0.5], name="inputs", marker={"color": "#D55E00"})
    figure.update_xaxes(tickvals=[0, 1], ticktext=["first", plain("<b>")], tickangle=-45)
    svg = drawn("svg", figure)
    assert {"first", "<b>", "weights", "inputs"} <= texts(svg)
    heights = []
    for path in re.findall(
        rb'<g id="patch_\d+">\s*<path d="([^"]+)"[^>]*fill: #(?:0072b2|d55e00)', svg
    ):
        ys = [float(y) for y in re.findall(rb"[ML] [\d.]+ ([\d.]+)", path)]
        heights.append(max(ys) - min(ys))
    assert np.allclose(np.array(heights[:4]) / heights[0], [1, 3, 2, 0.5], rtol=1e-3)


@pytest.mark.parametrize("trace", [go.Parcoords(dimensions=[]), go.Heatmap(z=[[1]])])
def test_what_cannot_be_drawn_again_is_refused_in_words(trace):
    figure = go.Figure(trace)
    assert not drawable(figure)
    with pytest.raises(InvalidData, match="take it as HTML"):
        paper_figure(figure, "t", "pdf")


def test_signs_the_font_lacks_are_boxes():
    figure = go.Figure()
    figure.add_scatter(x=[1, 2], y=[1, 2], name="one 🎛 層")
    figure.add_scatter(x=[1, 2], y=[1, 2], name="two")
    assert any(words.startswith("one \u25a1") for words in texts(drawn("svg", figure)))
