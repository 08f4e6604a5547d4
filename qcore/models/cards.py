"""The user's own networks: a card says what a network is, and lies in a folder with its weights.

    <data folder>/networks/NAME/card.json    what it is
    <data folder>/networks/NAME/WEIGHTS      its weights, or the ONNX file
    <data folder>/networks/NAME/spec.json    its layers, for pages that run no torch

Torch-free. A card is data: reading one runs nothing.
"""

import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from qcore.allocation import ModelSpec
from qcore.data_folder import data_folder
from qcore.errors import Damaged, InvalidConfig, InvalidParams, QcoreError, UnsupportedModel
from qcore.inputs import Input, check_inputs
from qcore.intact import checked, intact, read_text
from qcore.judges import CLASSES, Judge, read_judge
from qcore.models.hugging_folder import copy_folder
from qcore.models.preprocessing import Preprocessing
from qcore.models.sound import Sound

SOURCES = ("bundled", "torchvision", "timm", "huggingface", "onnx", "factory", "pt2")
"""Where a network's structure comes from; "factory" and "pt2" run code of the user's."""

MOST_CLASSES = 100_000
MOST_PIXELS = 4096
MOST_MEAN = 2.0
"""Pixels lie in 0..1; a mean above this was meant for pixels of 0..255."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_CARD, _SPEC = "card.json", "spec.json"
MOST_CARD, MOST_SPEC = 1 << 20, 16 << 20
"""Bytes of the two files."""

MOST_SIZE = 2**48
"""Weights, multiplications or values of one layer."""

FOLDER = "weights"
"""Where the files of a Hugging Face folder lie in a card's folder."""


