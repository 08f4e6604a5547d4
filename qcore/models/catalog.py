"""What can be chosen: the models and the data sets, as plain lists. Torch-free.

Pages list these without importing torch; `zoo` builds the models and `data` reads the sets. The
facts of the bundled networks lie in JSON files beside their weights. `read_models` gives
them together with the user's own networks, which are cards in the data folder, as one value.
"""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from qcore.allocation import ModelSpec
from qcore.errors import DataUnavailable, InvalidParams, UnsupportedModel
from qcore.inputs import Input
from qcore.judges import CLASSES, Judge
from qcore.judges.signal import Signal
from qcore.models import cards, verses
from qcore.models.entries import DataEntry, ModelEntry
from qcore.models.preprocessing import Preprocessing
from qcore.models.written_paths import written_path

WEIGHTS = Path(__file__).parents[1] / "weights"
"""Weights (NAME.pt), facts (NAME.json) and layers (NAME.spec.json) of the bundled networks.

wirings.json, beside them, is read by `qcore.network.kept_wiring`.
"""

BUNDLED_NAMES = ("resnet8", "resnet20", "mobilenet", "bearing", "verse_decoder")
EXAMPLES = ("resnet8", "bearing", "verse_decoder")
"""An image network and two others, whose results are recorded: what a first visit begins with."""


PREPROCESSING = Preprocessing(resize=256)
"""ImageNet's usual: shorter side 256, centre crop 224."""

_FASHION = Preprocessing(1, 28, 28, mean=(0.2860,), std=(0.3530,))

# (crop, resize, interpolation) of torchvision's DEFAULT weights: names
_TORCHVISION: Mapping[tuple[int, int, Literal["bilinear", "bicubic"]], str] = {
    (224, 224, "bicubic"): "maxvit_t",
    (224, 230, "bilinear"): "convnext_small",
    (224, 232, "bicubic"): "swin_t",
    (224, 232, "bilinear"): (
        "convnext_base convnext_large mnasnet0_75 mnasnet1_3 mobilenet_v2 mobilenet_v3_large "
        "regnet_x_16gf regnet_x_1_6gf regnet_x_32gf regnet_x_3_2gf regnet_x_400mf regnet_x_800mf "
        "regnet_x_8gf regnet_y_16gf regnet_y_1_6gf regnet_y_32gf regnet_y_3_2gf regnet_y_400mf "
        "regnet_y_800mf regnet_y_8gf resnet101 resnet152 resnet50 resnext101_32x8d "
        "resnext101_64x4d resnext50_32x4d shufflenet_v2_x1_5 shufflenet_v2_x2_0 wide_resnet101_2 "
        "wide_resnet50_2"
    ),
    (224, 236, "bilinear"): "convnext_tiny",
    (224, 238, "bicubic"): "swin_b",
    (224, 242, "bilinear"): "vit_l_16",
    (224, 246, "bicubic"): "swin_s",
    (224, 256, "bicubic"): "efficientnet_b0",
    (224, 256, "bilinear"): (
        "alexnet densenet121 densenet161 densenet169 densenet201 googlenet mnasnet0_5 mnasnet1_0 "
        "mobilenet_v3_small resnet18 resnet34 shufflenet_v2_x0_5 shufflenet_v2_x1_0 squeezenet1_0 "
        "squeezenet1_1 vgg11 vgg11_bn vgg13 vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn vit_b_16 "
        "vit_b_32 vit_l_32"
    ),
    (240, 255, "bilinear"): "efficientnet_b1",
    (256, 260, "bicubic"): "swin_v2_s swin_v2_t",
    (256, 272, "bicubic"): "swin_v2_b",
    (288, 288, "bicubic"): "efficientnet_b2",
    (299, 342, "bilinear"): "inception_v3",
    (300, 320, "bicubic"): "efficientnet_b3",
    (380, 384, "bicubic"): "efficientnet_b4",
    (384, 384, "bicubic"): "regnet_y_128gf",
    (384, 384, "bilinear"): "efficientnet_v2_s",
    (456, 456, "bicubic"): "efficientnet_b5",
    (480, 480, "bicubic"): "efficientnet_v2_l",
    (480, 480, "bilinear"): "efficientnet_v2_m",
    (518, 518, "bicubic"): "vit_h_14",
    (528, 528, "bicubic"): "efficientnet_b6",
    (600, 600, "bicubic"): "efficientnet_b7",
}
VIBRATION = Input("x", (1, 256))
"""What the bundled anomaly detector takes: a window of acceleration, g."""

