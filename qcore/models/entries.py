"""One line of each list that can be chosen from: a model, a data set."""

from dataclasses import dataclass
from typing import Literal

from qcore.inputs import Input
from qcore.judges import CLASSES, Judge
from qcore.models.cards import Card
from qcore.models.preprocessing import Preprocessing


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model that can be chosen.

    Attributes:
        name: Key in MODELS.
        title: What the pages call it.
        source: "bundled" (trained weights in the repository), "torchvision" (fetched once) or
            "own" (the user's, from a card in the data folder).
        input_shape: (channels, height, width) its weights were trained for; the shape of the first
            input of a network that takes no image.
        classes: Number of outputs.
        datasets: Keys of DATASETS that fit its weights.
        preprocessing: How image files are prepared for it.
        card: Where the user's own network comes from; None for all others.
        inputs: What it takes where that is no image; () for one image.
        judge: How its answers are compared.
    """

    name: str
    title: str
    source: Literal["bundled", "torchvision", "own"]
    input_shape: tuple[int, ...]
    classes: int
    datasets: tuple[str, ...]
    preprocessing: Preprocessing
    card: Card | None = None
    inputs: tuple[Input, ...] = ()
    judge: Judge = CLASSES


@dataclass(frozen=True, slots=True)
class DataEntry:
    """A data set that can be chosen.

    Attributes:
        name: Key in DATASETS.
        title: What the pages call it.
        classes: Number of classes; None where the folder decides or there are no labels.
        note: One sentence: what it is, and what it needs.
        needs_path: True when the name is written with a place, as "imagefolder:/path".
        place: What that place is: "Folder" or "File", or either.
        shape: (channels, height, width) of its images; None where the model's preprocessing or
            the file decides.
        mean: Mean of each channel of its training images, in 0..1; () where the network decides.
        std: Their standard deviation, the same.
        inputs: What its samples are where they are no images; () for images, and where the file
            decides.
    """

    name: str
    title: str
    classes: int | None
    note: str
    needs_path: bool = False
    place: str = "Folder"
    shape: tuple[int, int, int] | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    inputs: tuple[Input, ...] = ()
