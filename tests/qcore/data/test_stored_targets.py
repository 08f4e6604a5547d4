"""Files of tensors whose labels are maps or pictures, for networks that give these."""

import numpy as np
import pytest
import torch

from qcore.data import load_data
from qcore.errors import InvalidData
from qcore.prepare import prepare
from qcore.run_spec import RunSpec
from tests.qcore.data.pairs.test_pairs import COLOURS, MAPS, N, added, allowed

__all__ = ["allowed"]

torch.set_num_threads(1)
X = COLOURS.transpose(0, 3, 1, 2)


def loaded(path, model, **arrays):
    np.savez(path / "data.npz", x=X, **arrays)
    return load_data(f"tensors:{path / 'data.npz'}", calibration=3, search=3, model=model)


def labels_fit(data, expected):
    known = {image.tobytes(): target for image, target in zip(X, expected, strict=True)}
    for split in (data.calibration, data.search, data.test):
        for pixels, label in zip(split.pixels, split.labels, strict=True):
            assert np.allclose(label.numpy(), known[pixels.numpy().tobytes()])


@pytest.mark.parametrize(
    "form",
    [
        lambda y: y,
        lambda y: y.astype(np.float32),
        lambda y: y[:, None].astype(np.int64),
        lambda y: np.eye(3)[y].transpose(0, 3, 1, 2),
    ],
)
def test_maps_are_read_however_they_are_stored(form, tmp_path):
    model = added("segmenter", "map")
    data = loaded(tmp_path, model, y=form(MAPS))
    labels_fit(data, MAPS)
    assert data.classes is None
    spec = RunSpec(
        model, f"tensors:{tmp_path / 'data.npz'}", "exact", calibration_images=3, search_images=3
    )
    assert prepare(spec).float_point.search.accuracy is not None


def test_places_that_do_not_count_and_yes_and_no(tmp_path):
    maps = MAPS.astype(np.int64)
    maps[:, 0] = -1
    maps[:, 1] = 255
    expected = np.where(maps == 255, -1, maps)
    labels_fit(loaded(tmp_path, added("segmenter", "map"), y=maps), expected)
    labels_fit(loaded(tmp_path, added("foreground"), y=(MAPS > 0)[:, None]), (MAPS > 0)[:, None])


def test_pictures_and_other_numbers_are_targets(tmp_path):
    model = added("denoiser")
    labels_fit(loaded(tmp_path, model, y=X), X / 255)
    depth = np.random.default_rng(0).normal(size=(N, 3, 12, 20)) * 40
    data = loaded(tmp_path, model, y=depth)
    labels_fit(data, depth.astype(np.float32))
    assert data.test.labels.dtype == torch.float32
    assert loaded(tmp_path, model).test.labels is None


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (MAPS + 7, "of sample 0 holds class 9; the network has 3 classes, 0 to 2"),
        (MAPS * 0.5, "holds fractions"),
        (MAPS[:5], "each of the 10 images has its own target"),
        (np.arange(N) % 3, "needs a class number at each place"),
        (MAPS.astype(np.int64) - 3, "holds class -3"),
    ],
)
def test_maps_that_cannot_be_the_networks(y, words, tmp_path):
    with pytest.raises(InvalidData) as caught:
        loaded(tmp_path, added("segmenter", "map"), y=y)
    assert words in str(caught.value)