_HALVES = (0.5, 0.5, 0.5)
_TITLES = {"resnet8": "ResNet-8", "resnet20": "ResNet-20", "mobilenet": "MobileNet"}


_SCRIPTS = {"bearing": "train_bearing", "verse_decoder": "train_decoder"}


def _bundled(name: str) -> ModelEntry:
    if name == verses.NETWORK.name:
        return verses.NETWORK
    if name == "bearing":
        return ModelEntry(
            name,
            "Bearing (machine vibrations, bundled)",
            "bundled",
            VIBRATION.shape,
            1,
            ("vibrations", "tensors"),
            Preprocessing(),
            inputs=(VIBRATION,),
            judge=Signal(measure="auc"),
        )
    title = f"{_TITLES[name]} (Fashion-MNIST, bundled)"
    return ModelEntry(name, title, "bundled", (1, 28, 28), 10, ("fashion-mnist",), _FASHION)


def _torchvision(
    name: str, crop: int, resize: int, interpolation: Literal["bilinear", "bicubic"]
) -> ModelEntry:
    if name == "efficientnet_v2_l":
        steps = Preprocessing(3, crop, crop, resize, interpolation, mean=_HALVES, std=_HALVES)
    else:
        steps = Preprocessing(3, crop, crop, resize, interpolation)
    folders = ("imagefolder", "images")
    title = f"{name} (ImageNet, torchvision)"
    return ModelEntry(name, title, "torchvision", steps.input_shape, 1000, folders, steps)


_TORCHVISION_ENTRIES = [
    _torchvision(name, *key) for key, names in _TORCHVISION.items() for name in names.split()
]

MODELS: Mapping[str, ModelEntry] = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            *map(_bundled, BUNDLED_NAMES),
            *sorted(_TORCHVISION_ENTRIES, key=lambda entry: entry.name),
        )
    }
)
"""What comes with bitdial: bundled networks first, then torchvision's classifiers by name."""

_CIFAR, _MNIST = (3, 32, 32), (1, 28, 28)
SHIPPED = "fashion-mnist"
"""The data set that comes with bitdial."""

_PATHS = ("imagefolder", "images", "texts", "tensors", "sounds", "pairs")

