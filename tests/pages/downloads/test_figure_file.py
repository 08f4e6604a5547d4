"""A figure's HTML file needs nothing beside it, and runs nothing that a name holds."""

import json
import re

import plotly.graph_objects as go

from pages.downloads.figure_file import html_of
from pages.plots.style import lay_out, plain

HOSTILE = "</script><script>window.hacked=1</script>"


def drawn():
    figure = go.Figure(go.Scatter(x=[1, 2], y=[3, 4], name=plain(HOSTILE), text=[HOSTILE] * 2))
    lay_out(figure, 400)
    return figure


def test_the_file_holds_the_figure_and_loads_nothing():
    page = html_of(drawn(), "Accuracy against weights").decode()
    sources = re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=[\"']?([^\"'>\s]+)", page)
    assert sources == []
    # plotly.js, the figure's own call, and what they need: no script of a name
    assert "<script>window.hacked" not in page
    assert "Accuracy against weights" in page
    (numbers,) = re.findall(r'"x":(\[1,2\])', page)
    assert json.loads(numbers) == [1, 2]


def test_making_the_file_leaves_the_figure_as_it_is():
    figure = drawn()
    before = figure.to_json()
    html_of(figure, "title")
    assert figure.to_json() == before
