"""Folders of pairs: what belongs together, how targets are read, and where they go."""

import numpy as np
import pytest
import torch
from PIL import Image

from qcore.add_network import add_network, check_network_on
from qcore.data import load_data
from qcore.errors import DataUnavailable, InvalidData
from qcore.formats.config import dump_bits, parse_bits
from qcore.judges import parse_judge
from qcore.models.new_network import NewNetwork
from qcore.models.preprocessing import Preprocessing
from qcore.prepare import prepare
from qcore.qat.batches import Epoch, batches_of
from qcore.run_spec import RunSpec
from qcore.scoring.verification import measure

torch.set_num_threads(1)
MODULE = "tests.typed_nets"
N = 10
RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (N, 16, 24, 3), np.uint8)
MAPS = RNG.integers(0, 3, (N, 16, 24), np.uint8)


@pytest.fixture(autouse=True)
def allowed(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("BITDIAL_ALLOW_CODE", MODULE)
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path_factory.mktemp("bitdial")))


def added(build, judge="", shape=(3, 16, 24)):
    steps = Preprocessing(*shape, mean=(0.5,), std=(0.5,))
    new = NewNetwork(
        build.replace("_", "-"), "factory", f"{MODULE}:{build}", input_shape=shape,
        preprocessing=steps, judge=parse_judge(judge) if judge else None,
    )  # fmt: skip
    add_network(new)
    return new.name


def write(path, values, palette=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, values)
        return
    image = Image.fromarray(values)
    if palette:
        image = image.convert("P") if image.mode != "L" else image
        image.putpalette([7 * k % 256 for k in range(768)])
    image.save(path)


def pairs(folder, targets=MAPS, names=("input", "target"), end=".png", n=N, **how):
    for at in range(n):
        write(folder / names[0] / f"{at}.png", COLOURS[at])
        write(folder / names[1] / f"{at}{end}", targets[at], **how)
    return folder


def loaded(folder, model, calibration=3, search=3, **how):
    return load_data(f"pairs:{folder}", calibration=calibration, search=search, model=model, **how)


def splits(data):
    return [s for s in (data.calibration, data.search, data.test, data.training) if s is not None]


def fit_together(data, expected=MAPS):
    """Whether every label is that of its image; returns how many there are."""
    known = {image.tobytes(): target for image, target in zip(COLOURS, expected, strict=True)}
    count = 0
    for split in splits(data):
        for pixels, label in zip(split.pixels, split.labels, strict=True):
            wanted = known[pixels.permute(1, 2, 0).numpy().tobytes()]
            assert np.allclose(label.numpy(), wanted)
            count += 1
    return count


@pytest.mark.parametrize("names", [("input", "target"), ("images", "masks"), ("Image", "LABELS")])
@pytest.mark.parametrize("palette", [False, True])
def test_masks_are_class_numbers_by_palette_or_grey(names, palette, tmp_path):
    model = added("segmenter", "map")
    data = loaded(pairs(tmp_path, names=names, palette=palette), model)
    assert fit_together(data) == N
    assert data.test.labels.dtype == torch.int16
    assert data.classes is None
    assert data.digest == loaded(tmp_path, model).digest
    write(tmp_path / names[1] / "3.png", 2 - MAPS[3])
    assert data.digest != loaded(tmp_path, model).digest


@pytest.mark.parametrize("kind", ["npy", "colour", "16 bits", "with alpha"])
def test_other_ways_to_store_a_map(kind, tmp_path):
    forms = {
        "npy": MAPS.astype(np.int64),
        "colour": np.repeat(MAPS[..., None], 3, 3),
        "16 bits": MAPS.astype(np.uint16),
        "with alpha": np.concatenate(
            [np.repeat(MAPS[..., None], 3, 3), np.full((*MAPS.shape, 1), 255, np.uint8)], 3
        ),
    }
    end = ".npy" if kind == "npy" else ".png"
    assert (
        fit_together(loaded(pairs(tmp_path, forms[kind], end=end), added("segmenter", "map"))) == N
    )