@dataclass(frozen=True, slots=True)
class Card:
    """A network of the user's.

    Attributes:
        name: Its key in MODELS: 1 to 64 of a-z, 0-9, ".", "_" and "-".
        title: What the pages call it, at most 200 characters.
        source: One of SOURCES.
        architecture: Name in torchvision, timm or the bundled ones; "package.module:function" of
            a factory; the converter's name for ONNX.
        kwargs: Further arguments of the architecture: plain numbers, words and truth values.
        weights: Name, in the card's folder, of a file, or of the folder of a Hugging Face network;
            "" where weights stay as drawn by chance.
        sha256: 64 hex digits of that; "" without one.
        by_order: Tensors are matched by their order and shape, not by their names.
        weights_key: Where in the weights' file the weights lie ("state_dict_ema"); "" is the whole
            file, or the raw ones of several.
        input_shape: (channels, height, width) of one image; the shape of the first of `inputs`.
        classes: Number of outputs: the second dimension of the first of them.
        preprocessing: How images are prepared.
        data: Data names it was checked with, as `load_data` takes them.
        created: When it was added: UTC, ISO 8601.
        inputs: What it takes where that is no image; () for one image.
        judge: How its answers are compared.
        sound: How sounds become its input; None where nothing was said of them.
    """

    name: str
    title: str
    source: str
    architecture: str
    input_shape: tuple[int, ...]
    classes: int
    preprocessing: Preprocessing
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    weights: str = ""
    sha256: str = ""
    by_order: bool = False
    data: tuple[str, ...] = ()
    created: str = ""
    inputs: tuple[Input, ...] = ()
    judge: Judge = CLASSES
    weights_key: str = ""
    sound: Sound | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data; `Card.from_json` reads it back."""
        document = {"version": 1, **asdict(replace(self, judge=CLASSES))}
        document["inputs"] = [each.to_json() for each in self.inputs]
        document["judge"] = self.judge.to_json()
        return document

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Card":
        """Read what `to_json` wrote.

        Raises:
            InvalidConfig: fields are missing or of the wrong kind; says which.
        """
        try:
            shape = _shape(data["input_shape"])
            card = cls(
                name=str(data["name"]),
                title=str(data["title"]),
                source=str(data["source"]),
                architecture=str(data["architecture"]),
                input_shape=shape,
                classes=int(data["classes"]),
                preprocessing=Preprocessing.from_json(data["preprocessing"], shape),
                kwargs=dict(data["kwargs"]),
                weights=str(data["weights"]),
                sha256=str(data["sha256"]),
                by_order=bool(data["by_order"]),
                data=tuple(map(str, data["data"])),
                created=str(data["created"]),
                inputs=tuple(Input.from_json(each) for each in data.get("inputs", ())),
                judge=read_judge(data.get("judge")),
                weights_key=str(data.get("weights_key", "")),
                sound=None if data.get("sound") is None else Sound.from_json(data["sound"]),
            )
            checked(card)
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise InvalidConfig(
                f"The card cannot be read: {error!r:.300}. Add it again."
            ) from error
        check_card(card)
        return card


def _shape(sizes: Sequence[int]) -> tuple[int, ...]:
    return tuple(map(int, sizes))


def check_card(card: Card) -> None:
    """Raise where a card says what cannot be.

    Raises:
        InvalidParams: a field is out of its range; says which and what it may be.
    """
    check_name(card.name)
    if not card.title.strip() or len(card.title) > 200:
        raise InvalidParams(f"A title has 1 to 200 characters; this has {len(card.title)}.")
    if card.source not in SOURCES:
        raise InvalidParams(f"Unknown source {card.source!r}; known: {', '.join(SOURCES)}.")
    check_inputs(card.inputs)
    card.judge.check()
    if card.sound is not None:
        card.sound.check()
        if not card.inputs:
            raise InvalidParams("A network of images takes no sounds; name its inputs.")
    if card.inputs:
        return _check_weights(card)
    if len(card.input_shape) != 3:
        raise InvalidParams(f"An image is channels x height x width; got {card.input_shape}.")
    channels, height, width = card.input_shape
    if not 1 <= channels <= 512 or not all(1 <= size <= MOST_PIXELS for size in (height, width)):
        raise InvalidParams(
            f"The input shape is channels x height x width, 1 to 512 channels and 1 to "
            f"{MOST_PIXELS} pixels; got {channels}x{height}x{width}."
        )
    if card.judge.name == "classes" and not 2 <= card.classes <= MOST_CLASSES:
        raise InvalidParams(f"A network has 2 to {MOST_CLASSES:,} classes; got {card.classes:,}.")
    check_preprocessing(card.preprocessing, channels)
    _check_weights(card)


def _check_weights(card: Card) -> None:
    if card.weights and (Path(card.weights).name != card.weights or card.weights.startswith(".")):
        raise InvalidParams(
            f"The weights {card.weights!r} must be a file of the card's own folder."
        )


def check_preprocessing(steps: Preprocessing, channels: int) -> None:
    """Raise where images of so many channels cannot be prepared like this.

    Raises:
        InvalidParams: mean, deviation or sizes cannot be; says what they may be.
    """
    for what, values in (("mean", steps.mean), ("std", steps.std)):
        if len(values) not in (1, channels):
            raise InvalidParams(f"{what} has {len(values)} values for {channels} channels.")
        if not all(math.isfinite(v) and abs(v) <= 1000 for v in values):
            raise InvalidParams(f"{what} is {values}; give finite numbers for pixels in 0..1.")
    if max(steps.mean) > MOST_MEAN:
        words = ", ".join(f"{value / 255:.4g}" for value in steps.mean)
        raise InvalidParams(
            f"mean is {', '.join(f'{value:g}' for value in steps.mean)}, as for pixels of 0 to "
            f"255; here they are 0 to 1. Divide mean and std by 255: the mean becomes {words}."
        )
    if not all(value > 0 for value in steps.std):
        raise InvalidParams(f"std is {steps.std}; every value must be above 0.")
    sides = (steps.height, steps.width)
    if not all(1 <= side <= MOST_PIXELS for side in sides):
        raise InvalidParams(
            f"Images are cropped to 1 to {MOST_PIXELS} pixels a side; got {steps.height}x"
            f"{steps.width}."
        )
    if steps.resize is not None and not min(sides) <= steps.resize <= MOST_PIXELS:
        raise InvalidParams(
            f"Images resized to {steps.resize} pixels cannot be cropped to {steps.height}x"
            f"{steps.width}; resize to {min(sides)} or more, at most {MOST_PIXELS}."
        )


def check_name(name: str) -> None:
    """Raise unless a network may have this name.

    Raises:
        InvalidParams: it has other characters, or too many.
    """
    if not _NAME.fullmatch(name):
        raise InvalidParams(
            f"A network's name has 1 to 64 of a-z, 0-9, '.', '_' and '-', the first a letter or "
            f"digit; got {name[:80]!r}."
        )


def networks_folder() -> Path:
    """Folder of the user's networks: "networks" in the data folder."""
    return data_folder() / "networks"