DATASETS: dict[str, DataEntry] = {
    entry.name: entry
    for entry in (
        DataEntry(
            "fashion-mnist",
            "Fashion-MNIST (shipped subset)",
            10,
            "10,000 training and all 10,000 test images, 28x28 grey; on this machine already.",
            shape=_MNIST,
            mean=(0.2860,),
            std=(0.3530,),
        ),
        DataEntry(
            "vibrations",
            "Machine vibrations (made here)",
            None,
            "Windows of a made-up accelerometer, usual ones and those of faulty machines; made in "
            "seconds, nothing is fetched.",
            inputs=(VIBRATION,),
        ),
        verses.DATA,
        DataEntry(
            "cifar10",
            "CIFAR-10",
            10,
            "60,000 colour images, 32x32; fetched once (170 MB).",
            shape=_CIFAR,
            mean=(0.4914, 0.4822, 0.4465),
            std=(0.2470, 0.2435, 0.2616),
        ),
        DataEntry(
            "cifar100",
            "CIFAR-100",
            100,
            "60,000 colour images, 32x32; fetched once (169 MB).",
            shape=_CIFAR,
            mean=(0.5071, 0.4865, 0.4409),
            std=(0.2673, 0.2564, 0.2762),
        ),
        DataEntry(
            "mnist",
            "MNIST",
            10,
            "70,000 digits, 28x28 grey; fetched once (12 MB).",
            shape=_MNIST,
            mean=(0.1307,),
            std=(0.3081,),
        ),
        DataEntry(
            "kmnist",
            "Kuzushiji-MNIST",
            10,
            "70,000 characters, 28x28 grey; fetched once (21 MB).",
            shape=_MNIST,
            mean=(0.1918,),
            std=(0.3483,),
        ),
        DataEntry(
            "svhn",
            "SVHN",
            10,
            "99,000 house numbers, 32x32 colour; fetched once (246 MB); reading it needs scipy.",
            shape=_CIFAR,
            mean=(0.4377, 0.4438, 0.4728),
            std=(0.1980, 0.2010, 0.1970),
        ),
        DataEntry(
            "imagenette",
            "Imagenette",
            10,
            "13,394 photographs of ten ImageNet classes; fetched once (1.5 GB).",
        ),
        DataEntry(
            "flowers102",
            "Flowers-102",
            102,
            "8,189 photographs of flowers; fetched once (345 MB); reading it needs scipy.",
        ),
        DataEntry(
            "pets", "Oxford-IIIT Pet", 37, "7,349 photographs of pets; fetched once (811 MB)."
        ),
        DataEntry(
            "food101", "Food-101", 101, "101,000 photographs of dishes; fetched once (5 GB)."
        ),
        DataEntry(
            "imagefolder",
            "Folder of labelled images",
            None,
            "A folder with train/CLASS/ and val/CLASS/ or test/CLASS/ (or both), or with CLASS/ "
            "folders split by the seed. Files are scaled and cropped to the network's input.",
            needs_path=True,
        ),
        DataEntry(
            "images",
            "Folder of images without labels",
            None,
            "Any folder of images; bits are judged by agreement with the float network.",
            needs_path=True,
        ),
        DataEntry(
            "texts",
            "Texts",
            None,
            "A folder of .txt files, a .txt with a document in each line, or a .jsonl or .parquet "
            "with text and label (for taggers tokens and tags, one for each, or a .conll file); "
            "cut into tokens by the tokenizer.json beside them, or by the network's.",
            needs_path=True,
            place="Folder or file",
        ),
        DataEntry(
            "tensors",
            "Tensors in a .npz or .pt file",
            None,
            "Images x (n, channels, height, width), uint8, uint16 or floats in 0..1, with labels "
            "y, or without them; the network's shape decides which axis is which. For other inputs "
            "a .npz, .pt, .safetensors or .parquet with a column named like each of them.",
            needs_path=True,
            place="File",
        ),
        DataEntry(
            "sounds",
            "Folder of sounds (.wav)",
            None,
            "A folder of WAV files (FLAC and Ogg with soundfile), in folders of their class or "
            "without labels; train/ and test/ parts as for images. They are read as samples, or "
            "as the log-mel or MFCC features that the network takes.",
            needs_path=True,
        ),
        DataEntry(
            "pairs",
            "Folder of pairs of images",
            None,
            "input/ and target/ (or images/ and masks/) with files of the same names: maps of "
            "class numbers, or pictures that the network should give; train/ and test/ parts as "
            "for images.",
            needs_path=True,
        ),
    )
}


@dataclass(frozen=True)
class Models(Mapping[str, ModelEntry]):
    """Every network that can be chosen at one moment: bundled ones, the user's own, torchvision's.

    Attributes:
        entries: Name to entry.
        broken: Name of each card of the user's that cannot be used, to why.
    """

    entries: Mapping[str, ModelEntry]
    broken: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> ModelEntry:
        return self.entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


def read_models() -> Models:
    """The networks there are now; cheap where no card was added, changed or removed since."""
    return _read(cards.stamp())


@lru_cache(maxsize=8)
def _read(stamp: tuple[Any, ...]) -> Models:
    found, broken = cards.read_cards()
    for name in [name for name in found if name in MODELS]:
        broken[name] = f"{name!r} is the name of a network that comes with bitdial; rename yours."
        del found[name]
    for name, reason in broken.items():
        logging.getLogger("bitdial").warning("The network %s cannot be used: %s", name, reason)
    everything = [*MODELS.values(), *map(_own, found.values())]
    order = ("bundled", "own", "torchvision")
    return Models({e.name: e for source in order for e in everything if e.source == source}, broken)


def network_title(name: str) -> str:
    """What pages call a network: its title, or its name where it is not there any more."""
    models = read_models()
    return models[name].title if name in models else name


def default_data(name: str) -> str:
    """The data name that is offered first for a model; ends with ":" where a place is to be given.

    Raises:
        UnsupportedModel: no model has this name.
    """
    models = read_models()
    if name not in models:
        raise UnsupportedModel(f"There is no model named {name!r}.")
    entry = models[name]
    if entry.card is not None and entry.card.data:
        return entry.card.data[0]
    key = entry.datasets[0]
    return f"{key}:" if DATASETS[key].needs_path else key


def judge_of(model: str) -> Judge:
    """How a network's answers are compared: as its entry says, else as classes."""
    models = read_models()
    return models[model].judge if model in models else CLASSES