def test_places_with_255_do_not_count(tmp_path):
    maps = MAPS.copy()
    maps[:, :4] = 255
    data = loaded(pairs(tmp_path, maps), added("segmenter", "map"))
    expected = maps.astype(int)
    expected[maps == 255] = -1
    assert fit_together(data, expected) == N
    assert any("255 do not count" in note for note in data.notes)


@pytest.mark.parametrize(
    ("values", "expected", "words"),
    [
        ((0, 1), {0: 0, 1: 1}, ""),
        ((0, 255), {0: 0, 255: 1}, "255 was read as class 1"),
        ((0, 1, 255), {0: 0, 1: 1, 255: -1}, "255 do not count"),
    ],
)
def test_masks_of_yes_and_no(values, expected, words, tmp_path):
    maps = RNG.choice(np.array(values, np.uint8), (N, 16, 24))
    data = loaded(pairs(tmp_path, maps), added("foreground"))
    wanted = np.vectorize(expected.__getitem__)(maps)
    assert fit_together(data, wanted) == N
    assert any(words in note for note in data.notes) or not words


def test_parts_of_a_folder_in_both_orders(tmp_path):
    model = added("segmenter", "map")
    for part, rows in (("train", range(6)), ("val", range(6, 8)), ("test", range(8, N))):
        for at in rows:
            for one, two in (
                (f"{part}/images", f"{part}/masks"),
                (f"images/{part}", f"masks/{part}"),
            ):
                root = tmp_path / ("outside" if one.startswith(part) else "inside")
                write(root / one / f"{at}.png", COLOURS[at])
                write(root / two / f"{at}.png", MAPS[at])
    found = [loaded(tmp_path / kind, model, 3, 2, training=True) for kind in ("outside", "inside")]
    for data in found:
        assert [len(split) for split in splits(data)] == [3, 2, 2, 3]
        assert fit_together(data) == N


def test_files_without_a_partner_are_listed_and_left_out(tmp_path):
    pairs(tmp_path)
    write(tmp_path / "input" / "alone.png", COLOURS[0])
    write(tmp_path / "target" / "other.png", MAPS[0])
    data = loaded(tmp_path, added("segmenter", "map"))
    assert fit_together(data) == N
    words = " ".join(data.notes)
    assert "1 of 11 files of" in words
    assert "left out: alone" in words
    assert "left out: other" in words


def test_labels_that_are_no_images_give_way_to_masks(tmp_path):
    pairs(tmp_path, names=("JPEGImages", "SegmentationClass"))
    for at in range(N):
        (tmp_path / "Annotations").mkdir(exist_ok=True)
        (tmp_path / "Annotations" / f"{at}.xml").write_text("<a/>")
    assert fit_together(loaded(tmp_path, added("segmenter", "map"))) == N


def test_targets_may_end_in_mask(tmp_path):
    for at in range(N):
        write(tmp_path / "images" / f"a{at}.png", COLOURS[at])
        write(tmp_path / "masks" / f"a{at}_mask.png", MAPS[at])
    data = loaded(tmp_path, added("segmenter", "map"))
    assert fit_together(data) == N
    assert any("without their _mask" in note for note in data.notes)


def test_larger_pairs_are_scaled_alike_and_classes_are_not_mixed(tmp_path):
    model = added("segmenter", "map")
    for at in range(N):
        # each place becomes 2x2 places, and a border of 4 columns is cropped away
        wide = np.kron(MAPS[at], np.ones((2, 2), np.uint8))
        wide = np.pad(wide, ((0, 0), (4, 4)))
        image = np.kron(COLOURS[at], np.ones((2, 2, 1), np.uint8))
        write(tmp_path / "input" / f"{at}.png", np.pad(image, ((0, 0), (4, 4), (0, 0))))
        write(tmp_path / "target" / f"{at}.png", wide)
    data = loaded(tmp_path, model)
    assert data.test.labels.shape[1:] == (16, 24)
    for split in splits(data):
        for label in split.labels.numpy():
            assert min(np.abs(label - own).sum() for own in MAPS) == 0
    assert any("pairs were scaled" in note for note in data.notes)


