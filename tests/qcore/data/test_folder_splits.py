"""What a folder's parts are for, and how many damaged files it may hold."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from qcore.data import check_data_fits, load_data
from qcore.data.image_folder import ROLES, labelled_folder, plain_folder
from qcore.data.listing import LEFT_BEHIND, image_files
from qcore.data.skipped import SHARE, Skipped
from qcore.errors import DataUnavailable, InvalidData, InvalidParams
from qcore.models.catalog import PREPROCESSING
from tests.own_networks import network_of
from tests.pictures import picture, rows

SMALL = (12, 9)


def fill(folder, classes=("a", "b"), each=3, first=0):
    for number, label in enumerate(classes):
        for k in range(each):
            picture(folder / label / f"{k}.png", SMALL, seed=first + 100 * number + k)
    return folder


def names_of(files):
    return {path.relative_to(path.parents[2]).parts[0] for path in files.paths}


# ---- parts


@pytest.mark.parametrize("train", [*ROLES["train"], "Train", "TRAINING"])
@pytest.mark.parametrize("held_out", [*ROLES["val"], *ROLES["test"], "Valid", "VAL", "Test"])
def test_two_parts_train_and_test(tmp_path, train, held_out):
    fill(tmp_path / train)
    fill(tmp_path / held_out)
    parts = labelled_folder(tmp_path)
    assert names_of(parts.train) == {train}
    assert names_of(parts.held_out) == {held_out}
    assert parts.val is None
    assert parts.notes == ()


@pytest.mark.parametrize(("val", "test"), [("val", "test"), ("valid", "testing"), ("Dev", "Test")])
def test_of_three_parts_each_has_its_role(tmp_path, val, test):
    for first, part in enumerate(("train", val, test)):
        fill(tmp_path / part, each=4, first=10 * first)
    data = load_data(f"imagefolder:{tmp_path}", calibration=3, search=5, training=True)
    pixels = {}
    for part in ("train", val, test):
        every = plain_folder(tmp_path / part).train
        read = every.read(range(len(every)), PREPROCESSING)
        pixels[part] = {image.tobytes() for image in read.pixels}
    assert rows(data.calibration) | rows(data.training) == pixels["train"]
    assert rows(data.search) < pixels[val]
    assert rows(data.test) == pixels[test]
    assert any("Search images are drawn from the validation part" in note for note in data.notes)


def test_a_validation_part_too_small_to_search_on_is_said_to_be_unused(tmp_path):
    for first, part in enumerate(("train", "val", "test")):
        fill(tmp_path / part, each=4, first=10 * first)
    enough = load_data(f"imagefolder:{tmp_path}", calibration=1, search=7)
    assert any("drawn from the validation part" in note for note in enough.notes)
    (tmp_path / "val" / "a" / "0.png").unlink()
    (tmp_path / "val" / "a" / "1.png").unlink()
    data = load_data(f"imagefolder:{tmp_path}", calibration=1, search=7)
    assert len(data.search) == 7
    assert any("only 6 images for 7 search images" in note for note in data.notes)
    assert not rows(data.search) & (rows(data.test) | rows(enough.search))


@pytest.mark.parametrize(
    "classes",
    [("boat", "train"), ("test", "train"), ("train", "val"), ("train", "val", "test"),
     ("val", "test"), ("Training", "validation"), ("train",)],
)  # fmt: skip
def test_classes_may_be_called_like_parts(tmp_path, classes):
    parts = labelled_folder(fill(tmp_path, classes))
    assert parts.train.class_names == tuple(sorted(classes))
    assert (parts.held_out, parts.val) == (None, None)
    assert len(parts.train) == 3 * len(classes)


def test_parts_may_hold_classes_called_like_parts(tmp_path):
    fill(tmp_path / "train", ("train", "val", "boat"))
    fill(tmp_path / "test", ("train", "val", "boat"))
    parts = labelled_folder(tmp_path)
    assert parts.train.class_names == ("boat", "train", "val")
    assert names_of(parts.held_out) == {"test"}


def test_classes_that_hold_folders_stay_classes(tmp_path):
    fill(tmp_path / "train", ("2021", "2022"))
    fill(tmp_path / "boat", ("2021", "2022"))
    assert labelled_folder(tmp_path).train.class_names == ("boat", "train")


def test_what_lies_beside_the_parts_is_said_to_be_unused(tmp_path):
    for part in ("train", "val", "labels"):
        fill(tmp_path / part)
    (tmp_path / "test").mkdir()
    picture(tmp_path / "test" / "0.png", SMALL)
    parts = labelled_folder(tmp_path)
    assert names_of(parts.held_out) == {"val"}
    assert parts.notes == ("Beside its parts the folder holds labels, test, not used.",)


def test_parts_without_one_to_train_or_to_test_on_are_refused(tmp_path):
    fill(tmp_path / "Valid")
    with pytest.raises(InvalidData, match="has only Valid"):
        labelled_folder(tmp_path)
    fill(tmp_path / "test")
    with pytest.raises(InvalidData, match="has only Valid, test"):
        labelled_folder(tmp_path)


def test_two_folders_for_one_part_are_refused(tmp_path):
    for part in ("train", "val", "valid"):
        fill(tmp_path / part)
    with pytest.raises(InvalidData, match="val and valid"):
        labelled_folder(tmp_path)


@pytest.mark.parametrize("part", ["val", "test"])
def test_every_part_has_the_same_classes(tmp_path, part):
    for name in ("train", "val", "test"):
        fill(tmp_path / name, ("a", "b", "c") if name == part else ("a", "b"))
    with pytest.raises(InvalidData, match="only one has: c"):
        labelled_folder(tmp_path)


# ---- files that cannot be used


def spoil(path):
    path.write_bytes(path.read_bytes()[:40])


def flat(folder, count):
    for number in range(count):
        picture(folder / f"{number:04}.png", SMALL, seed=number)
    return sorted(folder.glob("*.png"))


@pytest.mark.parametrize("bad", range(12))
def test_one_damaged_file_costs_no_split_an_image_but_the_last(tmp_path, bad):
    paths = flat(tmp_path, 12)
    spoil(paths[bad])
    data = load_data(f"images:{tmp_path}", calibration=4, search=3)
    assert [len(s) for s in (data.calibration, data.search, data.test)] == [4, 3, 4]
    assert len(rows(data.calibration) | rows(data.search) | rows(data.test)) == 11
    [note] = [note for note in data.notes if "left out" in note]
    assert note.startswith("1 of 12 files cannot be used")
    assert str(paths[bad]) in note


def test_a_damaged_file_that_is_not_drawn_does_not_matter(tmp_path, monkeypatch):
    monkeypatch.setattr("qcore.data.FOLDER_TEST_LIMIT", 2)
    paths = flat(tmp_path, 12)
    whole = load_data(f"images:{tmp_path}", calibration=2, search=2)
    drawn = torch.randperm(12, generator=torch.Generator().manual_seed(0)).tolist()
    spoil(paths[drawn[-1]])
    spoil(paths[drawn[-2]])
    assert load_data(f"images:{tmp_path}", calibration=2, search=2).digest == whole.digest


def test_more_are_refused_and_all_are_named(tmp_path):
    paths = flat(tmp_path, 12)
    bad = [0, 3, 4, 7, 11]
    for index in bad:
        spoil(paths[index])
    with pytest.raises(InvalidData, match=r"5 files cannot be used.*at most 1 may") as caught:
        load_data(f"images:{tmp_path}", calibration=4, search=3)
    assert [str(path) in str(caught.value) for path in paths] == [i in bad for i in range(12)]


@pytest.mark.parametrize(("total", "allowed"), [(1, 0), (2, 1), (99, 1), (200, 2), (10_000, 100)])
def test_the_share_that_may_be_damaged(total, allowed):
    skipped = Skipped(total)
    assert skipped.allowed == allowed
    skipped.reasons += [("a", "a is bad.")] * allowed
    assert not skipped.too_many
    assert skipped.note().startswith(f"{allowed} of {total:,}" if allowed else "")
    skipped.reasons.append(("b", "b is bad."))
    assert skipped.too_many
    assert "b" in str(skipped.refuse())
    assert SHARE == 0.01


def test_long_lists_are_cut():
    reasons = [(f"<{k}>", f"<{k}> {'is cut' if k % 5 else 'is dark'}.") for k in range(50)]
    words = str(Skipped(100, reasons).refuse())
    assert [f"<{k}>" in words for k in range(50)] == [k < 20 for k in range(50)]
    assert (words.count("is cut"), words.count("is dark")) == (1, 1)
    assert "The same holds for <5>, <10>, <15>." in words
    assert words.endswith("And 30 more.")


def test_damaged_files_of_every_part_count_together(tmp_path):
    for first, part in enumerate(("train", "val", "test")):
        fill(tmp_path / part, each=4, first=10 * first)
        if part != "val":
            spoil(tmp_path / part / "a" / "0.png")
            spoil(tmp_path / part / "a" / "1.png")
    with pytest.raises(InvalidData, match="cannot be used"):
        load_data(f"imagefolder:{tmp_path}", calibration=7, search=5)


@pytest.mark.parametrize("kind", ["empty", "words", "folder", "gone", "transparent"])
def test_every_kind_of_unusable_file_is_left_out_and_named(tmp_path, kind):
    paths = flat(tmp_path, 6)
    path = paths[2]
    path.unlink()
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "words":
        path.write_text("<html>not found</html>")
    elif kind == "folder":
        path.mkdir()
    elif kind == "gone":
        path.symlink_to(tmp_path / "nowhere.png")
    else:
        picture(path, SMALL, mode="RGBA")
    data = load_data(f"images:{tmp_path}", calibration=2, search=2)
    assert len(data.test) == 1
    assert any(path.name in note for note in data.notes) == (kind != "folder")


def test_test_images_are_limited_in_bytes_too(tmp_path, monkeypatch):
    monkeypatch.setattr("qcore.data.folder_splits.MOST_BYTES", 2 * 3 * 224 * 224 + 1)
    flat(tmp_path, 9)
    data = load_data(f"images:{tmp_path}", calibration=2, search=2)
    assert len(data.test) == 2
    assert "2 of 5 test images are used, by the seed." in data.notes


def test_labels_stay_with_their_images(tmp_path):
    for number, shade in enumerate((0, 60, 120, 180, 240)):
        for k in range(4):
            path = tmp_path / f"class{number}" / f"{k}.png"
            path.parent.mkdir(exist_ok=True)
            Image.new("RGB", SMALL, (shade,) * 3).save(path)
    spoil(tmp_path / "class1" / "2.png")
    data = load_data(f"imagefolder:{tmp_path}", calibration=6, search=6)
    for split in (data.calibration, data.search, data.test):
        shades = split.pixels.flatten(1).float().mean(1)
        assert shades.tolist() == [60.0 * label for label in split.labels.tolist()]


# ---- listing


def test_files_are_listed_in_the_order_of_their_paths(tmp_path):
    for name in ("b/1", "b-/1", "a", "b.c/d/e", "B", "ä", "b/0"):
        picture(tmp_path / f"{name}.png", SMALL)
    found = image_files(tmp_path).files
    assert list(found) == sorted(tmp_path.rglob("*.png"))


def test_links_to_folders_are_followed_once(tmp_path):
    real = fill(tmp_path / "real")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x").symlink_to(real / "a")
    (tmp_path / "data" / "y").symlink_to(real / "b")
    (real / "a" / "up").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "self").symlink_to(tmp_path / "data" / "self")
    assert len(image_files(tmp_path / "data").files) == 6
    (tmp_path / "link").symlink_to(real)
    assert labelled_folder(tmp_path / "link").train.class_names == ("a", "b")


@pytest.mark.parametrize("name", sorted(LEFT_BEHIND))
def test_what_archives_and_network_drives_leave_behind_is_no_data(tmp_path, name):
    fill(tmp_path)
    picture(tmp_path / name / "0.png", SMALL)
    picture(tmp_path / "a" / name / "0.png", SMALL)
    found = labelled_folder(tmp_path).train
    assert (found.class_names, len(found)) == (("a", "b"), 6)


def test_images_of_kinds_that_are_not_read_are_counted(tmp_path):
    flat(tmp_path, 3)
    for name in ("a.heic", "b.HEIC", "c.gif", "d.txt", ".e.gif"):
        (tmp_path / name).write_bytes(b"")
    assert plain_folder(tmp_path).notes == (
        "Images of kinds that are not read were passed over: 1 .gif, 2 .heic.",
    )


def test_a_folder_that_cannot_be_opened_is_said_and_not_taken_as_empty(tmp_path, monkeypatch):
    fill(tmp_path)
    closed, scandir = str(tmp_path / "b"), os.scandir

    def refusing(folder):
        if str(folder) == closed:
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    for kind in ("images", "imagefolder"):
        with pytest.raises(DataUnavailable, match=r"/b cannot be opened \(Permission denied\)"):
            load_data(f"{kind}:{tmp_path}", calibration=1, search=1)


@pytest.mark.parametrize("kind", ["images", "imagefolder"])
@pytest.mark.parametrize("place", ["x" * 300, "file", "file/inside"])
def test_places_that_are_no_folders(tmp_path, kind, place):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataUnavailable, match=r"no folder|cannot be opened|is a file"):
        load_data(f"{kind}:{tmp_path}/{place}", calibration=1, search=1)


ODD = ["100% #1?", "a b", "it's \"so\"", "Über ordner", "-dash", "back\\slash", "new\nline",
       "*[x]*", "a:b", "{n}", "%20", "~tilde", "<i>"]  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_folders_classes_and_files_may_have_any_name(tmp_path, name):
    fill(tmp_path / name, (name, "b"))
    (tmp_path / name / name / "0.png").rename(tmp_path / name / name / f"{name}.png")
    data = load_data(f"imagefolder:{tmp_path / name}", calibration=2, search=2)
    assert set(data.class_names) == {name, "b"}
    assert len(data.test) == 2


def test_names_that_are_no_utf8_are_spelled_out(tmp_path):
    fill(tmp_path)
    odd = os.fsencode(tmp_path) + b"/caf\xe9"
    os.rename(tmp_path / "a", odd)
    os.rename(odd + b"/0.png", odd + b"/\xff.png")
    with open(odd + b"/\xff.png", "wb"):
        pass
    data = load_data(f"imagefolder:{tmp_path}", calibration=1, search=1)
    assert data.class_names == ("b", "caf\\xe9")
    [note] = data.notes
    assert "caf\\xe9/\\xff.png" in note
    note.encode()


# ---- networks


@pytest.fixture
def data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path / "data"))


@pytest.mark.parametrize("shape", [(3, 48, 24), (3, 24, 48), (3, 31, 7)])
def test_a_network_that_is_not_square_takes_a_folder(tmp_path, data_folder, shape):
    spec = network_of(tmp_path, shape)
    fill(tmp_path / "photos", each=6)
    data = load_data(f"imagefolder:{tmp_path / 'photos'}", calibration=4, search=4, model="net")
    assert data.input_shape == shape
    check_data_fits(data, spec)


@pytest.mark.parametrize("channels", [2, 4, 6])
def test_a_network_of_other_channels_takes_files_that_have_them(tmp_path, data_folder, channels):
    shape = (channels, 9, 12)
    spec = network_of(tmp_path, shape)
    fill(tmp_path / "photos", each=6)
    with pytest.raises(InvalidData, match=r"transparency|channels"):
        load_data(f"imagefolder:{tmp_path / 'photos'}", calibration=4, search=4, model="net")
    arrays = np.random.default_rng(0).integers(0, 256, (12, *shape), np.uint8)
    for number, array in enumerate(arrays):
        folder = tmp_path / "arrays" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{number}.npy", array)
    data = load_data(f"imagefolder:{tmp_path / 'arrays'}", calibration=4, search=4, model="net")
    check_data_fits(data, spec)
    found = rows(data.calibration) | rows(data.search) | rows(data.test)
    assert found == {array.tobytes() for array in arrays}


@pytest.mark.parametrize(
    ("data", "advice"), [("tensors", r"Store x as \(n, 3, 48, 24\)"), ("fashion-mnist", "folder")]
)
def test_what_is_advised_where_images_do_not_fit_helps(tmp_path, data_folder, data, advice):
    spec = network_of(tmp_path, (3, 48, 24))
    if data == "tensors":
        np.savez(tmp_path / "a.npz", x=np.zeros((9, 3, 24, 24), np.uint8))
        data = f"tensors:{tmp_path / 'a.npz'}"
    read = load_data(data, calibration=2, search=2)
    with pytest.raises(InvalidData, match=advice):
        check_data_fits(read, spec)


def test_asking_for_more_than_there_is_is_refused_whatever_the_parts(tmp_path):
    for part in ("train", "val", "test"):
        fill(tmp_path / part, each=2)
    with pytest.raises(InvalidParams, match="Ask for fewer"):
        load_data(f"imagefolder:{tmp_path}", calibration=5, search=2)
