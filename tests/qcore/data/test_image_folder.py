import numpy as np
import pytest
import torch
from PIL import Image

from qcore.data import (
    load_data,
)
from qcore.data.image_folder import plain_folder, remarks_on
from qcore.errors import DataUnavailable, InvalidData, InvalidParams
from qcore.models._torchvision import torchvision
from qcore.models.catalog import MODELS
from qcore.models.preprocessing import Preprocessing
from tests.pictures import picture, rows

torch.set_num_threads(1)


def test_a_plain_folder_is_split_by_the_seed_without_labels(photos):
    data = load_data(f"images:{photos}", calibration=4, search=5)
    assert (len(data.calibration), len(data.search), len(data.test)) == (4, 5, 3)
    assert data.input_shape == (3, 224, 224)
    assert data.classes is None
    assert data.class_names == ()
    assert data.test.labels is None
    assert len(rows(data.calibration) | rows(data.search) | rows(data.test)) == 12
    assert data.digest == load_data(f"images:{photos}", calibration=4, search=5).digest
    assert data.digest != load_data(f"images:{photos}", calibration=4, search=5, seed=1).digest


def test_images_are_prepared_as_the_model_wants(photos):
    data = load_data(f"images:{photos}", calibration=1, search=1, model="inception_v3")
    assert data.input_shape == (3, 299, 299)
    assert data.mean == MODELS["inception_v3"].preprocessing.mean
    with pytest.raises(InvalidParams, match="Unknown model 'resnet'"):
        load_data(f"images:{photos}", calibration=1, search=1, model="resnet")


