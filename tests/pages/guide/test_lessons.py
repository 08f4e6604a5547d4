"""The Guide's lessons compute what they say."""

from itertools import pairwise

import numpy as np
import pytest

from pages.guide import lessons, pictures
from pages.shared.words import WORDS, explained
from qcore import load_model
from qcore.data.fashion import SHIPPED_FASHION
from qcore.problem import SensitivityTable
from qcore.quantizers.weights import code_range
from tests.pages import sample


def test_the_weights_are_those_of_the_shipped_network():
    layer = load_model("resnet8").layer2[0].conv1
    own = layer.weight.detach().numpy().ravel()
    assert np.array_equal(lessons.weights().astype(np.float16), own.astype(np.float16))


def test_the_picture_is_the_first_shipped_one():
    assert lessons.PICTURES == SHIPPED_FASHION
    with np.load(SHIPPED_FASHION) as stored:
        assert np.array_equal(lessons.picture(), stored["test_images"][0])


@pytest.mark.parametrize("bits", range(1, 9))
def test_weights_lie_on_the_codes_of_their_bits_and_nothing_beside_is_nearer(bits):
    weights = lessons.weights()
    grid = lessons.snapped(weights, bits)
    low, high = lessons.code_range(bits)
    assert (low, high) == code_range(bits)
    assert low <= grid.codes.min() <= grid.codes.max() <= high
    assert len(np.unique(grid.codes)) <= 2**bits
    levels = grid.step * np.array([-1, 1] if bits == 1 else range(low, high + 1))
    nearest = np.abs(weights[:, None] - levels).min(axis=1)
    assert np.allclose(np.abs(grid.values - weights), nearest)


def test_every_bit_more_changes_the_weights_less():
    errors = [lessons.snapped(lessons.weights(), bits).error for bits in range(1, 9)]
    assert all(more > less for more, less in pairwise(errors))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_picture_of_few_bits_has_few_greys_and_8_bits_are_the_picture(bits):
    image = lessons.picture()
    coarse = lessons.coarse(image, bits)
    assert len(np.unique(coarse)) <= 2**bits
    assert np.abs(coarse.astype(int) - image).max() <= 255 / (2**bits - 1) / 2 + 1
    assert np.array_equal(lessons.coarse(image, 8), image)
    (drawn,) = pictures.greys_figure(image, [bits]).data
    assert np.array_equal(drawn.z, coarse)


def test_the_front_is_what_nothing_else_is_smaller_and_better_than():
    size, loss = lessons.made_up_points()
    front = set(lessons.front_places(size, loss).tolist())
    for place in range(len(size)):
        beaten = any(
            size[other] <= size[place] and loss[other] <= loss[place]
            for other in range(len(size))
            if other != place
        )
        assert (place in front) != beaten


def test_divergence_is_zero_between_equals_and_positive_elsewhere():
    share = np.array([0.7, 0.2, 0.1])
    assert lessons.divergence(share, share) == 0
    assert lessons.divergence(share, share[::-1]) > 0


def test_shares_of_layers_add_up_to_all():
    shares = lessons.layer_shares(sample.table(), sample.MODEL)
    assert list(shares) == list(sample.MODEL.names)
    assert np.sum(list(shares.values()), axis=0) == pytest.approx([100, 100])
    assert lessons.layer_shares(SensitivityTable("kl", "nats", {}), sample.MODEL) == {}


def test_more_images_make_a_shorter_interval():
    figure = pictures.chance_figure(0.92, (100, 1_000, 10_000))
    lengths = list(figure.data[0].error_y.array)
    assert lengths == sorted(lengths, reverse=True)


def test_words_are_explained_in_sentences_and_an_unknown_one_is_refused():
    for word, meaning in WORDS.items():
        assert meaning.endswith("."), word
    assert explained("damage", "nats").startswith("**Damage**: How far")
    with pytest.raises(KeyError):
        explained("no such word")
