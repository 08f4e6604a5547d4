"""Which images are drawn is said by a seed of their own."""

import dataclasses

import pytest
import torch

from qcore.data import load_data
from qcore.prepare import prepare
from qcore.run_spec import RunSpec, data_of, images_name

SPEC = RunSpec(
    "resnet8", "fashion-mnist", "uniform", calibration_images=16, search_images=16, device="cpu"
)


def drawn(**changes):
    return prepare(dataclasses.replace(SPEC, **changes))


def test_the_seed_of_the_images_draws_them_and_that_of_the_search_does_not():
    first, again, other = drawn(), drawn(seed=3), drawn(images_seed=3)
    assert first.data_digest == again.data_digest != other.data_digest
    wanted = load_data("fashion-mnist", calibration=16, search=16, seed=3)
    for split in ("calibration", "search"):
        found = torch.cat([x for x, _ in getattr(other.evaluator, split)])
        assert torch.equal(found, next(getattr(wanted, split).batches(16))[0])


@pytest.mark.parametrize("seed", [0, 1, 123])
@pytest.mark.parametrize("data", ["fashion-mnist", "imagefolder:/a b/c"])
def test_images_of_different_seeds_have_different_names_and_one_data(data, seed):
    name = images_name(data, seed)
    assert data_of(name) == data
    assert (name == data) == (seed == 0)
    assert name != images_name(data, seed + 1)


def test_what_was_stored_before_images_had_a_seed_was_drawn_by_seed_0():
    before = dataclasses.replace(SPEC, seed=7).to_json()
    del before["images_seed"]
    assert RunSpec.from_json(before).images_seed == 0
