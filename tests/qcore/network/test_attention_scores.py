"""Sensitivities and scores of networks with attention."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from qcore.allocation import BitAllocation
from qcore.data import Images
from qcore.judges.classes import Classes
from qcore.ptq.model import QuantizedModel
from qcore.scoring.evaluator import Evaluator
from qcore.sensitivity.gradient import _Tap, per_sample
from qcore.sensitivity.measured import SENSITIVITIES, compute_table
from tests.attention_nets import CLASSES, NETWORKS, SIDE, found_in, swin
from tests.small_nets import small_data
from tests.variants import crossed


def images(seed: int) -> Images:
    generator = torch.Generator().manual_seed(seed)
    shape = (8, 3, SIDE, SIDE)
    pixels = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    return Images(pixels, torch.randint(0, CLASSES, (8,), generator=generator))


@pytest.fixture(scope="module", params=NETWORKS)
def evaluator(request):
    parts = {part: images(i) for i, part in enumerate(("calibration", "search", "test"))}
    shape = (3, SIDE, SIDE)
    data = replace(
        small_data(), **parts, input_shape=shape, classes=CLASSES, class_names=tuple("abcde"),
        mean=(0.5,) * 3, std=(0.25,) * 3,
    )  # fmt: skip
    model = QuantizedModel(NETWORKS[request.param](), found_in(request.param))
    return Evaluator(model, data, batch_size=8)


@pytest.mark.parametrize(
    ("evaluator", "kind"), crossed(NETWORKS, SENSITIVITIES), indirect=["evaluator"], scope="module"
)
def test_every_sensitivity_has_a_finite_score_for_every_layer(evaluator, kind):
    table = compute_table(kind, evaluator, [3], [])
    scores = [table.weight[name][3] for name in evaluator.model.spec.names]
    assert np.isfinite(scores).all()
    assert np.any(scores)


def test_an_allocation_is_scored_and_fewer_bits_do_more_damage(evaluator):
    layers = evaluator.model.spec.layers
    eight, two = evaluator.score([BitAllocation.uniform(layers, bits, 8) for bits in (8, 2)])
    assert 0 <= eight.search.kl < two.search.kl


def test_projections_of_windows_are_those_of_each_sample_alone():
    # the second of these layers runs on four windows for each sample
    x = torch.randn(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(4))
    model = QuantizedModel(swin(), found_in("swin"))
    tap = _Tap(model, x, Classes())
    names = ["features.0.0", "features.1.1.attn.qkv", "head"]
    seen = {name: output for name, _, output, _ in tap.calls}
    outputs = [seen[name] for name in names]
    assert [len(output) // 3 for output in outputs] == [1, 4, 1]
    losses = tap.answers[:, 0]
    whole = torch.autograd.grad(losses.sum(), outputs, retain_graph=True)
    for sample in range(3):
        alone = torch.autograd.grad(losses[sample], outputs, retain_graph=True)
        for one, all_ in zip(alone, whole, strict=True):
            torch.testing.assert_close(one.sum(), per_sample(all_, 3)[sample])


def test_a_value_that_samples_share_keeps_its_square():
    values = torch.tensor([[3.0, 1.0]])
    assert per_sample(values, 4).square().sum() == pytest.approx(16.0)