@pytest.mark.parametrize("size", [(40, 30), (30, 40), (64, 64), (333, 57), (28, 28)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_pixels_equal_torchvisions_transforms(tmp_path, size, interpolation):
    path = picture(tmp_path / "a.png", size)
    steps = Preprocessing(height=28, width=28, resize=32, interpolation=interpolation)
    ours = plain_folder(tmp_path).train.read([0], steps).pixels
    transforms = torchvision.transforms
    mode = transforms.InterpolationMode(interpolation)
    theirs = transforms.Compose(
        [transforms.Resize(32, mode, antialias=True), transforms.CenterCrop(28)]
    )(Image.open(path))
    assert np.array_equal(ours[0].transpose(1, 2, 0), np.asarray(theirs))


def test_labelled_folders_with_train_and_val(tmp_path):
    for part, count in (("train", 4), ("val", 2)):
        for label in ("cat", "ant"):
            for number in range(count):
                picture(tmp_path / part / label / f"{number}.jpg", seed=number)
    data = load_data(f"imagefolder:{tmp_path}", calibration=3, search=5)
    assert data.class_names == ("ant", "cat")
    assert data.classes == 2
    assert (
        sorted(torch.cat([data.calibration.labels, data.search.labels]).tolist())
        == [0] * 4 + [1] * 4
    )
    assert data.test.labels.tolist() == [0, 0, 1, 1]
    with pytest.raises(InvalidParams, match="has 8 images"):
        load_data(f"imagefolder:{tmp_path}", calibration=4, search=5)


def test_labelled_folders_without_a_division_are_split_by_the_seed(tmp_path):
    for label in range(3):
        for number in range(4):
            picture(tmp_path / f"class{label}" / f"{number}.png", seed=10 * label + number)
    data = load_data(f"imagefolder:{tmp_path}", calibration=2, search=3)
    assert (len(data.test), data.classes) == (7, 3)
    assert len(rows(data.calibration) | rows(data.search) | rows(data.test)) == 12
    with pytest.raises(InvalidParams, match="leave none to test on"):
        load_data(f"imagefolder:{tmp_path}", calibration=6, search=6)


def test_test_images_of_a_folder_are_limited_and_said_so(monkeypatch, photos):
    monkeypatch.setattr("qcore.data.FOLDER_TEST_LIMIT", 2)
    data = load_data(f"images:{photos}", calibration=4, search=5)
    assert len(data.test) == 2
    assert data.notes == ("2 of 3 test images are used, by the seed.",)


def test_folders_that_cannot_be_used_are_refused(tmp_path):
    with pytest.raises(DataUnavailable, match="no folder"):
        load_data(f"images:{tmp_path}/nowhere", calibration=1, search=1)
    with pytest.raises(InvalidData, match="holds no image files"):
        load_data(f"images:{tmp_path}", calibration=1, search=1)
    with pytest.raises(InvalidData, match="no class folders"):
        load_data(f"imagefolder:{tmp_path}", calibration=1, search=1)
    picture(tmp_path / "train" / "a" / "0.png")
    with pytest.raises(InvalidData, match="only train"):
        load_data(f"imagefolder:{tmp_path}", calibration=1, search=1)
    picture(tmp_path / "val" / "b" / "0.png")
    with pytest.raises(InvalidData, match="different classes; only one has: a, b"):
        load_data(f"imagefolder:{tmp_path}", calibration=1, search=1)
    (tmp_path / "val" / "a").mkdir()
    with pytest.raises(InvalidData, match="val/a holds no image files"):
        load_data(f"imagefolder:{tmp_path}", calibration=1, search=1)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("keep", [0, 20, 600])
def test_a_corrupt_image_is_named(tmp_path, suffix, keep):
    path = picture(tmp_path / f"broken{suffix}", size=(60, 60))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InvalidData, match="broken"):
        plain_folder(tmp_path).train.read([0], Preprocessing())


STEPS = Preprocessing(3, 8, 8)
GREY = Preprocessing(1, 8, 8)


def test_grey_files_among_colour_ones_are_repeated_and_reported(tmp_path):
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png", mode="L")
    read = plain_folder(tmp_path).train.read([0, 1], STEPS)
    pixels, [note] = read.pixels, remarks_on([read])
    assert note.startswith("1 grey files were repeated to 3 channels")
    assert "b.png" in note
    assert np.array_equal(pixels[1, 0], pixels[1, 1])
    assert not np.array_equal(pixels[0, 0], pixels[0, 1])


def test_a_folder_of_grey_files_is_refused_where_colour_is_wanted(tmp_path):
    picture(tmp_path / "a.png", mode="L")
    read = plain_folder(tmp_path).train.read([0], STEPS)
    with pytest.raises(InvalidData, match=r"takes colour images.*a\.png"):
        remarks_on([read])
    for name in "bcd":
        picture(tmp_path / f"{name}.png", mode="L")
    with pytest.raises(InvalidData, match="all 4 read here are grey"):
        load_data(f"images:{tmp_path}", calibration=1, search=1)
    picture(tmp_path / "e.png")
    notes = load_data(f"images:{tmp_path}", calibration=1, search=1).notes
    assert [note[:14] for note in notes] == ["4 grey files w"]


def test_colour_files_are_refused_where_grey_is_wanted(tmp_path):
    picture(tmp_path / "a.png")
    with pytest.raises(InvalidData, match=r"a\.png is a colour image"):
        plain_folder(tmp_path).train.read([0], GREY)


def test_grey_pixels_are_taken_from_grey_files_and_from_colour_files_without_colour(tmp_path):
    grey = Image.open(picture(tmp_path / "a.png", mode="L"))
    grey.convert("RGB").save(tmp_path / "b.png")
    read = plain_folder(tmp_path).train.read([0, 1], GREY)
    pixels = read.pixels
    assert pixels.shape == (2, 1, 8, 8)
    assert np.array_equal(pixels[0], pixels[1])
    assert remarks_on([read]) == []


def test_only_opaque_images_are_flattened(tmp_path):
    opaque = Image.open(picture(tmp_path / "a.png")).convert("RGBA")
    opaque.save(tmp_path / "b.png")
    pixels = plain_folder(tmp_path).train.read([0, 1], STEPS).pixels
    assert np.array_equal(pixels[0], pixels[1])
    picture(tmp_path / "c.png", mode="RGBA")
    with pytest.raises(InvalidData, match=r"c\.png has transparent pixels"):
        plain_folder(tmp_path).train.read([2], STEPS)


def test_hidden_and_other_files_are_passed_over(photos):
    (photos / "notes.txt").write_text("no image")
    (photos / ".hidden.png").write_bytes(b"no image")
    assert len(plain_folder(photos).train) == 12