def card_folder(name: str) -> Path:
    """Folder of one network.

    Raises:
        InvalidParams: no network can have this name.
    """
    check_name(name)
    return networks_folder() / name


def is_taken(name: str) -> bool:
    """Whether the user has a network of this name, even one whose card cannot be read.

    Raises:
        InvalidParams: no network can have this name.
    """
    return (card_folder(name) / _CARD).is_file()


def stamp() -> tuple[Any, ...]:
    """Changes whenever a card was added, changed or removed."""
    folder = networks_folder()
    return str(folder), tuple((path.parent.name, _changed(path)) for path in _files(folder))


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*/{_CARD}")) if folder.is_dir() else []


def _changed(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:  # removed since it was listed
        return 0, 0
    return found.st_mtime_ns, found.st_size


def read_cards() -> tuple[dict[str, Card], dict[str, str]]:
    """Read every card: (name to card, folder name to why it cannot be used)."""
    cards: dict[str, Card] = {}
    broken: dict[str, str] = {}
    for path in _files(networks_folder()):
        place = path.parent.name
        if place.startswith("."):
            continue
        try:
            with intact("The card"):
                card = Card.from_json(json.loads(read_text(path, MOST_CARD)))
                if card.name != place:
                    raise InvalidConfig(f"The card says {card.name!r}; rename its folder to that.")
            cards[card.name] = card
        except Damaged as error:
            broken[place] = str(error)
    return cards, broken


def write_card(card: Card, weights: Path | None, spec: ModelSpec) -> Card:
    """Keep a network under its name, replacing one of the same name.

    Its folder is filled beside its place and moved there when it is whole.

    Args:
        card: What it is; `weights` and `sha256` are filled in here.
        weights: File to copy, or Hugging Face folder, or None.
        spec: Its layers.

    Returns:
        The card as written.
    """
    folder = card_folder(card.name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = folder.with_name(f".{card.name}.{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    try:
        if weights is not None and weights.is_dir():
            digest = copy_folder(weights, fresh / FOLDER)
            card = replace(card, weights=FOLDER, sha256=digest)
        elif weights is not None:
            file = f"weights{weights.suffix.lower()}"
            shutil.copyfile(weights, fresh / file)
            card = replace(card, weights=file, sha256=file_sha256(fresh / file))
        check_card(card)
        _write(fresh / _SPEC, spec.to_json())
        _write(fresh / _CARD, card.to_json())
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return card


def update_card(card: Card) -> None:
    """Write a card anew; its weights and layers stay."""
    check_card(card)
    folder = card_folder(card.name)
    _write(folder / ".card.json", card.to_json())
    (folder / ".card.json").replace(folder / _CARD)


def remove_card(name: str) -> None:
    """Forget a network and its copy of the weights; what was measured with it stays.

    Raises:
        UnsupportedModel: the user has no network of this name.
    """
    folder = card_folder(name)
    if not (folder / _CARD).is_file():
        raise UnsupportedModel(f"There is no network {name!r} among your own.")
    shutil.rmtree(folder)


def card_spec(name: str) -> ModelSpec | None:
    """Layers of one of the user's networks as found when it was added; None where unknown."""
    try:
        with intact(f"The layers of {name}"):
            return read_spec(json.loads(read_text(card_folder(name) / _SPEC, MOST_SPEC)))
    except QcoreError:
        return None


def read_spec(document: Mapping[str, Any]) -> ModelSpec:
    """The layers of a network from what was stored of them, each such as there can be.

    Raises:
        ValueError: a size is negative, or two layers have one name; says which.
        TypeError: a field holds something else than it should.
        LookupError: one is missing.
    """
    spec = checked(ModelSpec.from_json(document))
    if not spec.layers or len(set(spec.names)) != len(spec.layers):
        raise ValueError("it has no layers, or two of one name")
    for layer in spec.layers:
        sizes = (layer.weights, layer.biases, layer.macs, layer.inputs, layer.outputs)
        if min(sizes) < 0 or min(layer.channels, layer.in_channels, layer.groups) < 1:
            raise ValueError(f"the layer {layer.name} has a negative size")
        if max(sizes) > MOST_SIZE:
            raise ValueError(f"the layer {layer.name} is larger than any")
    if not sum(layer.weights for layer in spec.layers):
        raise ValueError("its layers have no weights")
    return spec


def file_sha256(path: Path) -> str:
    """64 hex digits of SHA-256 over a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _write(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
