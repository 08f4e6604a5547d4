"""Training images are those that nothing else uses."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from qcore import data as data_module
from qcore.data import load_data
from qcore.errors import DataUnavailable


def pixels(images) -> set[bytes]:
    return {x.numpy().tobytes() for x in images.pixels}


def test_without_the_full_set_the_rest_of_the_subset_trains(monkeypatch):
    whole = data_module.load_fashion_mnist

    def subset_only(root, full):
        if full:
            raise DataUnavailable("not here")
        return whole(root, full)

    monkeypatch.setattr(data_module, "load_fashion_mnist", subset_only)
    data = load_data("fashion-mnist", calibration=300, search=200, training=True)
    assert len(data.training) == 9_500
    assert not pixels(data.training) & (pixels(data.calibration) | pixels(data.search))
    assert data.training.mean == data.search.mean


def test_with_the_full_set_all_but_the_splits_train(monkeypatch):
    (x, y), test = data_module.load_fashion_mnist(None, full=False)
    generator = torch.Generator().manual_seed(0)
    extra = torch.randint(0, 256, (500, 1, 28, 28), generator=generator, dtype=torch.uint8)
    everything = (torch.cat([extra, x]), torch.cat([y[:500], y])), test
    monkeypatch.setattr(
        data_module,
        "load_fashion_mnist",
        lambda root, full: everything if full else ((x, y), test),
    )
    data = load_data("fashion-mnist", calibration=300, search=200, training=True)
    assert len(data.training) == 10_000
    assert not pixels(data.training) & (pixels(data.calibration) | pixels(data.search))


def test_asking_for_training_images_changes_no_other_split():
    plain = load_data("fashion-mnist", calibration=30, search=20)
    more = load_data("fashion-mnist", calibration=30, search=20, training=True)
    assert plain.training is None
    assert plain.digest == more.digest
    assert torch.equal(plain.search.pixels, more.search.pixels)


@pytest.mark.parametrize("held_out", [True, False])
def test_of_a_folder_the_rest_of_train_trains(tmp_path: Path, held_out):
    rng = np.random.default_rng(0)
    parts = ("train", "val") if held_out else ("",)
    for part in parts:
        for name in ("cat", "dog"):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for number in range(8):
                array = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
                Image.fromarray(array).save(folder / f"{number}.png")
    data = load_data(f"imagefolder:{tmp_path}", calibration=4, search=3, training=True)
    if not held_out:
        assert data.training is None
        return
    assert len(data.training) == 16 - 7
    assert len(data.training.labels) == 9
    assert not pixels(data.training) & (pixels(data.calibration) | pixels(data.search))
