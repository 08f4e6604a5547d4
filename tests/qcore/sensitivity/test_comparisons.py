"""The scores of AutoRound and HIGGS equal what they are defined as, computed another way."""

from types import SimpleNamespace

import pytest
import torch

from qcore.judges.embedding import Embedding
from qcore.ptq.calibration import float_allocation
from qcore.sensitivity.autoround import SAMPLES
from qcore.sensitivity.higgs import LEVELS, fitted, relative_error
from qcore.sensitivity.measured import compute_table
from tests.qcore.ptq.test_correction import text_model, texts
from tests.small_nets import small_evaluator

WIDTHS, INPUTS = (2, 3, 4, 8, 32), (3, 6, 32)


@pytest.fixture(scope="module")
def evaluator():
    return small_evaluator()


@pytest.fixture(scope="module")
def tables(evaluator):
    return {kind: compute_table(kind, evaluator, WIDTHS, INPUTS) for kind in ("autoround", "higgs")}


@pytest.fixture(scope="module")
def at_the_head(evaluator):
    """What the last layer is given (n, 12) and log-probabilities (n, 4), on every sample."""
    model, seen = evaluator.model, []
    model.set_allocation(float_allocation(model))
    head = model.layers["head"]
    handle = head.register_forward_pre_hook(lambda module, given: seen.append(given[0].detach()))
    with torch.no_grad():
        logs = torch.cat([model(x).log_softmax(1) for x, _ in evaluator.unseen(SAMPLES)])
    handle.remove()
    return torch.cat(seen), logs


def test_autoround_sums_absolute_products_sample_by_sample(evaluator, tables, at_the_head):
    """In a last linear layer the gradient is (p - drawn) x input; at its input W'(p - drawn)."""
    given, logs = at_the_head
    model, generator = evaluator.model, torch.Generator().manual_seed(0)
    weight = model.layers["head"].weight
    change = model.prepared_weight("head", 2) - weight
    grid = model.activation_grid("head", 3)
    weights = inputs = 0.0
    for x, row in zip(given, logs, strict=True):
        drawn = row.exp()[None].multinomial(1, generator=generator)[0, 0]
        slope = row.exp()
        slope[drawn] -= 1
        weights += float((slope[:, None] * x * change).abs().sum())
        inputs += float((weight.T @ slope * (grid.quantize(x) - x)).abs().sum())
    table = tables["autoround"]
    assert table.n == len(given)
    assert table.weight["head"][2] == pytest.approx(weights / len(given), rel=1e-4)
    assert table.activation["head"][3] == pytest.approx(inputs / len(given), rel=1e-4)


def test_autoround_is_linear_in_the_change_where_a_divergence_is_quadratic(evaluator, tables):
    """It falls by 2 a bit, and not by 4, so that it is no divergence and says so."""
    table = tables["autoround"]
    for name in evaluator.model.layers:
        falls = table.weight[name][4] / table.weight[name][8]
        assert 2**4 / 2.5 < falls < 2**4 * 2.5
    assert "nats" not in table.unit


def test_higgs_is_one_alpha_a_layer_times_the_squared_relative_error(evaluator, tables):
    for part, widths in (("weight", WIDTHS), ("activation", INPUTS)):
        for name, row in getattr(tables["higgs"], part).items():
            assert set(row) == set(widths) - {32}
            alphas = [
                score / relative_error(evaluator.model, name, part, bits)
                for bits, score in row.items()
            ]
            assert alphas == pytest.approx([alphas[0]] * len(alphas))
            assert alphas[0] > 0


def test_the_relative_error_is_that_of_the_weights(evaluator):
    layer = evaluator.model.layers["left"]
    change = evaluator.model.prepared_weight("left", 3) - layer.weight
    expected = float((change.norm() / layer.weight.norm()) ** 2)
    assert relative_error(evaluator.model, "left", "weight", 3) == pytest.approx(expected)


def test_alpha_is_the_curvature_times_the_squared_size(evaluator, tables, at_the_head):
    """For noise in a last linear layer: 1/2 rms(W)^2 E[|x|^2 sum p (1 - p)], up to five draws."""
    given, logs = at_the_head
    weight, p = evaluator.model.layers["head"].weight, logs.exp()
    curved = given.square().sum(1) * (p * (1 - p)).sum(1)
    expected = 0.5 * float(weight.square().mean() * curved.mean())
    error = relative_error(evaluator.model, "head", "weight", 4)
    assert tables["higgs"].weight["head"][4] / error == pytest.approx(expected, rel=0.6)


def test_alpha_is_a_slope_through_zero():
    assert fitted([3 * level**2 for level in LEVELS]) == pytest.approx(3)
    assert fitted([0.0] * len(LEVELS)) == 0.0


@pytest.mark.parametrize("kind", ["autoround", "higgs"])
def test_what_fills_up_short_texts_changes_no_score(kind):
    found = []
    for filler in (0, 7):
        batch = texts(16, filler=filler)
        scorer = SimpleNamespace(
            model=text_model(),
            judge=Embedding(mask="mask"),
            unseen=lambda most, batch=batch: [(batch, None)],
            forget=lambda: None,
        )
        found.append(compute_table(kind, scorer, (3,), (4,)))
    for name in ("query", "key", "value", "out"):
        for part, bits in (("weight", 3), ("activation", 4)):
            first, second = (getattr(table, part)[name][bits] for table in found)
            assert first == pytest.approx(second, rel=1e-3)
            assert first > 0
