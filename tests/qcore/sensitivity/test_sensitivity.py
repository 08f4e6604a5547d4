"""Sensitivity tables equal what their definitions say, computed the slow way."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from torch.nn import functional

from qcore.allocation import LayerBits
from qcore.errors import InvalidParams
from qcore.problem import SensitivityTable
from qcore.ptq.calibration import float_allocation
from qcore.sensitivity import measured
from qcore.sensitivity.hessian import hutchinson_traces
from qcore.sensitivity.measured import SENSITIVITIES, compute_table, release, set_corrected
from qcore.sensitivity.prefix import PrefixReplay
from tests.small_nets import small_evaluator

WIDTHS, INPUTS = (2, 4, 32), (3, 32)


@pytest.fixture(scope="module")
def evaluator():
    return small_evaluator()


@pytest.fixture(scope="module")
def tables(evaluator):
    return {kind: compute_table(kind, evaluator, WIDTHS, INPUTS) for kind in SENSITIVITIES}


@pytest.mark.parametrize("kind", SENSITIVITIES)
def test_every_table_covers_every_layer_and_width_and_survives_json(tables, evaluator, kind):
    table = tables[kind]
    for name in evaluator.model.layers:
        assert np.isfinite(table.score(name, LayerBits(2, 3)))
        assert table.score(name, LayerBits(32, 32)) == 0.0
    again = SensitivityTable.from_json(table.to_json())
    assert again.weight == table.weight
    assert again.pair_index == table.pair_index
    assert again.ranges == table.ranges


@pytest.mark.parametrize("kind", SENSITIVITIES)
def test_every_table_keeps_what_reaches_each_layer_and_the_grids_it_was_scored_with(
    tables, evaluator, kind
):
    model = evaluator.model
    assert set(tables[kind].ranges) == set(model.layers)
    for name, seen in tables[kind].ranges.items():
        assert sum(seen.counts) == int(model.histograms[name].counts.sum())
        grid = model.activation_grid(name, 3)
        low, high = grid.offset + grid.step * grid.low, grid.offset + grid.step * grid.high
        assert seen.grids[3][:3] == (low, high, grid.step)


def test_every_table_says_how_many_weights_are_rounded_to_zero(tables, evaluator):
    for table in tables.values():
        for name in evaluator.model.layers:
            row = table.zeros[name]
            assert set(row) == set(WIDTHS) - {32}
            for bits, share in row.items():
                weight = evaluator.model.prepared_weight(name, bits)
                assert share == int((weight == 0).sum()) / weight.numel()
    back = SensitivityTable.from_json(json.loads(json.dumps(table.to_json())))
    assert back.zeros == table.zeros


def test_a_table_of_an_earlier_release_is_read_without_ranges(tables):
    old = tables["kl"].to_json()
    del old["ranges"]
    assert SensitivityTable.from_json(old).ranges == {}


def test_a_table_leaves_the_scores_of_allocations_alone(evaluator):
    point = evaluator.float_point
    compute_table("kl", evaluator, (2,), (32,))
    again = next(evaluator.score([point.allocation]))
    assert again.search == point.search


@pytest.mark.parametrize("name", ["stem.0", "depthwise", "left", "right", "head"])
def test_replaying_a_prefix_equals_running_everything(evaluator, name):
    model = evaluator.model
    x = evaluator.calibration[0][0]
    model.set_allocation(float_allocation(model))
    replay = PrefixReplay(model, x)
    layer = model.layers[name]
    set_corrected(model, layer, "weight", 2, replay.outputs[name])
    fast = replay.run_from(name)
    with torch.no_grad():
        slow = model(x)
    release(model, layer)
    evaluator.forget()
    assert torch.allclose(fast, slow, atol=1e-5)
    assert not torch.allclose(fast, replay.answers, atol=1e-5)


def test_a_prefix_is_not_run_again(evaluator):
    model = evaluator.model
    model.set_allocation(float_allocation(model))
    replay = PrefixReplay(model, evaluator.calibration[0][0])
    ran, before = [], {name: layer.operation for name, layer in model.layers.items()}

    def counted(name, operation):
        def call(x, weight, bias):
            ran.append(name)
            return operation.call(x, weight, bias)

        return dataclasses.replace(operation, call=call)

    for name, layer in model.layers.items():
        layer.operation = counted(name, before[name])
    replay.run_from("right")
    for name, layer in model.layers.items():
        layer.operation = before[name]
    assert ran == ["right", "head"]


def test_measured_kl_equals_a_plain_measurement(evaluator, tables):
    model = evaluator.model
    total, n = 0.0, 0
    for x, _ in evaluator.calibration:
        model.set_allocation(float_allocation(model))
        with torch.no_grad():
            wanted = functional.log_softmax(model(x), 1)
            hold = {}
            layer = model.layers["left"]
            handle = layer.register_forward_hook(
                lambda m, a, y, hold=hold: hold.update(y=y.clone())
            )
            model(x)
            handle.remove()
            set_corrected(model, layer, "weight", 2, [hold["y"]])
            logs = functional.log_softmax(model(x), 1)
            release(model, layer)
        total += float(functional.kl_div(logs, wanted, reduction="sum", log_target=True))
        n += len(x)
    evaluator.forget()
    assert tables["kl"].weight["left"][2] == pytest.approx(total / n, rel=1e-3)


def test_what_wide_weights_do_follows_from_the_output_error_and_is_what_is_measured(
    evaluator, monkeypatch
):
    table = compute_table("kl", evaluator, (2, 4, 5, 6, 8), (32,))
    assert table.derived == (5, 6, 8)
    told = table.weight
    monkeypatch.setattr(measured, "MEASURED_UP_TO", 16)
    table = compute_table("kl", evaluator, (2, 4, 5, 6, 8), (32,))
    assert table.derived == ()
    true = table.weight
    for name, row in told.items():
        assert (row[2], row[4]) == (true[name][2], true[name][4])
        assert row[8] == pytest.approx(row[4] / 4**4, rel=0.5)
    for bits in (5, 6):
        sums = [sum(row[bits] for row in table.values()) for table in (told, true)]
        assert sums[0] == pytest.approx(sums[1], rel=0.4)


def test_pairs_are_a_gram_matrix_whose_diagonal_bounds_nothing_negative(tables):
    table = tables["gradient"]
    size = len(table.pair_index)
    assert table.pairs.shape == (size, size)
    assert np.allclose(table.pairs, table.pairs.T)
    assert np.linalg.eigvalsh(table.pairs).min() >= -1e-9 * abs(table.pairs).max()


def test_small_damage_is_predicted_by_the_gradient_score(evaluator, tables):
    """At 4 bits the KL of one layer is close to its second-order form."""
    gram, index = tables["gradient"].pairs, tables["gradient"].pair_index
    for name in ("left", "right", "head"):
        row = index.index((name, "weight", 4))
        assert gram[row, row] == pytest.approx(tables["kl"].weight[name][4], rel=0.8)


def test_more_bits_do_less_damage_in_every_table(tables, evaluator):
    for kind in ("kl", "gradient", "weight_mse"):
        row = tables[kind].weight
        assert sum(row[n][4] for n in evaluator.model.layers) < sum(
            row[n][2] for n in evaluator.model.layers
        )


def test_hutchinson_agrees_with_the_exact_trace(evaluator):
    model = evaluator.model
    model.set_allocation(float_allocation(model))
    trace, error = hutchinson_traces(evaluator)["head"]
    x = torch.cat([b for b, _ in evaluator.calibration])
    y = torch.cat([b for _, b in evaluator.calibration])
    layer, exact = model.layers["head"], 0.0
    hold = {}
    handle = layer.register_forward_pre_hook(lambda m, a: hold.update(x=a[0].detach()))
    with torch.no_grad():
        model(x)
    handle.remove()

    def loss(weight):
        return functional.cross_entropy(hold["x"] @ weight.T + layer.bias, y)

    hessian = torch.autograd.functional.hessian(loss, layer.weight.detach().clone())
    exact = float(hessian.reshape(layer.weight.numel(), -1).trace())
    evaluator.forget()
    assert abs(trace - exact) <= 5 * error + 1e-6


def test_loss_without_labels_says_what_to_use():
    with pytest.raises(InvalidParams, match="'kl'"):
        compute_table("loss", small_evaluator(labelled=False), (2,), (32,))


def test_an_unknown_kind_lists_the_known():
    with pytest.raises(InvalidParams, match="gradient"):
        compute_table("entropy", small_evaluator(), (2,), (32,))
