"""What a user says about a network that is to be added; checked before anything is loaded.

Torch-free: the page fills it in, a process of its own acts on it.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from qcore.errors import DataUnavailable, InvalidParams
from qcore.inputs import Input, check_inputs
from qcore.judges import Judge, read_judge
from qcore.models.cards import (
    MOST_CLASSES,
    SOURCES,
    check_name,
    check_preprocessing,
    is_taken,
)
from qcore.models.catalog import DATASETS, MODELS
from qcore.models.hugging_folder import read_config, weight_files
from qcore.models.preprocessing import Preprocessing
from qcore.models.sound import Sound

NEEDS_NAME = {
    "bundled": "resnet8",
    "torchvision": "resnet18",
    "timm": "mobilenetv4_conv_small",
    "factory": "mypackage.nets:build",
}
"""Sources that need an architecture, with an example."""

FOLDERS = ("huggingface",)
"""Sources that are a folder."""

SUFFIXES = {
    "onnx": (".onnx",),
    "pt2": (".pt2",),
}
WITHOUT_LIBRARY = ("onnx", "pt2", "factory")
"""Sources that come with no word on how images are normalised: whoever adds them says it."""

PACKAGES = {
    "onnx": ("onnx", "onnxruntime", "onnx2torch"),
    "timm": ("timm",),
    "huggingface": ("transformers", "safetensors"),
}
"""Packages a source needs beside those that bitdial itself needs."""

REPLACE = "the tick below the name, or --replace"
"""How a reader says that a network may give way to another of its name."""

WEIGHT_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".tar", ".safetensors")
"""".tar" stands for "best.pth.tar", a name many training scripts give to what torch.save writes."""


@dataclass(frozen=True, slots=True)
class NewNetwork:
    """A network that is to be added.

    Attributes:
        name: Its key from now on.
        source: One of `cards.SOURCES`.
        architecture: Its name in the source; "" for ONNX, `.pt2` and Hugging Face.
        weights: Path of its weights, of the ONNX or `.pt2` file, or of the Hugging Face folder;
            None leaves them drawn by chance.
        title: What pages call it; "" is its name.
        input_shape: (channels, height, width); None is what file or library say.
        classes: Number of outputs; None is read from the weights.
        preprocessing: How images are prepared; None is the library's way.
        kwargs: Further arguments of the architecture.
        by_order: Match tensors by order and shape instead of by name.
        data: Data name it is meant for; may be "".
        inputs: What it takes where that is no image; () for one image.
        judge: How its answers are compared; None is told from them.
        weights_key: Which of several sets of weights in the file ("state_dict_ema"); "" takes the
            proposed one.
        sound: How sounds become its input; None says nothing of them.
        length: Positions of a text, or samples of a sound, for Hugging Face folders; None takes
            what is usual.
        replace: Whether a network of the user's that has this name already gives way to it.
    """

    name: str
    source: str
    architecture: str = ""
    weights: str | None = None
    title: str = ""
    input_shape: tuple[int, int, int] | None = None
    classes: int | None = None
    preprocessing: Preprocessing | None = None
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    by_order: bool = False
    data: str = ""
    inputs: tuple[Input, ...] = ()
    judge: Judge | None = None
    weights_key: str = ""
    sound: Sound | None = None
    length: int | None = None
    replace: bool = False

    def check(self) -> None:
        """Raise where it cannot be loaded for sure.

        Raises:
            InvalidParams: a field is missing or cannot be; says which.
            DataUnavailable: there is no such file.
        """
        check_name(self.name)
        if self.name in MODELS:
            raise InvalidParams(
                f"{self.name!r} is the name of a network that comes with bitdial; choose another."
            )
        if not self.replace and is_taken(self.name):
            raise InvalidParams(
                f"There is a network {self.name!r} of yours already. Choose another name, or say "
                f"that it is to be replaced ({REPLACE}): its weights go, and what was measured "
                "with them stays under its name."
            )
        if self.source not in SOURCES:
            raise InvalidParams(f"Unknown source {self.source!r}; known: {', '.join(SOURCES)}.")
        if self.source in NEEDS_NAME and not self.architecture.strip():
            raise InvalidParams(f"Name the architecture, for example {NEEDS_NAME[self.source]}.")
        if self.source in SUFFIXES and not self.weights:
            raise InvalidParams(f"Give the {SUFFIXES[self.source][0]} file.")
        if self.length is not None and (self.source not in FOLDERS or self.length < 1):
            raise InvalidParams(
                f"A length is for Hugging Face folders, and at least 1; got {self.length}."
            )
        if self.classes is not None and not 2 <= self.classes <= MOST_CLASSES:
            raise InvalidParams(f"A network has 2 to {MOST_CLASSES:,} classes; got {self.classes}.")
        check_inputs(self.inputs)
        if self.judge is not None:
            self.judge.check()
        if self.sound is not None:
            self.sound.check()
        if self.preprocessing is not None:
            check_preprocessing(self.preprocessing, self.preprocessing.channels)
        if self.source in FOLDERS:
            self._check_folder()
        elif self.weights:
            path = Path(self.weights)
            fitting = SUFFIXES.get(self.source, WEIGHT_SUFFIXES)
            if path.suffix.lower() not in fitting:
                raise InvalidParams(
                    f"{path.name[:100]!r} should end in {' or '.join(fitting)}; a network whose "
                    "file holds its structure is added as ONNX or .pt2."
                )
            if not os.path.isfile(path):  # a name too long for a file is none
                raise DataUnavailable(f"There is no file {path}.")

    def _check_folder(self) -> None:
        if not self.weights:
            raise InvalidParams(
                "Give the Hugging Face folder, with config.json and model.safetensors in it."
            )
        path = Path(self.weights)
        if os.path.isfile(path):
            raise InvalidParams(f"{path} is a file; give the folder it lies in, {path.parent}.")
        read_config(path)
        weight_files(path)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data; `NewNetwork.from_json` reads it back."""
        document = asdict(replace(self, judge=None))
        document["inputs"] = [each.to_json() for each in self.inputs]
        document["judge"] = None if self.judge is None else self.judge.to_json()
        return document

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "NewNetwork":
        """Read what `to_json` wrote."""
        fields = dict(data)
        if fields["input_shape"] is not None:
            fields["input_shape"] = tuple(fields["input_shape"])
        if fields["preprocessing"] is not None:
            fields["preprocessing"] = Preprocessing.from_json(fields["preprocessing"])
        fields["inputs"] = tuple(Input.from_json(each) for each in fields.get("inputs", ()))
        judge = fields.get("judge")
        fields["judge"] = None if judge is None else read_judge(judge)
        sound = fields.get("sound")
        fields["sound"] = None if sound is None else Sound.from_json(sound)
        return cls(**fields)