def test_a_segmenter_goes_from_pairs_to_a_configuration(tmp_path):
    model = added("segmenter", "map")
    name = f"pairs:{pairs(tmp_path)}"
    report = check_network_on(model, name, 3, 3).report
    assert report["judge"]["name"] == "map"
    assert report["test"]["labelled"]
    spec = RunSpec(model, name, "exact", calibration_images=3, search_images=3)
    prepared = prepare(spec)
    point = prepared.report(next(prepared.score([prepared.float_point.allocation])))
    scores = prepared.float_point.test
    assert point.test.headline == pytest.approx(scores.headline)
    told = {"data": name, "calibration_images": 3, "search_images": 3}
    again = measure(parse_bits(dump_bits(prepared.config(point, told))))
    assert again.headline == pytest.approx(scores.headline)
    # the score by hand: intersection over union of each class, mean over those that are there
    ious = []
    network, test = prepared.evaluator.model, loaded(tmp_path, model).test
    for x, y in test.batches(1):
        found, wanted = network(x).argmax(1)[0].numpy(), y[0].numpy()
        each = [
            ((found == k) & (wanted == k)).sum() / ((found == k) | (wanted == k)).sum()
            for k in range(3)
            if ((found == k) | (wanted == k)).any()
        ]
        ious.append(np.mean(each))
    assert scores.headline == pytest.approx(np.mean(ious), abs=1e-5)


def test_pictures_are_targets_and_cut_to_what_the_network_gives(tmp_path):
    model = added("denoiser")
    clean = RNG.integers(0, 256, (N, 16, 24, 3), np.uint8)
    data = loaded(pairs(tmp_path, clean), model)
    assert fit_together(data, clean.transpose(0, 3, 1, 2) / 255) == N
    spec = RunSpec(model, f"pairs:{tmp_path}", "exact", calibration_images=3, search_images=3)
    prepared = prepare(spec)
    assert any("16x24 were cut at their border to the 12x20" in note for note in prepared.notes)
    labels = torch.cat([y for _, y in prepared.evaluator.search])
    assert torch.equal(labels, data.search.labels[:, :, 2:-2, 2:-2])
    with torch.no_grad():
        answers = torch.cat([prepared.evaluator.model(x) for x, _ in prepared.evaluator.search])
    error = (answers - labels).square().flatten(1).mean(1)
    expected = float((10 * (1 / error).log10()).mean())
    assert prepared.float_point.search.headline == pytest.approx(expected, abs=1e-3)


def test_targets_twice_as_large_as_their_inputs(tmp_path):
    model = added("enlarger", judge="signal", shape=(1, 8, 12))
    small = RNG.integers(0, 256, (N, 8, 12), np.uint8)
    large = RNG.integers(0, 256, (N, 16, 24), np.uint8)
    for at in range(N):
        write(tmp_path / "lr" / f"{at}.png", small[at])
        write(tmp_path / "hr" / f"{at}.png", large[at])
    data = loaded(tmp_path, model)
    assert data.test.labels.shape[1:] == (1, 16, 24)
    spec = RunSpec(model, f"pairs:{tmp_path}", "exact", calibration_images=3, search_images=3)
    assert prepare(spec).float_point.search.accuracy is not None


def test_arrays_of_any_numbers_are_targets_of_a_signal(tmp_path):
    depth = RNG.normal(size=(N, 3, 12, 20)).astype(np.float32) * 30
    data = loaded(pairs(tmp_path, depth, end=".npy"), added("denoiser", judge="signal:peak=80"))
    assert fit_together(data, depth) == N


