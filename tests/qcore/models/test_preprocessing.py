"""Height and width of a crop are told apart; what earlier releases wrote is still read."""

import json
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcore.add_network import usual_preprocessing
from qcore.errors import InvalidParams
from qcore.models.cards import MOST_PIXELS, Card, check_preprocessing
from qcore.models.new_network import NewNetwork
from qcore.models.preprocessing import Preprocessing

SIDES = st.integers(1, MOST_PIXELS)


def old(crop, resize, **more):
    """A card's preprocessing before height and width were told apart."""
    now = {"channels": 3, "interpolation": "bilinear", "mean": [0.5], "std": [0.5]}
    return now | {"crop": crop, "resize": resize} | more


@given(SIDES, SIDES, st.integers(1, MOST_PIXELS) | st.none())
def test_what_an_image_covers_has_the_crop_inside_and_its_proportions(height, width, resize):
    steps = Preprocessing(3, height, width, resize, mean=(0.0,), std=(1.0,))
    if resize is not None and resize < min(height, width):
        with pytest.raises(InvalidParams, match="cannot be cropped"):
            check_preprocessing(steps, 3)
        return
    check_preprocessing(steps, 3)
    assert steps.cover[0] >= height
    assert steps.cover[1] >= width
    assert min(steps.cover) == (resize or min(height, width))
    long, short = max(steps.cover), min(steps.cover)
    assert long == pytest.approx(short * max(height, width) / min(height, width), abs=0.5)


@given(SIDES, SIDES, st.integers(1, MOST_PIXELS) | st.none())
def test_what_is_written_is_read(height, width, resize):
    steps = Preprocessing(2, height, width, resize, "bicubic", (0.1, 0.2), (0.3,))
    assert Preprocessing.from_json(json.loads(json.dumps(asdict(steps)))) == steps


def test_earlier_documents_have_one_crop_for_both_sides():
    steps = Preprocessing.from_json(old(224, 256))
    assert (steps.input_shape, steps.resize, steps.mean) == ((3, 224, 224), 256, (0.5,))
    assert steps.cover == (256, 256)


@pytest.mark.parametrize("shape", [(3, 48, 24), (3, 24, 48), (3, 24, 24)])
def test_an_earlier_card_of_a_network_that_is_not_square_gets_its_shape(shape):
    card = Card("a", "A", "onnx", "", shape, 2, Preprocessing(*shape, mean=(0.5,), std=(0.5,)))
    written = card.to_json() | {"preprocessing": old(24, 24)}
    read = Card.from_json(json.loads(json.dumps(written)))
    assert read.preprocessing.input_shape == shape
    assert read.preprocessing.cover == shape[1:]


def test_an_earlier_request_to_add_a_network_is_read():
    new = NewNetwork("a", "onnx", weights="a.onnx").to_json() | {"preprocessing": old(8, 9)}
    assert NewNetwork.from_json(new).preprocessing.input_shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("source", "architecture"), [("factory", ""), ("torchvision", "resnet18"), ("timm", "x")]
)
@pytest.mark.parametrize("shape", [(3, 48, 24), (3, 24, 48), (5, 7, 9)])
def test_where_nothing_is_said_images_get_the_networks_shape(source, architecture, shape):
    steps = usual_preprocessing(source, architecture, object(), shape)
    assert steps.input_shape == shape
    check_preprocessing(steps, shape[0])


@pytest.mark.parametrize("sides", [(0, 8), (8, 0), (MOST_PIXELS + 1, 8), (8, -1)])
def test_sides_that_cannot_be_are_refused(sides):
    steps = Preprocessing(3, *sides, mean=(0.0,), std=(1.0,))
    with pytest.raises(InvalidParams, match="pixels a side"):
        check_preprocessing(steps, 3)
