"""torchvision's data sets by name, from the data folder; offline, an error that helps."""

import numpy as np
import pytest
from PIL import Image

from qcore.data import load_data
from qcore.data.torchvision_sets import ARRAYS, PHOTOGRAPHS, roots
from qcore.errors import DataUnavailable
from qcore.models._torchvision import torchvision
from qcore.models.catalog import DATASETS


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "datasets"


def test_every_name_is_a_data_set_of_torchvision():
    assert set(ARRAYS) | set(PHOTOGRAPHS) < set(DATASETS)
    names = [entry.cls for entry in ARRAYS.values()] + [row[0] for row in PHOTOGRAPHS.values()]
    assert all(hasattr(torchvision.datasets, name) for name in names)


def test_photographs_are_read_from_the_data_folder(folder):
    wnids = ["n01440764", "n02102040", "n02979186", "n03000684", "n03028079", "n03394916",
             "n03417042", "n03425413", "n03445777", "n03888257"]  # fmt: skip
    rng = np.random.default_rng(0)
    for part in ("train", "val"):
        for wnid in wnids:
            place = folder / "imagenette2" / part / wnid
            place.mkdir(parents=True)
            for number in range(2):
                pixels = rng.integers(0, 256, (300, 260, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{number}.JPEG")
    data = load_data("imagenette", calibration=4, search=6, model="squeezenet1_1")
    assert data.input_shape == (3, 224, 224)
    assert (len(data.calibration), len(data.search), len(data.test)) == (4, 6, 20)
    assert sorted(data.test.labels.tolist()) == sorted([*range(10)] * 2)
    assert data.class_names[0] == "tench / Tinca tinca"


@pytest.mark.parametrize("key", ["mnist", "pets"])
def test_offline_it_says_what_to_run_and_where_to_put_it(folder, monkeypatch, key):
    name = PHOTOGRAPHS[key][0] if key in PHOTOGRAPHS else ARRAYS[key].cls
    source = getattr(torchvision.datasets, name)

    def offline(self):
        raise RuntimeError("Error downloading")

    for method in ("download", "_download"):
        if hasattr(source, method):
            monkeypatch.setattr(source, method, offline)
    with pytest.raises(DataUnavailable) as caught:
        load_data(key, calibration=1, search=1)
    assert f"torchvision.datasets.{name}(root, download=True)" in str(caught.value)
    assert f"copy that folder to {folder}" in str(caught.value)
    assert roots(None)[0] == folder