def missing_packages(source: str) -> tuple[str, ...]:
    """Packages that a source needs and that are not installed; nothing is imported."""
    return tuple(name for name in PACKAGES.get(source, ()) if find_spec(name) is None)


def usual_for(data: str, shape: tuple[int, int, int] | None = None) -> Preprocessing | None:
    """How images of a data set are usually normalised: the proposal for networks trained on it.

    Args:
        data: A data name.
        shape: The network's input; None is the shape of the set's images.

    Returns:
        None where the data have no normalisation of their own, or other channels.
    """
    entry = DATASETS.get(data.partition(":")[0])
    if entry is None or not entry.mean or entry.shape is None:
        return None
    channels, height, width = shape or entry.shape
    if len(entry.mean) != channels:
        return None
    return Preprocessing(channels, height, width, mean=entry.mean, std=entry.std)


def parse_shape(words: str) -> tuple[int, int, int]:
    """Read "3x224x224" as (channels, height, width).

    Raises:
        InvalidParams: it is written otherwise.
    """
    parts = words.lower().replace("\u00d7", "x").replace(",", "x").split("x")
    numbers = [part.strip() for part in parts]
    if len(numbers) != 3 or not all(n.isdecimal() and 0 < int(n) <= 4096 for n in numbers):
        raise InvalidParams(
            "Write the input shape as channels x height x width, like 3x224x224; got "
            f"{words[:40]!r}."
        )
    channels, height, width = map(int, numbers)
    return channels, height, width


def parse_numbers(words: str, what: str) -> tuple[float, ...]:
    """Read "0.485, 0.456, 0.406".

    Raises:
        InvalidParams: a part is no number.
    """
    try:
        return tuple(float(part) for part in words.replace(";", ",").split(","))
    except ValueError:
        raise InvalidParams(
            f"{what} is one number, or one per channel with commas between; got {words[:60]!r}."
        ) from None
