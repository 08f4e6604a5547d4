"""How far the answers at each position of a text are apart, and where the token changes. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from pages.plots.class_bars import FLOAT, QUANTIZED
from pages.plots.style import lay_out, plain
from pages.shared.text import tidy

MOST_TICKS = 40


@dataclass(frozen=True, slots=True)
class Position:
    """One position of a text.

    Attributes:
        place: Its number, from 0.
        token: What stands there, as a word or a number.
        first: The likeliest token of the float network, and of the quantized one.
        shares: Their probabilities, 0..1.
        divergence: KL divergence of the two answers, nats.
        changed: True where the two likeliest tokens differ.
    """

    place: int
    token: str
    first: tuple[str, str]
    shares: tuple[float, float]
    divergence: float
    changed: bool


def token_bars(positions: Sequence[Position]) -> go.Figure:
    """One bar a position; those whose likeliest token changed have the quantized colour."""
    figure = go.Figure()
    for changed, title, colour in (
        (False, "same token", FLOAT),
        (True, "token changed", QUANTIZED),
    ):
        rows = [each for each in positions if each.changed is changed]
        figure.add_bar(
            x=[each.place for each in rows],
            y=[each.divergence for each in rows],
            name=title,
            marker={"color": colour},
            hovertext=[_words(each) for each in rows],
            hovertemplate="%{hovertext}<br>%{y:.4g} nats<extra></extra>",
        )
    lay_out(figure, 260)
    shown = positions[:: len(positions) // MOST_TICKS + 1]
    figure.update_layout(barmode="overlay", bargap=0.2)
    figure.update_xaxes(
        title_text="Token at each position",
        tickvals=[each.place for each in shown],
        ticktext=[plain(tidy(each.token, 16)) for each in shown],
        showgrid=False,
        automargin=True,
    )
    figure.update_yaxes(title_text="KL divergence, nats", rangemode="tozero")
    return figure


def _words(each: Position) -> str:
    names = [plain(tidy(word, 30)) for word in each.first]
    return (
        f"position {each.place}: {plain(tidy(each.token, 30))}"
        f"<br>float: {names[0]}, {100 * each.shares[0]:.1f} %"
        f"<br>quantized: {names[1]}, {100 * each.shares[1]:.1f} %"
    )
