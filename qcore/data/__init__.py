"""Images to calibrate on, to search on and to test on: where they come from and how they split.

Calibration and search images are drawn disjoint from the training images by a seed; the test
images are the data set's own and are never drawn from. Pixels stay uint8 in memory and are
normalised one batch at a time. Folders of image files are read by `image_folder`.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch

from qcore.allocation import ModelSpec
from qcore.data.columns import column_data
from qcore.data.fashion import (
    DEFAULT_FASHION_FOLDERS,
    FASHION_CLASSES,
    SHIPPED_FASHION,
    Labelled,
    load_fashion_mnist,
    read_fashion_mnist,
)
from qcore.data.folder_splits import split_folder
from qcore.data.image_folder import labelled_folder, plain_folder
from qcore.data.pairs.data import pair_data, target_kind
from qcore.data.sounds.folder import sound_data
from qcore.data.splits import Data, Images, Split, assemble, draw, normalisation_note
from qcore.data.tensor_file import read_tensors
from qcore.data.texts import text_data
from qcore.data.torchvision_sets import PHOTOGRAPHS, open_photographs, read_arrays
from qcore.data.vibrations import vibration_data
from qcore.errors import DataUnavailable, InvalidData, InvalidParams
from qcore.models.catalog import (
    DATASETS,
    PREPROCESSING,
    judge_of,
    read_models,
    split_data_name,
)
from qcore.models.entries import ModelEntry
from qcore.models.preprocessing import Preprocessing

__all__ = [
    "DEFAULT_FASHION_FOLDERS",
    "SHIPPED_FASHION",
    "Data",
    "Images",
    "Split",
    "check_data_fits",
    "load_data",
    "read_fashion_mnist",
]

FOLDER_TEST_LIMIT = 10_000
"""Most test images, and training images, read from a folder; at 3 x 224 x 224 1.5 GB each."""

OF_INPUTS = ("sounds",)
"""Kinds of data that only networks with named inputs take."""


def load_data(
    name: str,
    *,
    calibration: int,
    search: int,
    seed: int = 0,
    root: Path | None = None,
    full: bool = False,
    model: str | None = None,
    training: bool = False,
) -> Data:
    """Read a data set and split it.

    Args:
        name: Key of DATASETS: one of torchvision's sets, "imagefolder:/path" (path/train/CLASS/
            and path/val/CLASS/, or path/CLASS/ split by the seed), "images:/path" (no labels),
            "texts:/path" (text files, see `texts`), "tensors:/path" (a file of tensors, see
            `tensor_file`, and `columns` for networks that take no images), "sounds:/path" (a
            folder of sounds) or "pairs:/path" (images with the maps or pictures that a
            network should give).
        calibration: Images to calibrate on, at least 1.
        search: Images to search on, at least 1.
        seed: Which images are drawn; same seed, same images.
        root: Folder of downloaded data sets; None looks into "datasets" in the data folder, which
            is where they are fetched to, and into ./data.
        full: For fashion-mnist, all 60,000 training images instead of the shipped 10,000.
        model: Name of the network whose resize, crop and normalisation photographs get; None is
            ImageNet's usual 256, 224. A network of the user's decides the normalisation of every
            set, the others that of photographs and tensors.
        training: Also give the training images that are left over; of the full Fashion-MNIST
            where that is on this machine, and at most 10,000 of a folder with a val/ beside it.

    Raises:
        InvalidParams: an unknown name, or more images asked for than there are.
        InvalidData: an empty folder, a file that is no image, or images of the wrong kind.
        DataUnavailable: the data set is not on this machine and cannot be fetched.
    """
    key, path = split_data_name(name)
    for what, count in (("calibration", calibration), ("search", search)):
        if count < 1:
            raise InvalidParams(f"At least one {what} image is needed; got {count}.")
    counts = (calibration, search)
    entry = _entry(model)
    inputs = () if entry is None else entry.inputs
    if key == "vibrations":
        return vibration_data(name, inputs, counts, seed, training)
    if key == "texts" and path is not None:
        return text_data(name, path, inputs, counts, seed, training, model, FOLDER_TEST_LIMIT)
    if entry is not None and inputs:
        return _other_data(name, key, path, entry, counts, seed, training)
    if key in OF_INPUTS:
        raise InvalidData(
            f"{DATASETS[key].title} is for networks that take no images. Add the network with its "
            "inputs named, as --input waveform:float32:16000."
        )
    if key == "pairs" and path is not None:
        return _warned(_pairs(name, path, entry, counts, seed, training))
    if key in PHOTOGRAPHS:
        return _warned(_photographs(name, key, root, counts, seed, _preprocessing(model)))
    if path is not None and key != "tensors":
        steps = _preprocessing(model)
        return _warned(_folder_data(name, key, path, counts, seed, steps, training))
    own = _preprocessing(model) if model is not None and _is_own(model) else None
    if path is not None:
        steps = own or _steps(model)
        return _warned(_tensor_data(name, path, entry, counts, seed, steps, training))
    if key == "fashion-mnist":
        train, test = load_fashion_mnist(root, full)
        class_names = FASHION_CLASSES
    else:
        train, test, class_names = read_arrays(key, root)
    usual = DATASETS[key]
    mean, std = (usual.mean, usual.std) if own is None else (own.mean, own.std)
    chosen = draw(len(train[0]), calibration, search, seed, name)
    splits = [Images(train[0][i], train[1][i], mean, std) for i in chosen]
    data = _warned(assemble(name, class_names, [*splits, Images(*test, mean, std)], chosen))
    if not training:
        return data
    if key == "fashion-mnist" and not full:
        # where it is missing, the rest of the shipped subset has to do
        with suppress(DataUnavailable):
            train, _ = load_fashion_mnist(root, full=True)
    return replace(data, training=_left_over(train, splits))


def _entry(model: str | None) -> ModelEntry | None:
    """What is known of a network; None without one, and of a network that is not there."""
    return None if model is None else read_models().entries.get(model)


def _other_data(
    name: str,
    key: str,
    path: Path | None,
    entry: ModelEntry,
    counts: tuple[int, int],
    seed: int,
    training: bool,
) -> Data:
    """Data of a network that takes no images."""
    if key == "sounds" and path is not None:
        return sound_data(
            name,
            path,
            entry.inputs,
            None if entry.card is None else entry.card.sound,
            counts,
            seed,
            most=FOLDER_TEST_LIMIT,
            training=training,
            odd=getattr(entry.judge, "measure", "") == "auc",
        )
    return column_data(name, key, path, entry.inputs, counts, seed, training, entry.judge)


def _pairs(
    name: str,
    path: Path,
    entry: ModelEntry | None,
    counts: tuple[int, int],
    seed: int,
    training: bool,
) -> Data:
    if entry is None:
        raise InvalidData(
            f"{DATASETS['pairs'].title} need a network, whose judge says what the targets are."
        )
    return pair_data(name, path, entry, counts, seed, most=FOLDER_TEST_LIMIT, training=training)


def _is_own(model: str) -> bool:
    models = read_models()
    return model in models and models[model].source == "own"


def _steps(model: str | None) -> Preprocessing:
    """How tensors are normalised: as the model says, and not at all where there is none."""
    return Preprocessing(mean=(0.0,), std=(1.0,)) if model is None else _preprocessing(model)


def _warned(data: Data) -> Data:
    """The data, with a note where its normalisation looks wrong."""
    note = normalisation_note(data.calibration)
    return replace(data, notes=(*data.notes, note)) if note else data


def _left_over(train: Labelled, splits: Sequence[Images]) -> Images | None:
    """Training images whose pixels are not those of any image in the splits."""
    taken = {x.numpy().tobytes() for split in splits for x in split.pixels}
    keep = torch.tensor([x.numpy().tobytes() not in taken for x in train[0]])
    if not bool(keep.any()):
        return None
    return Images(train[0][keep], train[1][keep], splits[0].mean, splits[0].std)


def check_data_fits(data: Data, model: ModelSpec) -> None:
    """Raise unless a model's input and outputs fit the data.

    Raises:
        InvalidData: inputs, channels, image size or number of classes differ; says both.
    """
    if data.inputs or model.inputs:
        _check_inputs_fit(data, model)
        return
    channels, height, width = data.input_shape
    wanted = model.input_shape
    if channels != wanted[0]:
        raise InvalidData(
            f"{model.name} takes images of {wanted[0]} channel(s); {data.name} has {channels}. "
            f"{_advice(data, model)}"
        )
    if (height, width) != tuple(wanted[1:]):
        raise InvalidData(
            f"{model.name} takes images of {wanted[1]}x{wanted[2]} pixels (height x width); "
            f"{data.name} has {height}x{width}. {_advice(data, model)}"
        )
    judge = judge_of(model.name)
    if data.classes is not None and data.classes != model.classes and judge.hits:
        raise InvalidData(
            f"{model.name} has {model.classes} outputs; {data.name} has {data.classes} classes. "
            "Use data with the model's own classes, or 'images:/path' to compare with the float "
            "network without labels."
        )


def _check_inputs_fit(data: Data, model: ModelSpec) -> None:
    if data.inputs != model.inputs:
        wanted, found = (
            "; ".join(each.words for each in inputs) or "images"
            for inputs in (model.inputs, data.inputs)
        )
        raise InvalidData(
            f"{model.name} takes {wanted}; {data.name} has {found}. Choose data made for it."
        )
    judge = judge_of(model.name)
    if data.classes is not None and data.classes != model.classes and judge.hits:
        raise InvalidData(
            f"{model.name} has {model.classes} outputs; {data.name} has {data.classes} classes "
            f"({', '.join(data.class_names[:12])}). Give it a folder for each of its classes and "
            "no others, in the order of its outputs when sorted by name."
        )


def _advice(data: Data, model: ModelSpec) -> str:
    """What to do about images of another shape."""
    shape = ", ".join(map(str, model.input_shape))
    key = data.name.partition(":")[0]
    if key == "tensors":
        return f"Store x as (n, {shape})."
    if key in DATASETS and DATASETS[key].shape is None:
        return (
            f"Folders are resized and cropped as the network's card says, and it says ({shape}) "
            "elsewhere: add the network again, with its input shape."
        )
    return (
        "Choose data of the kind that the model was trained on; images in a folder (imagefolder: "
        "or images:) are resized and cropped to its input."
    )


def _preprocessing(model: str | None) -> Preprocessing:
    if model is None:
        return PREPROCESSING
    models = read_models()
    if model not in models:
        raise InvalidParams(f"Unknown model {model!r}; the list is in qcore.models.catalog.")
    return models[model].preprocessing


def _folder_data(
    name: str,
    key: str,
    path: Path,
    counts: tuple[int, int],
    seed: int,
    preprocessing: Preprocessing,
    training: bool,
) -> Data:
    parts = labelled_folder(path) if key == "imagefolder" else plain_folder(path)
    found = split_folder(
        name,
        parts,
        counts,
        seed,
        preprocessing,
        most=FOLDER_TEST_LIMIT,
        training=training,
    )
    mean, std = preprocessing.mean, preprocessing.std
    splits = [Images(part.pixels, part.labels, mean, std) for part in found.splits]
    chosen = [part.used for part in found.splits]
    data = assemble(name, found.class_names, splits, chosen, found.notes)
    if found.training is None:
        return data
    return replace(data, training=Images(found.training.pixels, found.training.labels, mean, std))


def _photographs(
    name: str,
    key: str,
    root: Path | None,
    counts: tuple[int, int],
    seed: int,
    steps: Preprocessing,
) -> Data:
    train, held_out = open_photographs(key, root)
    chosen = draw(len(train), *counts, seed, name)
    order = torch.randperm(len(held_out), generator=torch.Generator().manual_seed(seed))
    chosen = [*chosen, order[:FOLDER_TEST_LIMIT].sort().values]
    notes, splits = [], []
    if len(order) > FOLDER_TEST_LIMIT:
        notes.append(f"{FOLDER_TEST_LIMIT:,} of {len(order):,} test images are used, by the seed.")
    for part, indices in zip((train, train, held_out), chosen, strict=True):
        pixels, labels = part.read(indices.tolist(), steps)
        splits.append(
            Images(torch.from_numpy(pixels), torch.from_numpy(labels), steps.mean, steps.std)
        )
    return assemble(name, train.class_names, splits, chosen, tuple(notes))


def _tensor_data(
    name: str,
    path: Path,
    entry: ModelEntry | None,
    counts: tuple[int, int],
    seed: int,
    steps: Preprocessing,
    training: bool,
) -> Data:
    shape, targets = (None, None) if entry is None else (entry.input_shape, target_kind(entry))
    stored = read_tensors(path, shape, targets)
    chosen = draw(len(stored.x), *counts, seed, name)
    if stored.x_test is None:
        order = torch.randperm(len(stored.x), generator=torch.Generator().manual_seed(seed))
        rest = order[sum(counts) :].sort().values
        test, test_labels = stored.x[rest], None if stored.y is None else stored.y[rest]
        chosen = [*chosen, rest]
    else:
        test, test_labels = stored.x_test, stored.y_test
    if not len(test):
        raise InvalidParams(
            f"{name} has {len(stored.x)} images: {counts[0]} for calibration and {counts[1]} for "
            "search leave none to test on. Ask for fewer, or store x_test and y_test."
        )
    splits = [
        Images(stored.x[i], None if stored.y is None else stored.y[i], steps.mean, steps.std)
        for i in chosen[:2]
    ]
    splits.append(Images(test, test_labels, steps.mean, steps.std))
    names = stored.names or [str(number) for number in range(stored.classes or 0)]
    data = assemble(name, names, splits, chosen, stored.notes)
    if not training or stored.y is None or stored.x_test is None:
        return data
    return replace(data, training=_left_over((stored.x, stored.y), splits))
