"""Label-free tuning: a step's gradient is the same however many samples are run at once."""

import numpy as np
import pytest
import torch

from qcore.allocation import BitAllocation
from qcore.ptq import tuning
from qcore.ptq.settings import TuningParams
from qcore.scoring.evaluator import Evaluator
from qcore.sensitivity import gradient
from tests.small_nets import small_data, small_model


def tuned(piece, monkeypatch):
    """(scales and biases after a few steps, the largest batch that a step ran)."""
    monkeypatch.setattr(tuning, "samples_at_once", lambda outputs: piece)
    model = small_model()
    params = TuningParams(steps=4, batch_images=24)
    evaluator = Evaluator(model, small_data(labelled=False), tuning=params, batch_size=8)
    allocation = BitAllocation.uniform(model.spec.layers, 2)
    point, seen = next(evaluator.score([allocation])), []
    hook = model.layers["head"].register_forward_pre_hook(
        lambda module, given: seen.append(len(given[0])) if torch.is_grad_enabled() else None
    )
    state = evaluator.state(evaluator.tuned(point))
    hook.remove()
    values = [values for row in state.values() for values in row.values()]
    return values, max(seen)


def test_a_step_in_pieces_is_the_step_of_all_its_samples(monkeypatch):
    whole, most = tuned(1000, monkeypatch)
    pieces, few = tuned(7, monkeypatch)
    assert (most, few) == (24, 7)
    assert len(whole) == len(pieces) > 0
    for one, other in zip(whole, pieces, strict=True):
        assert np.allclose(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("outputs", "samples"), [(10_000, 8947), (5_796_460, 15), (10**9, 1)])
def test_large_networks_run_fewer_samples_at_once(outputs, samples):
    assert tuning.samples_at_once(outputs) == samples
    assert outputs * tuning.KEPT * samples <= max(tuning.MOST_BYTES, outputs * tuning.KEPT)


def test_gradients_of_a_large_network_are_taken_some_samples_at_a_time(monkeypatch):
    evaluator = Evaluator(small_model(), small_data(labelled=False), batch_size=16)
    index = gradient.index_of(evaluator.model, (2, 4), ())
    given = []
    monkeypatch.setattr(gradient, "samples_at_once", lambda outputs, kept: 5)
    for batch in gradient.batches_of(evaluator, index):
        changes = list(batch.changes)
        assert [row for row, _, _ in changes] == list(range(len(index)))
        assert all(len(change) == batch.size for _, _, change in changes)
        given.append(batch.size)
    assert max(given) <= 5
    assert sum(given) == sum(len(x) for x, _ in evaluator.unseen(gradient.IMAGES))
    whole = gradient.gradient_table(evaluator, (2, 4), ())
    monkeypatch.setattr(gradient, "samples_at_once", lambda outputs, kept: 10**6)
    other = gradient.gradient_table(evaluator, (2, 4), ())
    # other classes are drawn, of the same damage
    for layer, row in whole.weight.items():
        assert row[2] == pytest.approx(other.weight[layer][2], rel=0.5)