def _own(card: cards.Card) -> ModelEntry:
    known = [name.partition(":")[0] for name in card.data]
    fitting = [
        entry.name
        for entry in DATASETS.values()
        if entry.classes == card.classes and entry.shape in (None, card.input_shape)
    ]
    if card.inputs:
        fitting = [entry.name for entry in DATASETS.values() if entry.inputs == card.inputs]
    # what is on this machine already is offered before what has to be named or fetched
    here = fitting if card.inputs else [key for key in fitting if key == SHIPPED]
    paths = [key for key in _PATHS if _takes(card, key)]
    keys = [key for key in dict.fromkeys([*known, *here, *paths, *fitting]) if key in DATASETS]
    return ModelEntry(
        card.name,
        f"{card.title} (yours)",
        "own",
        card.input_shape,
        card.classes,
        tuple(keys),
        card.preprocessing,
        card,
        card.inputs,
        card.judge,
    )


def _takes(card: cards.Card, key: str) -> bool:
    """Whether a network could be given this kind of folder or file."""
    if key == "texts":
        return any((each.high or 0) > 2 for each in card.inputs)
    if key in ("imagefolder", "images"):
        return not card.inputs
    if key == "sounds":
        return any(each.dtype == "float32" and not each.zeros for each in card.inputs)
    if key == "pairs":
        return not card.inputs and card.judge.name in ("map", "signal", "parts")
    return True


def split_data_name(name: str) -> tuple[str, Path | None]:
    """Return (key of DATASETS, folder or None) of a data name such as "imagefolder:/path".

    Raises:
        InvalidParams: an unknown data set, a folder where none belongs, or a missing one.
    """
    key, colon, path = name.partition(":")
    if key not in DATASETS:
        hint = ""
        if any(sign in name for sign in "/\\~."):
            forms = ", ".join(f"{kind}:{name}" for kind in _PATHS)
            hint = f" For a folder or file write what it is before it: {forms}."
        raise InvalidParams(f"Unknown data set {key!r}; known: {', '.join(DATASETS)}.{hint}")
    if not os.fsencode(path).decode("utf-8", "replace") == path:
        raise InvalidParams(
            f"The place in {os.fsencode(name).decode('utf-8', 'backslashreplace')} is not written "
            "in UTF-8 and cannot be stored; rename it, or link to it by another name."
        )
    if DATASETS[key].needs_path and not path.strip():
        raise InvalidParams(f"{key!r} needs a folder or file: write {key}:/path.")
    if not DATASETS[key].needs_path and colon:
        raise InvalidParams(f"{key!r} takes no folder; write just {key}.")
    # "~" of somebody who is not there is part of a name
    return key, Path(os.path.expanduser(path.strip())) if path else None


def data_name(words: str, key: str = "") -> str:
    """The data name that was meant, its place absolute.

    Args:
        words: A whole data name, or with a `key` the place alone.
        key: Key of DATASETS; a whole name that is written in its place goes before it.
    """
    given, colon, place = words.strip().partition(":")
    if colon and given in DATASETS and DATASETS[given].needs_path:
        return f"{given}:{written_path(place)}"
    return f"{key}:{written_path(words)}" if key else words.strip()


def bundled_facts(name: str) -> dict[str, Any]:
    """Read how a bundled network was trained: "test_accuracy" (0..1), "test_images", "epochs" ...

    Raises:
        UnsupportedModel: no bundled network has this name.
        DataUnavailable: its file is missing.
    """
    return _read_json(name, f"{name}.json")


def bundled_spec(name: str) -> ModelSpec:
    """Read the layers of a bundled network with its shipped weights, without torch.

    Raises:
        UnsupportedModel: no bundled network has this name.
        DataUnavailable: its file is missing.
    """
    return ModelSpec.from_json(_read_json(name, f"{name}.spec.json"))


def _read_json(name: str, file: str) -> dict[str, Any]:
    if name not in BUNDLED_NAMES:
        raise UnsupportedModel(f"{name!r} is not bundled; bundled: {', '.join(BUNDLED_NAMES)}.")
    path = WEIGHTS / file
    if not path.is_file():
        script = _SCRIPTS.get(name, f"train_zoo {name}")
        raise DataUnavailable(
            f"{path} is missing; restore it from the repository, or train the network with "
            f"python -m benchmarks.networks.{script}."
        )
    return json.loads(path.read_text(encoding="utf-8"))
