import pytest

from pages.plots import front as figures
from pages.plots import heatmap
from pages.plots.heatmap import bit_heatmap
from pages.plots.style import BIT_COLOURS, DARK_DIGITS_FROM, icon, style_of
from pages.shared import frames, predictions
from pages.shared.columns import DAMAGE, column_of
from pages.shared.points_table import points_frame
from qcore.costs import COSTS
from qcore.searches import SEARCHES
from tests.pages import sample

RUNS = {1: sample.run_of(1, "uniform"), 2: sample.run_of(2, "exact")}


@pytest.fixture
def frame():
    points = [
        sample.stored(bits, 1, sample.point(sample.uniform(bits), 700 + 20 * bits))
        for bits in (2, 3, 4, 8)
    ] + [
        sample.stored(20 + at, 2, sample.point(allocation, 800 + 7 * (at % 9)))
        for at, allocation in enumerate(sample.allocations(30, activations=(4, 8, 32)))
    ]
    return points_frame(points, RUNS, sample.MODEL)


def named(figure, name):
    return [trace for trace in figure.data if trace.name == name]


def luminance(colour):
    def linear(value):
        value /= 255
        return value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(int(colour[at : at + 2], 16)) for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_digits_stand_out_on_every_bit_colour():
    for bits, colour in BIT_COLOURS.items():
        digit = 0.0 if bits >= DARK_DIGITS_FROM else 1.0
        high, low = sorted((luminance(colour), digit), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5


def test_the_heatmap_has_two_rows_per_method_and_one_cell_per_layer(frame):
    bits = frames.bits_frame(frames.picks(frame, {}), sample.MODEL)
    figure = bit_heatmap(bits)
    (ladder,) = named(figure, "Uniform bits")
    assert len(ladder.z) == 2
    assert all(len(row) == len(sample.MODEL.layers) for row in ladder.z)
    assert list(ladder.text[0]) == ["8"] * len(sample.MODEL.layers)
    assert list(ladder.text[1]) == ["float"] * len(sample.MODEL.layers)
    assert len(named(figure, "Exact front")) == 1
    assert list(figure.layout.yaxis.ticktext) == [
        "Uniform bits: weights",
        "Uniform bits: activations",
        "Exact front: weights",
        "Exact front: activations",
    ]
    assert figure.layout.xaxis.title.text == "Layer, in execution order"
    assert list(figure.layout.xaxis.ticktext) == list(sample.MODEL.names)


def test_the_colour_of_a_cell_is_the_colour_of_its_bits(frame):
    bits = frames.bits_frame(frames.picks(frame, {}), sample.MODEL)
    figure = bit_heatmap(bits)
    axis = figure.layout.coloraxis
    (trace,) = named(figure, "Exact front")
    scale = [(float(stop), colour) for stop, colour in axis.colorscale]
    for z, text in zip(trace.z[0], trace.text[0], strict=True):
        share = (z - axis.cmin) / (axis.cmax - axis.cmin)
        colour = next(colour for stop, colour in reversed(scale) if stop <= share)
        assert colour == BIT_COLOURS[32 if text == "float" else int(text)]


def test_digits_are_left_out_where_cells_are_too_narrow(monkeypatch, frame):
    bits = frames.bits_frame(frames.picks(frame, {}), sample.MODEL)
    assert named(bit_heatmap(bits), "digits")
    monkeypatch.setattr(heatmap, "CELL_TEXT_LAYERS", 3)
    assert not named(bit_heatmap(bits), "digits")


@pytest.mark.parametrize("cost", list(COSTS))
def test_axes_carry_title_and_unit(frame, cost):
    figure = figures.front_figure(frame, frames.picks(frame, {}), COSTS[cost])
    title = figure.layout.xaxis.title.text
    assert title.startswith(COSTS[cost].title)
    assert title.endswith(("B", "bits", "bit-ops", "J", "cycles"))
    assert figure.layout.yaxis.title.text.endswith(", %")


def test_a_front_is_a_step_line_with_intervals_over_all_points(frame):
    figure = figures.front_figure(frame, frames.picks(frame, {}), COSTS["weight_bytes"])
    rows = frame[frame["method"] == "Exact front"]
    (faint,) = named(figure, "Exact front: all evaluated")
    (front,) = named(figure, "Exact front")
    assert len(faint.x) == len(rows)
    assert faint.opacity < 0.5
    assert len(front.x) == len(frames.front_of(rows, COSTS["weight_bytes"]))
    assert front.line.shape == "hv"
    assert all(above > 0 for above in front.error_y.array)
    assert all(below > 0 for below in front.error_y.arrayminus)


def test_a_point_tells_all_its_bits_when_hovered(frame):
    figure = figures.front_figure(frame, frames.picks(frame, {}), COSTS["weight_bytes"])
    (ladder,) = named(figure, "Uniform bits")
    assert ladder.customdata[0][1].count("2/float") == len(sample.MODEL.layers)


def test_budget_and_float_network_are_drawn(frame):
    figure = figures.front_figure(
        frame, frames.picks(frame, {}), COSTS["weight_bytes"], limit=30_720, float_score=93.0
    )
    shapes = [(shape.type, shape.x0, shape.y0) for shape in figure.layout.shapes]
    assert ("rect", 30.0, 0) in shapes
    assert any(kind == "line" and y == 93.0 for kind, _, y in shapes)
    words = [note.text for note in figure.layout.annotations]
    assert "float 93.0 %" in words
    assert "budget 30 KiB" in words


def test_words_of_a_budget_stay_within_the_plot(frame):
    column = column_of(COSTS["weight_bytes"])
    for share, side in ((0.2, "left"), (0.95, "right")):
        figure = figures.front_figure(
            frame, frames.picks(frame, {}), COSTS["weight_bytes"], limit=share * frame[column].max()
        )
        (note,) = (note for note in figure.layout.annotations if "budget" in note.text)
        assert note.xanchor == side


def test_no_budget_draws_no_line(frame):
    figure = figures.front_figure(frame, frames.picks(frame, {}), COSTS["bit_ops"])
    assert not figure.layout.shapes


def test_an_empty_pick_still_draws_the_front(frame):
    chosen = frames.picks(frame, {"weight_bytes": 1})
    figure = figures.front_figure(frame, chosen, COSTS["weight_bytes"], limit=1)
    assert len(named(figure, "Exact front")) == 1
    assert not named(figure, "best within the budget")[0].x


def test_predictions_have_hollow_marks_and_no_intervals():
    front = predictions.predicted_front("Optimum", sample.table(), sample.MODEL, "weight_bytes")
    figure = figures.front_figure(
        front,
        front.head(1),
        COSTS["weight_bytes"],
        score=DAMAGE,
        score_title="Predicted damage, nats",
    )
    (line,) = named(figure, "Optimum, predicted")
    assert line.marker.symbol.endswith("-open")
    assert line.error_y.array is None
    assert not [trace for trace in figure.data if "all evaluated" in trace.name]


def test_each_method_has_its_own_look():
    looks = {
        (style["colour"], style["marker"], style["dash"])
        for style in (style_of(search.title) for search in SEARCHES.values())
    }
    assert len(looks) == len(SEARCHES)
    tuned = style_of("Exact front, tuned")
    assert tuned["colour"] == style_of("Exact front")["colour"]
    assert tuned != style_of("Exact front")


def test_figures_bring_no_background_and_no_text_colour_of_their_own(frame):
    for figure in (
        figures.front_figure(frame, frames.picks(frame, {}), COSTS["weight_bytes"]),
        bit_heatmap(frames.bits_frame(frames.picks(frame, {}), sample.MODEL)),
    ):
        assert figure.layout.paper_bgcolor == "rgba(0,0,0,0)"
        assert figure.layout.plot_bgcolor == "rgba(0,0,0,0)"
        assert figure.layout.font.color is None


def test_a_layer_name_is_never_read_as_markup():
    name = "<b>x</b>"
    layer = type(sample.MODEL.layers[0])(name, "conv2d", 8, 2, 2, 16, 4, 4)
    model = type(sample.MODEL)("odd", "0" * 64, (layer,))
    points = [sample.stored(1, 1, sample.point(model_uniform(model, 4), 900))]
    frame = points_frame(points, RUNS, model)
    figure = bit_heatmap(frames.bits_frame(frame, model))
    assert list(figure.layout.xaxis.ticktext) == ["&lt;b&gt;x&lt;/b&gt;"]
    assert name not in figure.data[0].hovertext[0][0]


def model_uniform(model, bits):
    return type(sample.uniform(bits)).uniform(model.layers, bits)


def test_the_history_shows_what_was_over_budget():
    run = sample.run_of(1, "uniform", limits={"weight_bytes": 30_000})
    points = [
        sample.stored(1, 1, sample.point(sample.uniform(8), 950)),
        sample.stored(2, 1, sample.point(sample.uniform(2), 700)),
    ]
    history = frames.history_frame(points, run, sample.MODEL)
    figure = figures.history_figure(history, "Accuracy on the search split, %")
    assert list(named(figure, "evaluated")[0].x) == [2]
    assert list(named(figure, "over budget")[0].x) == [1]
    assert figure.layout.xaxis.title.text == "Evaluations"


def test_the_icon_is_drawn_without_asking_any_other_host():
    drawn = icon()
    assert drawn.count("<rect") == 8
    assert drawn.count("http") == drawn.count("http://www.w3.org/2000/svg") == 1
