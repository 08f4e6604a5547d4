"""What was learned step by step is drawn as it was sent."""

from pages.plots import trajectories
from store.runs import lease
from store.runs.queue import finish
from tests.pages import sample

NAMES = list(sample.MODEL.names)


def row(step, bits, excess=0.1, inputs=None):
    return {
        "step": step,
        "bits": [[bits, inputs]] * len(NAMES),
        "steps": [[0.125, None if inputs is None else 0.25]] * len(NAMES),
        "ranges": [[0.875, None if inputs is None else 1.75]] * len(NAMES),
        "excess": {"weight_bytes": excess},
    }


def epoch(number, rows):
    return {
        "stage": "bits", "epoch": number, "loss": 0.3, "trajectory": rows, "layers": NAMES
    }  # fmt: skip


def hardening(number, soft=0.9, hard=0.8, off=0.2, beta=10.0):
    return {
        "stage": "mirror/soft", "epoch": number, "loss": 0.3, "soft_accuracy": soft,
        "hard_accuracy": hard, "off_level": off, "beta": beta,
    }  # fmt: skip


KEPT = [epoch(1, [row(0, 4, 0.6), row(5, 3)]), {"round": 1}, epoch(2, [row(10, 2, -0.05)])]


def test_bits_have_a_row_for_each_layer_and_a_column_for_each_noted_step():
    figure = trajectories.bits_figure(trajectories.trajectory_frame(KEPT), "weights")
    assert list(figure.data[0].x) == ["0", "5", "10"]
    assert [list(line) for line in figure.data[0].z] == [[4, 3, 2]] * len(NAMES)
    assert list(figure.data[0].y) == NAMES


def test_inputs_left_in_float_have_no_rows():
    assert set(trajectories.trajectory_frame(KEPT)["part"]) == {"weights"}
    both = trajectories.trajectory_frame([epoch(1, [row(0, 4, inputs=3)])])
    assert set(both["part"]) == {"weights", "inputs"}


def test_steps_and_ranges_have_a_line_for_each_layer():
    figure = trajectories.grids_figure(trajectories.trajectory_frame(KEPT), "weights")
    assert len(figure.data) == 2 * len(NAMES)
    assert {tuple(trace.y) for trace in figure.data} == {(0.875,) * 3, (0.125,) * 3}


def test_the_excess_is_in_percent_of_the_limit_and_may_be_negative():
    figure = trajectories.excess_figure(trajectories.excess_frame(KEPT))
    assert [round(value) for value in figure.data[0].y] == [60, 10, -5]
    assert figure.data[0].name == "Weights"


def test_hardening_counts_its_epochs_through_and_leaves_gaps_without_labels():
    kept = [hardening(1), hardening(2, soft=None, hard=None), hardening(1, off=0.0, beta=None)]
    frame = trajectories.hardening_frame(kept)
    assert frame["Epoch"].tolist() == [1, 2, 3]
    traces = {trace.name: list(trace.y) for trace in trajectories.hardening_figure(frame).data}
    assert traces["soft weights"] == [90.0, None, 90.0]
    assert traces["not at a level"] == [20.0, 20.0, 0.0]


def test_nothing_sent_is_nothing_drawn():
    assert trajectories.drawn([{"generation": 0}, {"epoch": 1, "stage": "a", "loss": 1}]) == {}


def test_the_page_draws_what_was_learned(app, store):
    held = sample.add_run(store, "random", [sample.point(sample.uniform(4), 900)])
    for kept in (*KEPT[::2], hardening(1)):
        lease.progress(store, *held, 1, 2, "searching", figures=kept)
    finish(store, *held, "done")
    labels = [tab.label for tab in app("searches").tabs]
    assert labels == [
        "Training",
        "Learned bits, weights",
        "Steps and ranges, weights",
        "Limits",
        "Hardening",
    ]