def test_training_leaves_images_with_maps_where_they_are(tmp_path):
    for at in range(N):
        for part in ("train", "test"):
            write(tmp_path / part / "input" / f"{at}.png", COLOURS[at])
            write(tmp_path / part / "target" / f"{at}.png", MAPS[at])
    data = loaded(tmp_path, added("segmenter", "map"), 2, 2, training=True)
    epoch = Epoch(data.training, 3, 0, augment=True)
    known = {c.tobytes(): m for c, m in zip(COLOURS, MAPS, strict=True)}
    for x, y in batches_of(epoch, torch.Generator().manual_seed(0)):
        pixels = ((x * 0.5 + 0.5) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
        for image, label in zip(pixels, y, strict=True):
            assert np.array_equal(known[image.contiguous().numpy().tobytes()], label.numpy())


def test_a_class_that_the_network_has_not_is_named(tmp_path):
    pairs(tmp_path)
    for at in (2, 4):
        write(tmp_path / "target" / f"{at}.png", MAPS[at] + 5)
    with pytest.raises(InvalidData) as caught:
        loaded(tmp_path, added("segmenter", "map"))
    assert "holds class 5, 6, 7; the network has 3 classes, 0 to 2" in str(caught.value)
    assert "2.png" in str(caught.value) or "4.png" in str(caught.value)


def test_pairs_of_other_sizes_are_refused(tmp_path):
    model = added("segmenter", "map")
    large = np.zeros((32, 32), np.uint8)
    pairs(tmp_path / "one", [large if at in (1, 5) else MAPS[at] for at in range(N)])
    with pytest.raises(InvalidData, match="would become 32x32, and others 16x24"):
        loaded(tmp_path / "one", model)
    pairs(tmp_path / "all", [large] * N)
    spec = RunSpec(
        model, f"pairs:{tmp_path / 'all'}", "exact", calibration_images=3, search_images=3
    )
    with pytest.raises(InvalidData, match="the targets are 32x32"):
        prepare(spec)
    for at in range(N):
        write(tmp_path / "odd" / "input" / f"{at}.png", np.zeros((40, 40, 3), np.uint8))
        write(tmp_path / "odd" / "target" / f"{at}.png", np.zeros((30, 44), np.uint8))
    with pytest.raises(InvalidData, match="is 30x44 and its input 40x40"):
        loaded(tmp_path / "odd", model)


def test_a_coarse_map_wants_coarse_masks(tmp_path):
    model = added("coarse_segmenter", "map")
    name = f"pairs:{pairs(tmp_path / 'a')}"
    spec = RunSpec(model, name, "exact", calibration_images=3, search_images=3)
    with pytest.raises(InvalidData, match="Scale the targets to 4x6"):
        prepare(spec)
    pairs(tmp_path / "b", MAPS[:, ::4, ::4])
    spec = RunSpec(model, f"pairs:{tmp_path / 'b'}", "exact", calibration_images=3, search_images=3)
    assert prepare(spec).float_point.search.n == 3


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda p: None, DataUnavailable, "no folder"),
        (lambda p: p.mkdir(), InvalidData, "holds no pairs: it needs input/"),
        (lambda p: write(p / "input" / "a.png", COLOURS[0]), InvalidData, "and target/ (or"),
        (lambda p: pairs(p / "train"), InvalidData, "has only its train part"),
        (lambda p: pairs(p, names=("input", "target")) and write(p / "masks" / "0.png", MAPS[0]),
         InvalidData, "holds masks and target, and one of them is meant"),
        (lambda p: [write(p / f"{k}" / f"{k}.png", MAPS[0]) for k in ("input", "target")],
         InvalidData, "has one of the same name"),
        (lambda p: pairs(p) and write(p / "input" / "0.bmp", COLOURS[0]),
         InvalidData, "have one name without their endings"),
        (lambda p: pairs(p, COLOURS), InvalidData, "is in colours"),
    ],
)  # fmt: skip
def test_folders_that_hold_no_pairs(make, kind, words, tmp_path):
    make(tmp_path / "data")
    with pytest.raises(kind) as caught:
        loaded(tmp_path / "data", added("segmenter", "map"))
    assert words in str(caught.value)


@pytest.mark.parametrize("palette", [False, True])
def test_maps_are_no_pictures(palette, tmp_path):
    # a network of three classes looks like one that gives a colour image again
    with pytest.raises(InvalidData, match="with the judge map"):
        loaded(pairs(tmp_path, palette=palette), added("segmenter"))


def test_judges_that_pairs_are_not_for(tmp_path):
    pairs(tmp_path)
    with pytest.raises(InvalidData, match="whose judge is 'map' or 'signal'"):
        loaded(tmp_path, added("denoiser", judge="embedding"))
    with pytest.raises(InvalidData, match="is compared by 'classes'"):
        loaded(tmp_path, "resnet8")
