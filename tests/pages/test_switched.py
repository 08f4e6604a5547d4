"""What a network that switches takes, and what its run says besides, are shown with the run."""

import pytest

from pages.plots import diagnostics, switchable
from qcore.qat.switchable.size import Payload
from store.runs import lease
from store.runs.checkpoints import FileCheckpoints
from store.runs.queue import finish
from tests.pages import sample

PAYLOAD = {
    "one": Payload(77_000, 1_344, 80, 256).to_json(),
    "all": Payload(160_000, 12_096, 240, 256).to_json(),
    "float": Payload(308_000, 1_344, 0, 256).to_json(),
}
SAMPLED = {"mean": 0.914, "fifth_percentile": 0.898, "minimum": 0.8871}


def epoch(number, **more):
    return {"stage": "layer-wise", "epoch": number, "loss": 1 / number, "accuracy": 0.8, **more}


def run_with(store, *kept, weights=b""):
    held = sample.add_run(store, "bitmixer", [sample.point(sample.uniform(4), 900)])
    if weights:
        FileCheckpoints(store, *held).save("layer-wise", 5, weights)
    for figures in kept:
        lease.progress(store, *held, 1, 2, "searching", figures=figures)
    finish(store, *held, "done")


def test_bytes_are_listed_for_the_float_network_one_allocation_and_all():
    frame = switchable.sizes_frame([epoch(1), {"payload": PAYLOAD}])
    assert frame["Network"].tolist() == list(switchable.ROWS.values())
    assert frame["In all, bytes"].tolist() == [309_600, 78_680, 172_592]
    assert frame["Batch-norms, bytes"].tolist() == [1_344, 1_344, 12_096]


def test_every_kind_of_bytes_has_a_column():
    assert set(switchable.COLUMNS) == set(PAYLOAD["all"])


def test_without_bytes_or_random_bits_nothing_is_said():
    assert switchable.sizes_frame([epoch(1)]).empty
    assert switchable.sampled_words([epoch(1)]) == ""


def test_random_bits_are_summed_up_in_words():
    words = switchable.sampled_words([{"sampled": SAMPLED}])
    assert words.startswith("Accuracy of random bits")
    assert "91.4 % on average, 89.8 % at the 5th percentile, 88.7 % at worst" in words


def test_the_ramp_is_drawn_with_the_training():
    kept = [epoch(1, layer_by_layer=0.0), epoch(2, layer_by_layer=0.5), epoch(3)]
    figure = diagnostics.epochs_figure(diagnostics.epochs_frame(kept))
    ramp = next(trace for trace in figure.data if trace.name == "layer by layer, %")
    assert list(ramp.y) == [0, 50, None]
    assert ramp.yaxis == "y3"
    assert figure.layout.yaxis3.domain[1] < figure.layout.yaxis.domain[0]


def test_training_without_a_ramp_has_no_line_for_one():
    figure = diagnostics.epochs_figure(diagnostics.epochs_frame([epoch(1)]))
    assert "layer by layer, %" not in [trace.name for trace in figure.data]


def test_the_page_lists_bytes_and_random_bits(app, store):
    run_with(store, epoch(1, layer_by_layer=1.0), {"sampled": SAMPLED, "payload": PAYLOAD})
    at = app("searches")
    assert "The network that switches" in [block.label for block in at.expander]
    assert any("88.7 % at worst" in entry.value for entry in at.markdown)
    shown = next(f.value for f in at.dataframe if "Network" in f.value.columns)
    assert shown["In all, bytes"].tolist() == [309_600, 78_680, 172_592]


def test_the_network_can_be_taken_away_with_the_lines_that_run_it(app, store):
    run_with(store, {"payload": PAYLOAD}, weights=b"weights")
    at = app("searches")
    assert "The network" in [e.proto.label for e in at.get("download_button")]
    assert any("load_switchable" in block.value for block in at.code)


def test_a_network_whose_file_is_elsewhere_is_said_to_be(app, store):
    run_with(store, {"payload": PAYLOAD})
    at = app("searches")
    assert "The network" not in [e.proto.label for e in at.get("download_button")]
    assert any("not on this machine" in block.value for block in at.caption)


@pytest.mark.parametrize("kept", [{"candidates": 12}, {"sampled": SAMPLED, "candidates": 12}])
def test_figures_of_which_none_can_be_plotted_leave_the_page_whole(app, store, kept):
    run_with(store, kept)
    at = app("searches")
    assert not at.exception
    assert "How it searched" not in [block.label for block in at.expander]
