"""The evaluator's figures are what a plain loop over the images gives."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from qcore.allocation import BitAllocation, LayerBits
from qcore.errors import InvalidData, InvalidParams
from qcore.ptq.settings import TuningParams
from qcore.scoring.evaluator import Evaluator, batch_size_for, choose_device, to_batches
from tests.small_nets import small_data, small_evaluator, small_model, small_net


@pytest.fixture(scope="module")
def evaluator() -> Evaluator:
    return small_evaluator()


def test_the_float_point_is_the_float_network(evaluator):
    pixels, labels = small_data().test.pixels, small_data().test.labels
    logits = small_net()(pixels.float() / 255)
    point = evaluator.float_point
    assert (point.search.kl, point.search.agreement) == (0.0, 1.0)
    assert evaluator.report(point).test == evaluator.float_point.test
    test = evaluator.float_point.test
    assert test.n == 96
    assert test.accuracy == pytest.approx(float((logits.argmax(1) == labels).float().mean()))
    loss = float(functional.cross_entropy(logits, labels).detach())
    assert test.loss == pytest.approx(loss, rel=1e-4)
    assert (test.kl, test.agreement) == (pytest.approx(0.0, abs=1e-6), 1.0)


def test_answers_of_the_float_network_are_taken_once_on_each_split():
    evaluator, ran = small_evaluator(), []
    evaluator.model.register_forward_hook(lambda *_: ran.append(1))
    kept = evaluator.float_point.allocation
    again = next(evaluator.score([kept]))
    assert (ran, again.search) == ([], evaluator.float_point.search)
    first = evaluator.report(again)
    assert len(ran) == 3  # 96 test images in batches of 32
    second = evaluator.report(evaluator.float_point)
    assert len(ran) == 3
    assert (first.test, first.test_right) == (second.test, second.test_right)
    right = np.unpackbits(np.frombuffer(first.test_right, np.uint8), count=96)
    assert right.mean() == pytest.approx(first.test.accuracy)


def test_scores_are_those_of_a_plain_loop(evaluator):
    allocation = BitAllocation.uniform(evaluator.model.spec.layers, 2, 4)
    point = next(evaluator.score([allocation]))
    x = small_data().search.pixels.float() / 255
    with torch.no_grad():
        logs = functional.log_softmax(evaluator.model(x), 1)
        wanted = functional.log_softmax(small_net()(x), 1)
    kl = functional.kl_div(logs, wanted, log_target=True, reduction="batchmean")
    assert point.search.kl == pytest.approx(float(kl), rel=1e-3)
    agreed = (logs.argmax(1) == wanted.argmax(1)).float().mean()
    assert point.search.agreement == pytest.approx(float(agreed), abs=0.02)
    assert point.test is None


def test_a_score_does_not_depend_on_what_was_scored_before(evaluator):
    layers = evaluator.model.spec.layers
    low, high = BitAllocation.uniform(layers, 2), BitAllocation.uniform(layers, 4)
    first = next(evaluator.score([low])).search
    list(evaluator.score([high, low.replace("head", LayerBits(8))]))
    assert next(evaluator.score([low])).search == first


def test_reporting_adds_the_test_split_and_keeps_the_rest(evaluator):
    point = next(evaluator.score([BitAllocation.uniform(evaluator.model.spec.layers, 3)]))
    reported = evaluator.report(point)
    assert reported.test.n == 96
    assert reported.search == point.search


def test_a_report_says_which_test_images_were_right(evaluator):
    reported = evaluator.report(
        next(evaluator.score([BitAllocation.uniform(evaluator.model.spec.layers, 3)]))
    )
    right = np.unpackbits(np.frombuffer(reported.test_right, np.uint8), count=reported.test.n)
    assert right.mean() == pytest.approx(reported.test.accuracy)
    batches = to_batches(evaluator._test_images, 16, "cpu")
    with torch.inference_mode():
        plain = torch.cat([evaluator.model(x).argmax(1) == y for x, y in batches])
    assert right.astype(bool).tolist() == plain.tolist()


def test_without_labels_agreement_is_the_headline():
    point = small_evaluator(labelled=False).float_point
    assert point.search.accuracy is None
    assert point.search.loss is None
    assert point.search.headline == 1.0


def test_tuning_without_labels_lowers_the_divergence():
    evaluator = Evaluator(
        small_model(), small_data(labelled=False), tuning=TuningParams(steps=60), batch_size=32
    )
    point = next(evaluator.score([BitAllocation.uniform(evaluator.model.spec.layers, 2)]))
    tuned = evaluator.tuned(point)
    assert tuned.stage == "ptq+tuned"
    assert tuned.search.kl < point.search.kl
    # the scales moved, the codes did not: still at most four levels a channel
    weight = evaluator.model.layers["right"].effective_weight.flatten(1)
    assert all(len(row.unique()) <= 4 for row in weight)
    # and the untuned stage is untouched by it
    assert next(evaluator.score([point.allocation])).search == point.search


def test_nan_in_the_weights_is_said_and_not_scored():
    model = small_model()
    model.layers["head"].bias.fill_(float("nan"))
    with pytest.raises(InvalidData, match="NaN"):
        Evaluator(model, small_data(), batch_size=32)


def test_an_unknown_device_or_stage_is_refused(evaluator):
    with pytest.raises(InvalidParams, match=r"present: .*cpu"):
        choose_device("tpu")
    with pytest.raises(InvalidParams, match="stage"):
        next(evaluator.score([evaluator.float_point.allocation], "round-7"))


def test_nan_pixels_are_named_by_batch():
    images = small_data().search

    class Broken:
        def batches(self, size, device):
            for x, y in images.batches(size, device):
                yield x * float("nan"), y

    with pytest.raises(InvalidData, match="Batch 0"):
        to_batches(Broken(), 16, "cpu")


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 224, 224), (3, 600, 600)])
def test_batches_are_never_empty(shape):
    assert 8 <= batch_size_for(shape, "cpu") <= 128


def test_windows_of_the_search_split_add_up_to_it_and_wrap_around(evaluator):
    allocation = BitAllocation.uniform(evaluator.model.spec.layers, 2)
    whole = next(evaluator.score([allocation])).search
    n = whole.n

    def total(start, count):
        point = next(evaluator.score([allocation], images=(start, count)))
        assert point.images == (start, count)
        assert point.search.n == count
        return point.search.kl * count

    parts = [total(10, 20), total(30, n - 20)]  # the second one wraps around to image 9
    assert sum(parts) == pytest.approx(whole.kl * n, rel=1e-4)
    assert total(10 + n, 20) == pytest.approx(parts[0], rel=1e-4)


@pytest.mark.parametrize("count", [0, 10_000])
def test_a_window_larger_than_the_search_split_is_refused(evaluator, count):
    allocation = BitAllocation.uniform(evaluator.model.spec.layers, 2)
    with pytest.raises(InvalidParams, match="does not fit the search split"):
        list(evaluator.score([allocation], images=(0, count)))
