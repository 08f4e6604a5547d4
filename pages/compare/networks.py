"""Several networks in one picture: cost against accuracy on the same test images. Pure functions.

Divergences are from each network's own float version, so networks meet in test accuracy alone.
Points were chosen on the search split; the test split judges them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from pages.compare.chance import Contest, judged, p_words
from pages.compare.comparable import Setting, judge
from pages.plots.style import LINE_COLOURS, METHOD_DASHES, METHOD_MARKERS, lay_out, plain
from pages.shared import frames
from pages.shared.columns import TEST_HIGH, TEST_LOW, TEST_N, TEST_SCORE, TRAINED, column_of
from pages.shared.judged import CLASSIFIER, Words
from pages.shared.text import cost_text, scale_of
from qcore.costs.formulas import CostModel


@dataclass(frozen=True)
class Network:
    """A network's tested points.

    Attributes:
        name: What it is called.
        rows: `methods.run_rows` of its points that were tested, of all its runs.
        float_score: Its float version's accuracy on the test split, percent; None where unknown.
    """

    name: str
    rows: pd.DataFrame
    float_score: float | None = None


def alike(a: Setting, b: Setting) -> bool:
    """Whether points of two networks were measured alike: all is equal but the network itself."""
    bare = (replace(each, model="", digest="") for each in (a, b))
    return judge(dict(enumerate(bare))).comparable


def seen(tables: Sequence[pd.DataFrame], images: int | None = None) -> pd.DataFrame:
    """Rows that the test split has seen.

    Args:
        tables: Of the runs of one network.
        images: Test images they must have been tested on; None takes what most were.
    """
    kept = [rows[rows[TEST_SCORE].notna()] for rows in tables]
    if not any(len(rows) for rows in kept):
        return pd.DataFrame()
    found = pd.concat([rows for rows in kept if len(rows)], ignore_index=True)
    images = int(found[TEST_N].mode()[0]) if images is None else images
    return found[found[TEST_N] == images].drop_duplicates("point").reset_index(drop=True)


def front(network: Network, cost: CostModel) -> pd.DataFrame:
    """Of a network's points without training those on the front of their objective, by cost.

    Not those of the best test accuracy: the test split chooses nothing.
    """
    rows = network.rows[~network.rows[TRAINED].astype(bool)]
    return frames.front_of(rows, cost) if len(rows) else rows


def networks_figure(
    networks: Sequence[Network], cost: CostModel, words: Words = CLASSIFIER
) -> go.Figure:
    """Test scores against a cost: a look per network, a step line along its front.

    Args:
        networks: Each with at least one point.
        cost: The cost on the x axis.
        words: What figures are called.

    Returns:
        Traces whose `customdata` rows begin with the point's number.
    """
    column = column_of(cost)
    factor, unit = scale_of(cost, max(float(each.rows[column].max()) for each in networks))
    figure = go.Figure()
    for place, network in enumerate(networks):
        look = {
            "colour": LINE_COLOURS[place % len(LINE_COLOURS)],
            "marker": METHOD_MARKERS[place % len(METHOD_MARKERS)],
            "dash": METHOD_DASHES[place % len(METHOD_DASHES)],
        }
        line = front(network, cost)
        rest = network.rows[~network.rows["point"].isin(line["point"])]
        for rows, on_front in ((rest, False), (line, True)):
            if len(rows):
                line_of = _points(network, rows, look, column, factor, unit, on_front, words)
                figure.add_scatter(**line_of)
        if network.float_score is not None:
            figure.add_hline(
                y=network.float_score,
                line={"color": look["colour"], "dash": "dash", "width": 1},
                annotation_text=f"{plain(network.name)}, float {words.value(network.float_score)}",
                annotation_position="bottom left" if place % 2 else "top left",
            )
    lay_out(figure, 480)
    figure.update_layout(hovermode="closest")
    figure.update_xaxes(title_text=f"{cost.title}, {unit}", rangemode="tozero")
    figure.update_yaxes(title_text=words.on("test"))
    return figure


def _points(
    network: Network,
    rows: pd.DataFrame,
    look: Mapping[str, str],
    column: str,
    factor: float,
    unit: str,
    on_front: bool,
    words: Words,
) -> dict[str, object]:
    trained = rows[TRAINED].astype(bool)
    marks = [f"{look['marker']}{'-open' if each else ''}" for each in trained]
    name = plain(network.name)
    return {
        "x": (rows[column] / factor).tolist(),
        "y": rows[TEST_SCORE].tolist(),
        "name": name if on_front else f"{name}: other tested points",
        "mode": "lines+markers" if on_front else "markers",
        "line": {"shape": "hv", "color": look["colour"], "dash": look["dash"], "width": 2},
        "marker": {"symbol": marks, "size": 9 if on_front else 6, "color": look["colour"]},
        "opacity": 1.0 if on_front else 0.55,
        "customdata": [
            [point, f"{name}, {plain(method)}, run {run}<br>95 %: {low:.1f} to {high:.1f}"]
            for point, method, run, low, high in zip(
                rows["point"],
                rows["method"],
                rows["run"],
                rows[TEST_LOW],
                rows[TEST_HIGH],
                strict=True,
            )
        ],
        "hovertemplate": (
            f"%{{y:.2f}} {words.symbol} at %{{x:.4g}} {unit}<br>%{{customdata[1]}}<extra></extra>"
        ),
    }


def offered(
    networks: Sequence[Network], cost: CostModel, said: Words = CLASSIFIER
) -> dict[int, str]:
    """Point number to how it is offered: network, method, cost and test score."""
    words = {}
    for network in networks:
        for row in network.rows.sort_values(column_of(cost)).to_dict("records"):
            at = cost_text(cost, float(row[column_of(cost)]))
            trained = ", trained" if row[TRAINED] else ""
            words[int(row["point"])] = (
                f"{network.name}, {row['method']}{trained}, run {row['run']}: {at}, "
                f"{said.value(row[TEST_SCORE])}"
            )
    return words


def proposed(networks: Sequence[Network], cost: CostModel) -> tuple[int, int]:
    """(from, to) to begin with: points of the first two networks that cost about the same.

    Of the fronts, the pair whose costs differ least in proportion, and of equal ones the dearest.
    """
    a, b = ([f if len(f) else n.rows for n in networks[:2] for f in [front(n, cost)]] * 2)[:2]
    column = column_of(cost)
    x, y = (side[column].to_numpy(float) for side in (a, b))
    gap = np.abs(np.log(np.maximum(x, 1)[:, None] / np.maximum(y, 1)[None, :])).round(6)
    places = [(gap[i, j], -x[i], int(i), int(j)) for i in range(len(x)) for j in range(len(y))]
    _, _, i, j = min(places)
    return int(a["point"].iloc[i]), int(b["point"].iloc[j])


def verdict_words(
    labels: tuple[str, str], a: np.ndarray, b: np.ndarray, said: Words = CLASSIFIER
) -> str:
    """Say whether two points differ on the same test samples.

    Args:
        labels: Of both, plain text.
        a: Bool (n,): which images the first names right.
        b: The same of the second.
        said: What figures are called.

    Raises:
        InvalidData: not the same number of images.
    """
    (found,) = judged([Contest([a], [b])])
    figures = (
        f"{found.points:+.2f} {said.lost} ({found.low:+.2f} to {found.high:+.2f}), "
        f"{said.text('exact McNemar')} p {p_words(found.p, sign=True)}, {found.n:,} test "
        f"{said.samples}"
    )
    verdict = found.words(*labels).replace("is more accurate", said.better)
    return f"{verdict}: {figures}"
