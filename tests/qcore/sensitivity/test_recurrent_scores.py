"""Sensitivities of layers that run at every step: all their calls count, each by its own target."""

import pytest
import torch
from torch.nn import functional

from qcore.judges import CLASSES
from qcore.ptq.calibration import float_allocation
from qcore.sensitivity.gradient import _Tap
from qcore.sensitivity.measured import compute_table, release, set_corrected
from qcore.sensitivity.prefix import PrefixReplay
from tests.sequence_nets import NETWORKS, sequence_evaluator
from tests.variants import crossed


@pytest.fixture(scope="module", params=NETWORKS)
def evaluator(request):
    return sequence_evaluator(request.param)


def test_gradient_scores_predict_what_is_measured(evaluator):
    measured = compute_table("kl", evaluator, (3, 4), (32,)).weight
    table = compute_table("gradient", evaluator, (3, 4), (32,))
    for place, (name, _, bits) in enumerate(table.pair_index):
        # the second order of the divergence, where damage is above rounding
        if measured[name][bits] > 1e-6:
            assert table.pairs[place, place] == pytest.approx(measured[name][bits], rel=0.5)


@pytest.mark.parametrize(
    ("evaluator", "kind"),
    crossed(NETWORKS, ["autoround", "higgs", "logit_gram"]),
    indirect=["evaluator"],
    scope="module",
)
def test_scores_cover_layers_of_many_calls_and_of_ids(evaluator, kind):
    table = compute_table(kind, evaluator, (2, 4), (4,))
    for rows in (table.weight, table.activation):
        assert set(rows) == set(evaluator.model.layers)
        assert all(score >= 0 for row in rows.values() for score in row.values())
    damaged = [row[2] > row[4] > 0 for row in table.weight.values()]
    assert sum(damaged) >= len(damaged) - 1  # a layer given nothing but zeros does no damage


def test_slopes_of_all_calls_are_that_of_the_whole(evaluator):
    model, x = evaluator.model, evaluator.calibration[0][0][:4]
    model.set_allocation(float_allocation(model))
    tap = _Tap(model, x, CLASSES)
    name = next(name for name in model.layers if "hh" in name)
    loss = tap.answers[:, 0].sum()
    slopes = torch.autograd.grad(loss, [out for key, _, out, _ in tap.calls if key == name])
    assert len(slopes) > 1
    layer, shift = model.layers[name], 1e-2

    def moved(by):
        layer.watch = lambda this, output: output + this.per_channel(this.bias + by, output)
        try:
            with torch.no_grad():
                return float(functional.log_softmax(model(x), 1)[:, 0].sum())
        finally:
            layer.watch = None

    numeric = (moved(shift) - moved(-shift)) / (2 * shift)
    assert float(sum(slope.sum() for slope in slopes)) == pytest.approx(numeric, abs=1e-3)


def test_a_layer_called_at_every_step_is_corrected_to_each_of_its_outputs(evaluator):
    model, x = evaluator.model, evaluator.calibration[0][0]
    model.set_allocation(float_allocation(model))
    replay = PrefixReplay(model, x)
    for name, layer in model.layers.items():
        # nothing is quantized: whoever corrects must find nothing to correct
        set_corrected(model, layer, "weight", 32, replay.outputs[name])
        # behind a norm the spread is matched too, as exactly as squares of floats tell it
        torch.testing.assert_close(replay.run_from(name), replay.answers, rtol=1e-3, atol=1e-3)
        release(model, layer)
    evaluator.forget()
