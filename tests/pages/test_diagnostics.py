"""What a search sent with its progress is drawn, whichever search it was."""

from pages.plots import diagnostics
from store.runs import lease
from store.runs.queue import finish
from tests.pages import sample

NAMES = sample.MODEL.names
MEAN = dict.fromkeys(NAMES, 3.5)


def generation(number, restart=0, best=0.2):
    return {
        "generation": number, "best": best, "median": 0.3, "record": 0.2, "sigma": 0.9,
        "axis_ratio": 1.5, "mean_bits": MEAN, "mean_activation_bits": {}, "restart": restart,
    }  # fmt: skip


def chosen(number, bits):
    return {"round": number, "value": 0.1, "allocation": sample.uniform(bits).to_json()}


def epoch(stage, number):
    return {"stage": stage, "epoch": number, "loss": 1 / number, "accuracy": 0.8}


def test_generations_are_counted_through_rounds_and_restarts():
    kept = [generation(0), generation(1), chosen(1, 3), generation(0), generation(1, restart=1)]
    frame = diagnostics.generations_frame(kept)
    assert frame["Generation"].tolist() == [1, 2, 3, 4]
    assert frame["start"].tolist() == [False, False, True, True]


def test_a_generation_with_nothing_within_the_limits_leaves_a_gap():
    frame = diagnostics.generations_frame([generation(0, best=None), generation(1)])
    figure = diagnostics.generations_figure(frame)
    best = next(trace for trace in figure.data if trace.name == "best")
    assert list(best.y) == [None, 0.2]


def test_generations_have_a_panel_only_for_what_the_search_sent():
    descent = diagnostics.generations_figure(diagnostics.generations_frame([generation(0)]))
    assert [trace.name for trace in descent.data] == [
        "median", "best", "best so far", "step size", "axis ratio",
    ]  # fmt: skip
    kept = [{"generation": 1, "front": 4, "unique": 24}, {"generation": 2, "front": 7}]
    evolved = diagnostics.generations_figure(diagnostics.generations_frame(kept))
    assert [(trace.name, list(trace.y)) for trace in evolved.data] == [("on the front", [4, 7])]
    assert evolved.layout.yaxis.title.text == "Allocations"
    assert evolved.layout.yaxis.domain == (0, 1)


def test_generations_without_figures_are_not_drawn():
    assert (
        diagnostics.generations_figure(diagnostics.generations_frame([{"generation": 1}])) is None
    )


def test_mean_bits_have_a_row_for_each_layer_and_a_column_for_each_generation():
    kept = [generation(0), {"epoch": 1}, generation(1)]
    figure = diagnostics.means_figure(kept, "mean_bits")
    assert [list(row) for row in figure.data[0].z] == [[3.5, 3.5]] * len(NAMES)
    assert list(figure.layout.yaxis.ticktext) == list(NAMES)


def test_each_round_shows_the_bits_it_chose():
    figure = diagnostics.rounds_figure([chosen(1, 2), chosen(2, 4)], sample.MODEL)
    heatmaps = [trace for trace in figure.data if trace.type == "heatmap"]
    assert [trace.name for trace in heatmaps] == ["Round 1", "Round 2"]
    assert set(heatmaps[0].text[0]) == {"2"}


def test_rounds_of_another_model_are_left_out():
    kept = [{"round": 1, "allocation": {"elsewhere": [2, 32]}}]
    assert diagnostics.rounds_figure(kept, sample.MODEL) is None


def test_epochs_are_counted_through_the_stages():
    kept = [epoch("pretrain", 1), epoch("pretrain", 2), epoch("round-1", 1)]
    frame = diagnostics.epochs_frame(kept)
    assert frame["Epoch"].tolist() == [1, 2, 3]
    names = [trace.name for trace in diagnostics.epochs_figure(frame).data]
    assert names == [
        "pretrain: loss", "pretrain: accuracy, %", "round-1: loss", "round-1: accuracy, %",
    ]  # fmt: skip


def test_the_page_draws_what_a_search_sent(app, store):
    held = sample.add_run(store, "random", [sample.point(sample.uniform(4), 900)])
    at = app("searches")
    plain = len(at.get("plotly_chart"))
    for kept in (generation(0), generation(1), chosen(1, 3), epoch("round-1/weights", 1)):
        lease.progress(store, *held, 1, 2, "searching", figures=kept)
    finish(store, *held, "done")
    at = app("searches")
    assert [tab.label for tab in at.tabs] == [
        "Generations",
        "Mean bits, weights",
        "Rounds",
        "Training",
    ]
    assert len(at.get("plotly_chart")) == plain + 4
